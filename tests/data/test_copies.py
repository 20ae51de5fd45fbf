"""A CT in two parts of a split is refused, in whatever form it comes."""

import contextlib
import json
import re
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from helpers.checkpoints import save_checkpoint, with_model
from helpers.commands import failed_command, run_command

from lits_seg.common.errors import InputError
from lits_seg.common.records import as_plain
from lits_seg.data.datamodule import SliceDataModule
from lits_seg.data.preprocess import Preprocess
from lits_seg.data.split_record import SplitRecord

pytestmark = pytest.mark.hostile


def copy_patient(root: Path, source: str, target: str, to: Path | None = None) -> None:
    """Copy a patient as another program would save the files: float32, not compressed, axes flipped."""
    for kind in ("volume", "segmentation"):
        image = nib.as_closest_canonical(nib.load(root / f"{kind}-{source}.nii.gz"))
        image = nib.Nifti1Image(np.asarray(image.dataobj, np.float32), image.affine)
        nib.save(image, (to or root) / f"{kind}-{target}.nii")


def make(root: Path, **settings: object) -> SliceDataModule:
    module = SliceDataModule(root, root.parent / "store", Preprocess(size=32), workers=0, **settings)
    module.prepare_data()
    module.setup()
    return module


@pytest.fixture
def root(lits: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(lits, tmp_path / "root"))


def test_a_patient_under_two_names_leaks_in_some_fold_and_is_told_in_the_others(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy_patient(root, "2", "28")
    messages = {}
    for fold in range(4):
        caplog.clear()
        names = {
            part: {case.name for case in cases}
            for part, cases in make(root, fold=fold, allow_overlap=True).split.items()
        }
        assert "the same CT twice: " in caplog.text
        apart = not any({"2", "28"} <= patients for patients in names.values())
        with pytest.raises(InputError) if apart else contextlib.nullcontext() as refused:
            make(root, fold=fold)
        if refused:
            messages[fold] = str(refused.value)
    assert len(messages) > 1
    for message in messages.values():
        assert "expected each CT in one part of the split (data.allow_overlap=true accepts them)" in message
        assert re.search(r"found the same CT twice: (2|28) \((train|val)\) and (2|28) \((val|test)\)$", message)


@pytest.mark.parametrize("val_share", [0, 0.15])
def test_a_sound_data_set_is_not_told(val_share: float, root: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(root, val_share=val_share)
    assert "same CT" not in caplog.text


def test_a_test_set_with_a_training_patient_is_refused(root: Path, lits: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    copy_patient(lits, "4", "117", tmp_path / "other")
    with pytest.raises(InputError, match=r"4 \((train|val)\) and 117 \(test\)"):
        make(root, test_root=tmp_path / "other")
    for kind in ("volume", "segmentation"):
        (root / f"{kind}-4.nii.gz").unlink()
    assert [case.name for case in make(root, test_root=tmp_path / "other").split["test"]] == ["117"]


@pytest.mark.parametrize("place", ["root", "root/", "root/sub", "root/../root", ".", "link"])
def test_a_test_folder_that_overlaps_by_place_is_refused(place: str, root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    (root / "sub").mkdir()
    with pytest.raises(InputError, match=r"^data\.test_root: expected a folder apart from data\.root"):
        make(root, test_root=tmp_path / place)


def test_a_test_folder_beside_the_images_of_msd_is_apart(lits: Path, tmp_path: Path) -> None:
    root = tmp_path / "Task03"
    for number in range(8):
        for kind, folder in (("volume", "imagesTr"), ("segmentation", "labelsTr")):
            name = f"case_{number}.nii.gz" if number else f"sub/{kind}-0.nii.gz"
            target = root / name if not number else root / folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(lits / f"{kind}-{number}.nii.gz", target)
    assert len(make(root, test_root=root / "sub", folds=2).split["test"]) == 1


def test_a_run_whose_patients_changed_tells_who_and_what(root: Path) -> None:
    recorded = as_plain(SplitRecord.of(make(root).split))
    make(root, recorded=recorded)
    test, train = recorded["test"][0], recorded["train"][0]
    copy_patient(root, recorded["train"][1], test)
    for kind in ("volume", "segmentation"):
        (root / f"{kind}-{test}.nii.gz").unlink()
    image = nib.load(root / f"segmentation-{train}.nii.gz")
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj) * 0, image.affine), root / f"segmentation-{train}.nii.gz")
    with pytest.raises(InputError, match=r"split\.json") as error:
        make(root, recorded=recorded)
    assert f"{train} (train: label)" in str(error.value)
    assert f"{test} (test: image and label)" in str(error.value)
    del recorded["voxels"]
    make(root, recorded=recorded)  # a split of version 0.2 has names only


@pytest.mark.parametrize("voxels", [1, "x", [], {"train": 1}, {"test": {"0": 1}}, {"val": {"0": "one"}}], ids=str)
def test_damaged_hashes_in_a_record_are_named(voxels: object, root: Path) -> None:
    recorded = {"train": ["0", "1"], "val": ["2"], "test": ["3"], "voxels": voxels}
    with pytest.raises(InputError, match=r"split\.json.*hashes of voxels"):
        make(root, recorded=recorded)


def test_a_checkpoint_is_not_scored_on_its_training_patients_under_other_names(
    root: Path, lits: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    save_checkpoint(tmp_path / "run" / "checkpoints" / "net.ckpt", settings=with_model(out_channels=3))
    recorded = as_plain(SplitRecord.of(make(root).split))
    (tmp_path / "run" / "split.json").write_text(json.dumps(recorded))
    (tmp_path / "other").mkdir()
    train, val, test = (recorded[part][0] for part in ("train", "val", "test"))
    for number, name in enumerate((train, val, test)):
        copy_patient(lits, name, f"10{number}", tmp_path / "other")
    arguments = ("ckpt=run/checkpoints/net.ckpt", "accelerator=cpu", "workers=0", "references=other")
    told = failed_command("evaluate", *arguments, cwd=tmp_path)
    assert told == (
        "error: other: expected CTs on which this network was neither trained nor selected (data.allow_overlap=true "
        f"accepts them); found the same CT twice: 100 (tested now) and {train} (train), "
        f"101 (tested now) and {val} (val)"
    )
    assert not list((tmp_path / "evaluation").glob("*.*"))
    run_command("evaluate", *arguments, "data.allow_overlap=true", cwd=tmp_path)
    assert f"the same CT twice: 100 (tested now) and {train} (train)" in caplog.text
    for number in (0, 1):
        for kind in ("volume", "segmentation"):
            (tmp_path / "other" / f"{kind}-10{number}.nii").unlink()
    caplog.clear()
    run_command("evaluate", *arguments, cwd=tmp_path)
    assert "same CT" not in caplog.text
