"""Write files atomically, compute their hashes, and locate the configs."""

import hashlib
import os
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
# conf/ is inside the package in a wheel, and next to the package in the source tree.
CONF = next(path for path in (_PACKAGE / "conf", _PACKAGE.parent / "conf") if path.is_dir())


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
