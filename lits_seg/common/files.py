"""Write files atomically, compute their hashes, and locate the configs."""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

_PACKAGE = Path(__file__).parents[1]
LOCK = "lits_seg.lock"  # in a scratch folder: marks its origin, and is held by its process
# conf/ is inside the package in a wheel, and next to the package in the source tree.
CONF = next(path for path in (_PACKAGE / "conf", _PACKAGE.parent / "conf") if path.is_dir())


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def short_hash(content: bytes) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of bytes."""
    return hashlib.sha256(content).hexdigest()[:16]


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, so that an interruption leaves no partial file.

    Args:
        path: the file; an existing file is replaced.
        text: the content.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # File names in the text may not be UTF-8.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def reserve(path: Path) -> None:
    """Allocate the whole of a file, before it is mapped into memory.

    On a full disk, a write to a memory map would end the process (SIGBUS).

    Raises:
        OSError: if the disk is full; names the file.
    """
    if not hasattr(os, "posix_fallocate"):  # macOS
        return
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error


@contextlib.contextmanager
def scratch_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Create a hidden folder for unfinished files, and delete those that killed processes left.

    Args:
        parent: folder of the outputs, on the same disk.
        prefix: start of the folder's name, such as ``.predict-``.

    Yields:
        The folder, which is deleted on exit.
    """
    for left in parent.glob(f"{prefix}????????"):
        with contextlib.suppress(OSError):
            left.rmdir()  # its process was killed before it took the lock
    for lock in parent.glob(f"{prefix}????????/{LOCK}"):
        with contextlib.suppress(Timeout, OSError), FileLock(lock, timeout=0):  # a folder in use is locked
            shutil.rmtree(lock.parent, ignore_errors=True)
    while True:
        # Another process that finds the folder while it is deleted, without its lock, deletes the rest.
        folder = tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True)
        held = FileLock(Path(folder.name, LOCK))
        try:
            held.acquire()
            break
        except (FileNotFoundError, FileExistsError):
            continue  # another process deleted the new folder just before it was locked
    try:
        yield Path(folder.name)
    finally:
        folder.cleanup()
        held.release()
