"""Open files that somebody else may have written: regular files only, of limited size, and without code.

Every limit is checked before memory is taken, and far above the size of any file that lits_seg writes.
"""

import stat
import zipfile
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lits_seg.common.errors import InputError

LARGEST_JSON = 2**25  # bytes; a result of 1,000 patients has 2 MB
LARGEST_YAML = 2**18  # bytes; a configuration has 4 kB, and parsing takes 10 s a MB
DEEPEST_YAML = 50  # levels; the time of parsing is quadratic in the depth


def require_file(path: str | Path, expected: str, most: int | None = None) -> int:
    """Require a regular file, since opening a FIFO or a device could wait for ever.

    Args:
        path: the file, or a link to it.
        expected: the kind of file, for errors.
        most: largest size in bytes; None: any size.

    Returns:
        The file's size in bytes.

    Raises:
        InputError: if the file is missing, unreadable, not a regular file, or larger than ``most``.
    """
    try:
        found = Path(path).stat()
    except FileNotFoundError:
        raise InputError(path, expected, "no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise InputError(path, expected, getattr(error, "strerror", None) or error) from None
    if not stat.S_ISREG(found.st_mode):
        raise InputError(path, expected, "a folder" if stat.S_ISDIR(found.st_mode) else "a device or pipe")
    if most is not None and found.st_size > most:
        raise InputError(path, f"{expected} of at most {most / 1e6:.3g} MB", f"{found.st_size / 1e6:.1f} MB")
    return found.st_size


def read_text(path: Path, expected: str, most: int) -> str:
    """Read a text file in UTF-8.

    Args:
        path: the file.
        expected: the kind of file, for errors.
        most: largest size in bytes.

    Raises:
        InputError: see ``require_file``; also if the content is not text.
    """
    require_file(path, expected, most)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(path, expected, error) from error


def read_yaml(path: Path, name: str) -> dict[str, Any]:
    """Read a configuration as plain containers; no interpolation such as ``${oc.env:HOME}`` is resolved.

    Args:
        path: the file.
        name: what errors call the content.

    Raises:
        InputError: see ``read_text``; also if the content is not a mapping in YAML, contains aliases, by which
            a small file could name a billion values, or is nested too deep.
    """
    expected = f"{name} (YAML)"
    text = read_text(path, expected, LARGEST_YAML)
    try:
        refused = _refused(text)
        plain = None if refused else OmegaConf.to_container(OmegaConf.create(text))
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, RecursionError) as error:
        raise InputError(path, expected, (str(error) or type(error).__name__).splitlines()[0]) from error
    if not isinstance(plain, dict):
        raise InputError(path, f"{expected} with keys and values", refused)
    return {str(key): value for key, value in plain.items()}


def _refused(text: str) -> str | None:
    """Return the reason why the values of a YAML text are not built; None if they are."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            return "an alias (*)"
        if depth == 0 and isinstance(event, (yaml.ScalarEvent, yaml.SequenceStartEvent)):
            return "a list or a single value"
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST_YAML:
            return f"more than {DEEPEST_YAML} levels"
    return None


def require_stored(path: Path, expected: str) -> list[str]:
    """Require a ZIP file without compression, whose content is therefore never larger than the file.

    Args:
        path: the file.
        expected: the kind of file, for errors.

    Returns:
        The names in the file.

    Raises:
        InputError: see ``require_file``; also if the file is not a ZIP file, or its content is larger than the file.
    """
    size = require_file(path, expected)
    try:
        with zipfile.ZipFile(path) as file:
            members = file.infolist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise InputError(path, expected, f"another or damaged file ({type(error).__name__})") from error
    unpacked = sum(member.file_size for member in members)
    if unpacked > size or any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise InputError(path, f"{expected}, stored without compression", f"{unpacked / 1e6:.1f} MB when unpacked")
    return [member.filename for member in members]
