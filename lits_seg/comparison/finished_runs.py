"""Find run folders in a folder or an archive, read the finished runs and name the others."""

import json
import lzma
import os
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lits_seg.common.errors import InputError
from lits_seg.runs.folder import CONFIG, FAILED, RESULT, VERSIONS
from lits_seg.runs.naming import decoder_levels, decoder_name
from lits_seg.runs.result import RunResult, read_result

LARGEST_ARCHIVE = 2**31  # bytes when unpacked
MOST_FILES = 100_000  # in an archive; empty files take no bytes there, but time and space on the disk
RUN_FILES = {CONFIG, RESULT, FAILED}


@dataclass(frozen=True)
class Run:
    """A finished run.

    Args:
        name: path of the run below the folder of runs.
        folder: the run's folder.
        result: content of ``result.json``; the decoder's name is taken from the configuration.
        config: the resolved configuration.
        versions: versions of the code and of installed packages, by name.
    """

    name: str
    folder: Path
    result: RunResult
    config: dict[str, Any]
    versions: dict[str, Any]


@dataclass
class Found:
    """The runs in a folder: the finished runs, and the names of all others with the reason, if known."""

    finished: list[Run] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)


@contextmanager
def opened(runs: str | Path) -> Iterator[Path]:
    """Yield the folder of runs; an archive is unpacked into a temporary folder, which is deleted afterwards.

    Raises:
        InputError: if ``runs`` is a file, but not an archive that can be unpacked safely.
    """
    if not Path(runs).is_file():
        yield Path(runs)
        return
    with tempfile.TemporaryDirectory(prefix="lits_seg-") as temporary:
        root = Path(temporary)
        unpack(Path(runs), root)
        inside = list(root.iterdir())
        if len(inside) == 1 and inside[0].is_dir() and not _is_run(os.listdir(inside[0])):
            (root,) = inside  # the folder that was packed, whose name is not part of a run's name
        yield root


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar archive of run folders.

    Args:
        archive: a tar file, plain or compressed by gzip, bzip2 or xz.
        folder: an empty folder to unpack into.

    Raises:
        InputError: if the file is not an archive, has more than 100,000 files or 2 GiB when
            unpacked, or would write outside the folder.
    """
    expected = "an archive of run folders (.tar, .tar.gz, .tar.xz)"
    try:
        with tarfile.open(archive) as tar:
            size = 0
            for count, member in enumerate(tar, start=1):
                size += member.size
                if size > LARGEST_ARCHIVE or count > MOST_FILES:
                    limits = f"at most {MOST_FILES} files and {LARGEST_ARCHIVE >> 30} GiB unpacked"
                    raise InputError(archive, f"{expected} of {limits}", "a larger archive")
            tar.extractall(folder, filter="data")  # rejects devices, and paths and links out of the folder
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        raise InputError(archive, expected, error) from error


def find_runs(root: str | Path, shown: str | Path | None = None) -> Found:
    """Read all runs below a folder, sorted by name.

    Args:
        root: folder of runs.
        shown: name of the folder in an error, such as the unpacked archive; None: ``root``.

    Raises:
        InputError: if no run is finished.
    """
    found = Found()
    for folder in _run_folders(Path(root)):
        name = folder.relative_to(root).as_posix()
        if (folder / RESULT).exists():
            try:
                found.finished.append(read_run(folder, name))
            except InputError as error:
                found.unreadable[name] = str(error)
        elif (folder / FAILED).exists():
            found.failed[name] = _last_line(folder / FAILED)
        else:
            found.unfinished.append(name)
    if not found.finished:
        raise InputError(shown or root, f"a folder with finished runs ({RESULT})", _others(found))
    return found


def read_run(folder: Path, name: str) -> Run:
    """Read a finished run.

    Args:
        folder: the run's folder.
        name: path of the run below the folder of runs.

    Raises:
        InputError: if a file is missing or damaged.
    """
    result = read_result(folder / RESULT)
    for path in (folder / CONFIG, folder / VERSIONS):
        if not path.exists():
            raise InputError(path, "a file that every finished run has", "none")
    try:
        config: Any = OmegaConf.to_container(OmegaConf.load(folder / CONFIG))
        versions = json.loads((folder / VERSIONS).read_text())
        # Earlier versions stored the choice in conf/decoder as the name, even if decoder.levels was overridden.
        decoder, levels = decoder_name(config["model"]), decoder_levels(config["model"])
    except Exception as error:  # the exceptions of YAML, OmegaConf and JSON share no base class
        raise InputError(folder, f"a readable {CONFIG} and {VERSIONS}", error) from error
    return Run(name, folder, replace(result, decoder=decoder, levels=levels), config, versions)


def _run_folders(root: Path) -> list[Path]:
    """Return the folders with a config, a result or a failure, without looking for runs inside a run."""
    found = []
    for place, folders, files in os.walk(root):
        folders[:] = [folder for folder in folders if not folder.startswith(".")]
        if _is_run(files):
            found.append(Path(place))
            folders.clear()
    return sorted(found)


def _is_run(files: list[str]) -> bool:
    return not RUN_FILES.isdisjoint(files)


def _last_line(path: Path) -> str:
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _others(found: Found) -> str:
    kinds = {"unfinished": found.unfinished, "failed": found.failed, "unreadable": found.unreadable}
    texts = [f"{len(names)} {kind} ({', '.join(names)})" for kind, names in kinds.items() if names]
    reasons = list(found.unreadable.values())[:1]
    return "; ".join([*texts, *reasons]) or "none"
