"""List the files below a folder, symbolic links followed, each folder once."""

import os
from collections import deque
from pathlib import Path

from lits_seg.common.errors import InputError


def below(root: Path) -> tuple[list[Path], dict[Path, InputError]]:
    """List a folder and all files and folders below, without hidden ones.

    Links are followed, after all folders that are no links. A folder with several links is listed once, and a loop of
    links ends. A link to a folder around ``root`` is not followed.

    Returns:
        The paths; and the errors of broken links and unreadable folders, which may hide files, by path.
    """
    found: list[Path] = []
    lost: dict[Path, InputError] = {}
    waiting = deque([root])
    seen = {_identity(folder) for folder in Path(os.path.realpath(root)).parents}
    while waiting:
        folder = waiting.popleft()
        if (identity := _identity(folder)) in seen:
            continue
        seen.add(identity)
        found.append(folder)
        try:
            inside = entries(folder)
        except InputError as error:
            lost[folder] = error
            continue
        for path in inside:
            if not os.path.isdir(path):
                found.append(path)
                if not os.path.exists(path):
                    lost[path] = InputError(path, "a file or a folder", missing(path))
            elif os.path.islink(path):
                waiting.append(path)
            else:
                waiting.appendleft(path)
    return found, lost


def entries(folder: Path) -> list[Path]:
    """List a folder in the order of the names, without hidden entries; raise ``InputError`` if it is unreadable."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InputError(folder, "a readable folder", error.strerror) from error


def same_file(one: Path, other: Path) -> bool:
    """Return whether two paths lead to the same file; a broken link equals no other path."""
    return os.path.exists(one) and os.path.exists(other) and os.path.samefile(one, other)


def missing(path: Path, what: str = "file") -> str:
    """Describe a path that does not exist or is no folder, for an error.

    Args:
        path: the path.
        what: what the path should be.
    """
    if os.path.exists(path):
        return "a file"
    return f"a broken link to {os.readlink(path)}" if os.path.islink(path) else f"no such {what}"


def _identity(folder: Path) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino
