"""Files are written whole or not at all; hashes are those of other programs."""

import hashlib
from pathlib import Path

import pytest

from lits_seg.common.files import sha256, write_text


def test_text_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "a", "before")

    def full(self: Path, text: str, **settings: str) -> int:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        write_text(tmp_path / "a", "after")
    assert (tmp_path / "a").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_sha256_is_the_files() -> None:
    assert sha256(__file__) == hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
