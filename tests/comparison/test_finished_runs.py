import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from helpers.run_folders import case, write_run

from lits_seg.common.errors import InputError
from lits_seg.comparison import finished_runs
from lits_seg.comparison.finished_runs import find_runs, opened, unpack


def member(name: str, content: bytes = b"x") -> tuple[tarfile.TarInfo, io.BytesIO]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info, io.BytesIO(content)


def test_runs_in_an_archive_have_the_names_that_they_have_in_their_folder(tmp_path: Path) -> None:
    for name in ("a", "deep/b"):
        write_run(tmp_path / "runs" / name, [case("1")])
    expected = [run.name for run in find_runs(tmp_path / "runs").finished]
    with tarfile.open(tmp_path / "with_folder.tar.xz", "w:xz") as tar:
        tar.add(tmp_path / "runs", "runs")
    with tarfile.open(tmp_path / "without.tar.gz", "w:gz") as tar:
        for path in (tmp_path / "runs").iterdir():
            tar.add(path, path.name)
    for archive in ("with_folder.tar.xz", "without.tar.gz"):
        with opened(tmp_path / archive) as root:
            assert [run.name for run in find_runs(root).finished] == expected == ["a", "deep/b"]
        assert not root.exists()


def test_an_archive_of_one_run_is_that_run(tmp_path: Path) -> None:
    write_run(tmp_path / "only", [case("1")])
    with tarfile.open(tmp_path / "only.tar", "w") as tar:
        tar.add(tmp_path / "only", "only")
    with opened(tmp_path / "only.tar") as root:
        assert [run.name for run in find_runs(root).finished] == ["only"]


@pytest.mark.parametrize("name", ["../outside", "a/../../outside"])
def test_an_archive_that_would_write_outside_its_folder_is_refused(name: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        tar.addfile(*member(name))
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match=r"bad\.tar: expected an archive of run folders"):
        unpack(tmp_path / "bad.tar", tmp_path / "in")
    assert {path.name for path in tmp_path.iterdir()} == {"bad.tar", "in"}


def test_links_out_of_an_archive_are_refused(tmp_path: Path) -> None:
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        tar.addfile(link)
    with pytest.raises(InputError, match=r"bad\.tar: expected an archive"):
        unpack(tmp_path / "bad.tar", tmp_path / "in")


def test_an_archive_that_is_too_large_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finished_runs, "LARGEST_ARCHIVE", 100)
    with tarfile.open(tmp_path / "large.tar.xz", "w:xz") as tar:
        for number in range(2):
            tar.addfile(*member(f"{number}", bytes(60)))
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match="at most"):
        unpack(tmp_path / "large.tar.xz", tmp_path / "in")
    assert list((tmp_path / "in").iterdir()) == []


@pytest.mark.hostile
def test_an_archive_of_too_many_files_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finished_runs, "MOST_FILES", 5)
    with tarfile.open(tmp_path / "many.tar.gz", "w:gz") as tar:
        for number in range(6):
            tar.addfile(*member(f"{number}", b""))
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match="at most 5 files"):
        unpack(tmp_path / "many.tar.gz", tmp_path / "in")
    assert list((tmp_path / "in").iterdir()) == []


@pytest.mark.parametrize("damage", ["no archive", "cut off"])
def test_a_damaged_archive_is_named(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "runs.tar.xz"
    with tarfile.open(path, "w:xz") as tar:
        tar.addfile(*member("a", bytes(range(256)) * 300))
    path.write_bytes(b"text" if damage == "no archive" else path.read_bytes()[:-40])
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match=r"runs\.tar\.xz: expected an archive of run folders"):
        unpack(path, tmp_path / "in")


def test_decoder_of_an_earlier_version_is_named_by_the_network(tmp_path: Path) -> None:
    mixed = ["bilinear", "bilinear", "deconv", "subpixel"]
    # As result.json was written before the name came from the network.
    write_run(tmp_path / "a", [case("1")], "dsc_unet, subpixel", settings={"decoder.levels": mixed})
    (run,) = find_runs(tmp_path).finished
    assert run.result.decoder == "bilinear-bilinear-deconv-subpixel"
    assert run.result.levels == tuple(mixed)


def test_run_folders_are_read_with_nan_and_others_are_named(tmp_path: Path) -> None:
    write_run(tmp_path / "deep" / "good", [case("1", missed=20), case("2")])
    (tmp_path / "deep" / "good" / ".hydra").mkdir()
    (tmp_path / "deep" / "good" / ".hydra" / "config.yaml").write_text("a: 1")
    for name in ("open", "broken", "crashed", "untested"):
        write_run(tmp_path / name, [case("1")])
    (tmp_path / "open" / "result.json").unlink()
    (tmp_path / "untested" / "result.json").rename(tmp_path / "untested" / "finished.json")
    for name in ("result.json", "config.yaml", "versions.json"):  # as where the settings themselves were wrong
        (tmp_path / "crashed" / name).unlink()
    (tmp_path / "crashed" / "failed.txt").write_text("Traceback\nRuntimeError: out of memory\n\n")
    (tmp_path / "broken" / "result.json").write_text("{")
    found = find_runs(tmp_path)
    assert [run.name for run in found.finished] == ["deep/good"]
    assert np.isnan(found.finished[0].result.cases[0].lesions[0].dice)
    assert found.unfinished == ["open"]
    assert found.untested == ["untested"]
    assert found.failed == {"crashed": "RuntimeError: out of memory"}
    assert list(found.unreadable) == ["broken"]
    (tmp_path / "deep" / "good" / "result.json").unlink()
    others = r"2 unfinished \(deep/good, open\); 1 failed \(crashed\); 1 unreadable"
    with pytest.raises(InputError, match=rf"found 1 without test patients \(untested\); {others}"):
        find_runs(tmp_path)
