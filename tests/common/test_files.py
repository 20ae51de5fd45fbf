"""Files are written whole or not at all; hashes are those of other programs."""

import contextlib
import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lits_seg.common.files import reserve, scratch_folder, sha256, write_text


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


def test_a_reserved_file_has_its_blocks_or_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "map"
    with path.open("wb") as file:
        file.truncate(2**20)
    assert path.stat().st_blocks == 0
    reserve(path)
    assert path.stat().st_blocks * 512 >= path.stat().st_size == 2**20

    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(OSError, match=r"No space left on device: .*map"):
        reserve(path)


def test_sha256_is_the_files() -> None:
    assert sha256(__file__) == hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def test_names_that_are_not_utf8_are_written(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "caf\udce9 ×")
    assert (tmp_path / "a").read_text(encoding="utf-8") == "caf\\udce9 ×"


HOLD = """
import sys, time
from pathlib import Path
from lits_seg.common.files import scratch_folder

with scratch_folder(Path(sys.argv[1]), ".predict-") as folder:
    (folder / "big").write_text("voxels")
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.mark.hostile
def test_leftovers_of_killed_processes_are_deleted_but_not_folders_in_use(tmp_path: Path) -> None:
    (tmp_path / ".predict-notes").mkdir()
    (tmp_path / ".predict-notes" / "mine.txt").write_text("by hand")
    (tmp_path / ".predict-ab12_xyz").mkdir()  # killed before it was locked
    with contextlib.ExitStack() as stack:
        holders = [
            stack.enter_context(
                subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True)
            )
            for _ in range(2)
        ]
        stack.callback(holders[1].kill)
        killed, held = (Path(holder.stdout.readline().strip()) for holder in holders)
        holders[0].kill()
        holders[0].wait()
        assert (killed / "big").exists()
        with scratch_folder(tmp_path, ".predict-") as folder:
            assert not killed.exists()
            assert not (tmp_path / ".predict-ab12_xyz").exists()
            assert (held / "big").exists()
            assert (tmp_path / ".predict-notes" / "mine.txt").exists()
            assert folder.parent == tmp_path
            with scratch_folder(tmp_path, ".predict-") as other:  # in the same process
                assert folder.exists()
                assert other != folder
        assert not folder.exists()
        with scratch_folder(tmp_path, ".export-"):
            assert held.exists()


@pytest.mark.hostile
def test_scratch_folders_of_many_processes_at_once(tmp_path: Path) -> None:
    def use(number: int) -> None:
        for _ in range(20):
            with scratch_folder(tmp_path, ".predict-") as folder:
                (folder / "file").write_text(str(number))
                assert (folder / "file").read_text() == str(number)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(use, range(4)))
    assert not list(tmp_path.iterdir())
