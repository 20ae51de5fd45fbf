"""Synthetic volumes never get into a folder of somebody else."""

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.commands import SMOKE, failed_command, run_command

from lits_seg.common.errors import InputError
from lits_seg.phantom.write import write_phantom

pytestmark = pytest.mark.hostile

TINY = {"size": 32, "slices": 4, "cases": 2, "workers": 1}


def content(root: Path) -> dict[str, bytes | None]:
    """All files and folders below a folder, hidden ones included."""
    return {str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in root.rglob("*")}


def one_volume(root: Path, lits: Path) -> None:
    shutil.copy(lits / "volume-3.nii.gz", root / "volume-0.nii.gz")


def msd(root: Path, lits: Path) -> None:
    (root / "imagesTr").mkdir()
    shutil.copy(lits / "volume-3.nii.gz", root / "imagesTr" / "liver_0.nii.gz")


def whole_set(root: Path, lits: Path) -> None:
    shutil.copytree(lits, root, dirs_exist_ok=True)


FOREIGN: dict[str, Callable[[Path, Path], object]] = {
    "a data set": whole_set,
    "one volume without labels": one_volume,
    "MSD": msd,
    "an empty subfolder": lambda root, _: (root / "batch1").mkdir(),
    "a text": lambda root, _: (root / "notes.txt").write_text("mine"),
    "damaged settings": lambda root, _: (root / "phantom.json").write_text("{"),
    "empty settings": lambda root, _: (root / "phantom.json").touch(),
    "a list as settings": lambda root, _: (root / "phantom.json").write_text("[]"),
    "a folder as settings": lambda root, _: (root / "phantom.json").mkdir(),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_nothing_is_written_into_a_folder_of_others(kind: str, lits: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    FOREIGN[kind](root, lits)
    before = content(root)
    with pytest.raises(InputError, match=r"phantom\.json"):
        write_phantom(root, **TINY)
    assert content(root) == before


@pytest.mark.parametrize("choice", ["data=phantom", "data=smoke", "experiment=demo", "prepare"])
def test_commands_with_the_root_of_real_volumes_change_nothing(choice: str, lits: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(lits, tmp_path / "real"))
    (root / "segmentation-5.nii.gz").unlink()
    before = content(root)
    command, choice = ("prepare", "data=phantom") if choice == "prepare" else ("train", choice)
    told = failed_command(command, choice, "data.root=real", f"store={tmp_path}/store", cwd=tmp_path)
    assert told.startswith("error: real: expected an empty folder, or one with phantom.json")
    assert "data=lits" in told
    assert content(root) == before


@pytest.mark.parametrize("name", ["volume-117.nii.gz", "volume-1.nii", "segmentation-9.nii.gz", "sub/volume-3.nii.gz"])
def test_real_volumes_in_a_folder_of_the_phantom_are_not_taken_for_synthetic_ones(
    name: str, lits: Path, tmp_path: Path
) -> None:
    write_phantom(tmp_path, **TINY)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    shutil.copy(lits / "volume-3.nii.gz", tmp_path / name)
    before = content(tmp_path)
    with pytest.raises(InputError, match=name.split("/")[0]):
        write_phantom(tmp_path, **{**TINY, "cases": 3})
    assert content(tmp_path) == before


def test_a_file_in_the_place_of_a_missing_one_is_not_replaced(tmp_path: Path) -> None:
    write_phantom(tmp_path, **TINY)
    (tmp_path / "segmentation-1.nii.gz").unlink()
    shutil.copy(tmp_path / "volume-0.nii.gz", tmp_path / "volume-1.nii.gz")
    before = content(tmp_path)
    with pytest.raises(InputError, match=r"volume-1\.nii\.gz: expected the synthetic volume 1"):
        write_phantom(tmp_path, **TINY)
    assert content(tmp_path) == before


def test_half_a_phantom_is_completed(tmp_path: Path) -> None:
    write_phantom(tmp_path / "whole", **TINY)
    half = tmp_path / "half"
    half.mkdir()
    for name in ("phantom.json", "volume-0.nii.gz"):
        shutil.copy(tmp_path / "whole" / name, half)
    (half / ".volume-1.nii.gz.123").write_bytes(b"left by a killed process")
    (half / ".DS_Store").touch()
    (half / "notes.txt").touch()
    write_phantom(half, **TINY)
    added = {".DS_Store": b"", "notes.txt": b""}
    assert content(half) == {**content(tmp_path / "whole"), **added}


def test_the_place_of_new_volumes_is_told_and_relative_folders_are_named_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_command("prepare", "data=smoke", "data.generate.cases=4", "data.generate.slices=4", cwd=tmp_path)
    assert f"{tmp_path}/data/smoke: synthetic CT volumes are written into this folder" in caplog.text
    caplog.clear()
    run_command("prepare", "data=smoke", "data.generate.cases=4", "data.generate.slices=4", cwd=tmp_path)
    assert "synthetic" not in caplog.text
    (tmp_path / "elsewhere").mkdir()
    for command in ("prepare", "train"):
        arguments = ("data=lits", "data.root=data/smoke", *SMOKE[1:])[: 2 if command == "prepare" else None]
        told = failed_command(command, *arguments, cwd=tmp_path / "elsewhere")
        assert f"{tmp_path}/elsewhere/data/smoke" in told


def test_a_root_that_is_a_file_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    for root in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nowhere")):
        with pytest.raises(InputError, match="a folder to write synthetic volumes to"):
            write_phantom(root, **TINY)
    assert (tmp_path / "file").read_text() == "kept"


def test_settings_of_another_version_are_refused(tmp_path: Path) -> None:
    write_phantom(tmp_path, **TINY)
    settings = json.loads((tmp_path / "phantom.json").read_text())
    (tmp_path / "phantom.json").write_text(json.dumps({**settings, "version": 5}))
    with pytest.raises(InputError, match=r"'version': 6.*found.*'version': 5"):
        write_phantom(tmp_path, **TINY)


def test_a_damaged_volume_is_named(tmp_path: Path) -> None:
    write_phantom(tmp_path, **TINY)
    (tmp_path / "volume-1.nii.gz").write_bytes(gzip.compress(b"no NIfTI"))
    with pytest.raises(InputError, match=r"volume-1\.nii\.gz: expected a readable NIfTI"):
        write_phantom(tmp_path, **TINY)
