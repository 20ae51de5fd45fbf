"""Files below a folder: links are followed, each folder once, and whatever hides files is named."""

from pathlib import Path

import pytest

from lits_seg.common.errors import InputError
from lits_seg.data.walk import below, entries, missing


def names(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in below(root)[0])


def test_links_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    root, disk = tmp_path / "root", tmp_path / "disk"
    (root / "own").mkdir(parents=True)
    (disk / "part").mkdir(parents=True)
    (root / "own" / "a").touch()
    (disk / "part" / "b").touch()
    (root / "0 twice").symlink_to(root / "own")
    (root / "first").symlink_to(disk)
    (root / "second").symlink_to(disk / "part")
    (disk / "up").symlink_to(disk)
    (disk / "around").symlink_to(tmp_path)
    (root / ".hidden").mkdir()
    (root / ".hidden" / "c").touch()
    assert names(root) == [".", "first", "first/part", "first/part/b", "own", "own/a"]
    assert below(root)[1] == {}


def test_broken_links_are_named(tmp_path: Path) -> None:
    (tmp_path / "part 2").symlink_to("/nowhere/part 2")
    (tmp_path / "loop").symlink_to("loop")
    lost = below(tmp_path)[1]
    assert lost.keys() == {tmp_path / "part 2", tmp_path / "loop"}
    assert str(lost[tmp_path / "part 2"]).endswith("found a broken link to /nowhere/part 2")
    assert missing(tmp_path / "none") == "no such file"


def test_folders_that_cannot_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("open", "locked"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    read = Path.iterdir

    def refuse(folder: Path) -> object:
        if folder.name == "locked":
            raise PermissionError(13, "Permission denied", str(folder))
        return read(folder)

    monkeypatch.setattr(Path, "iterdir", refuse)
    paths, lost = below(tmp_path)
    assert tmp_path / "open" / "file" in paths
    assert (
        str(lost[tmp_path / "locked"]) == f"{tmp_path / 'locked'}: expected a readable folder; found Permission denied"
    )
    with pytest.raises(InputError, match="locked: expected a readable folder"):
        entries(tmp_path / "locked")
