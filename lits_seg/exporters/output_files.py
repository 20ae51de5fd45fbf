"""Write exported files whole or not at all: into a scratch folder first, then into the output folder."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lits_seg.common.files import scratch_folder


@contextmanager
def new_files(output: Path) -> Iterator[Path]:
    """Yield a folder for new files; a new output folder that stays empty is removed.

    Args:
        output: folder of the exported files.
    """
    new = not output.exists()
    output.mkdir(parents=True, exist_ok=True)
    try:
        with scratch_folder(output, ".export-") as scratch:
            yield scratch
    finally:
        if new and not any(output.iterdir()):
            output.rmdir()


def move(paths: Iterable[Path], output: Path) -> None:
    """Move files, and the files of folders, into the output folder.

    Args:
        paths: new files and folders.
        output: folder of the exported files.
    """
    for path in paths:
        if path.is_dir():
            (output / path.name).mkdir(exist_ok=True)
            move(sorted(path.iterdir()), output / path.name)
        else:
            path.replace(output / path.name)


def size_of(path: Path) -> int:
    """Return the size of a file, or of the files in a folder, in bytes."""
    return sum(size_of(part) for part in path.iterdir()) if path.is_dir() else path.stat().st_size
