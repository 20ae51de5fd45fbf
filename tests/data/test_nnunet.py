"""Raw data sets of nnU-Net are read as data of ours."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.checkpoints import save_checkpoint
from helpers.commands import failed_command, run_command
from helpers.nnunet_files import describe, write_nnunet
from helpers.volumes import AFFINES, anatomy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lits_seg.common.errors import InputError
from lits_seg.data.grid import to_slices
from lits_seg.data.layouts import find_cases, find_cts, find_masks
from lits_seg.data.volumes import read_case, read_labels

SWAPPED = {"background": 0, "liver_tumour": 1, "Liver": 2}
REGIONS = {"background": 0, "liver": [1, 2], "lesion": 2}


def test_names_are_those_of_the_patients(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path / "Dataset003_a")
    images, labels = root / "imagesTr", root / "labelsTr"
    cases = find_cases(root)
    assert [(case.name, case.image, case.label) for case in cases] == [
        (name, images / f"{name}_0000.nii.gz", labels / f"{name}.nii.gz") for name in "ab"
    ]
    cts = {name: images / f"{name}_0000.nii.gz" for name in "ab"}
    assert find_cts(root) == cts
    assert find_cts(images) == cts
    assert find_cts(cts["a"]) == {"a": cts["a"]}
    assert list(find_masks(root)) == ["a", "b"]


def test_the_same_names_without_a_description_are_msd(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path, channel_names=None)
    for name in "ab":
        (root / "labelsTr" / f"{name}.nii.gz").rename(root / "labelsTr" / f"{name}_0000.nii.gz")
    assert [case.name for case in find_cases(root)] == ["a_0000", "b_0000"]
    assert list(find_cts(root)) == ["a_0000", "b_0000"]


@pytest.mark.parametrize(
    ("labels", "values"),
    [
        ({"background": 0, "liver": 1, "lesion": 2}, (0, 1, 2)),
        (SWAPPED, (0, 2, 1)),
        (REGIONS, (0, 1, 2)),
        ({"lesions": [1], "background": 0, "liver": [1, 2]}, (0, 2, 1)),
    ],
    ids=str,
)
def test_values_are_converted_by_the_names_of_the_labels(labels: dict, values: tuple, tmp_path: Path) -> None:
    root = write_nnunet(tmp_path, ("a",), values, labels=labels)
    expected = to_slices(anatomy(0)[1], AFFINES["RAS"])
    np.testing.assert_array_equal(read_case(find_cases(root)[0])[1].slices, expected)
    # nnU-Net copies the description to its predictions, and for those of a fold two folders up.
    for place, described in (("out", "out"), ("2d/fold_0/validation", "2d")):
        (tmp_path / place).mkdir(parents=True)
        shutil.copy(root / "labelsTr" / "a.nii.gz", tmp_path / place / "a.nii.gz")
        shutil.copy(root / "dataset.json", tmp_path / described)
        np.testing.assert_array_equal(read_labels(tmp_path / place / "a.nii.gz").slices, expected)


def test_a_liver_alone_is_read_and_other_values_are_not(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path, labels={"background": 0, "liver": 1})
    with pytest.raises(
        InputError, match=r"a\.nii\.gz: expected only labels 0 \(background\), 1 \(liver\); found values"
    ):
        read_labels(root / "labelsTr" / "a.nii.gz")
    write_nnunet(tmp_path, values=(0, 1, 1), labels={"background": 0, "liver": 1})
    assert read_labels(root / "labelsTr" / "a.nii.gz").slices.max() == 1


def test_every_command_reads_it(tmp_path: Path) -> None:
    names = tuple("abcde")
    theirs = write_nnunet(tmp_path / "Dataset007_x", names, (0, 2, 1), labels=SWAPPED)
    ours = write_nnunet(tmp_path / "Dataset008_x", names)
    for root in (theirs, ours):
        arguments = (f"data.root={root}", "data.preprocess.size=32", "store=store")
        assert "5 cases" in run_command("prepare", *arguments, cwd=tmp_path)
    save_checkpoint(tmp_path / "net.ckpt")
    run_command("predict", "ckpt=[net.ckpt]", f"input={theirs / 'imagesTr'}", "output=masks", cwd=tmp_path)
    assert sorted(path.name for path in (tmp_path / "masks").glob("*.nii.gz")) == [f"{name}.nii.gz" for name in names]
    run_command("evaluate", "a=masks", f"b={ours}", f"references={theirs}", cwd=tmp_path)
    compared = json.loads((tmp_path / "evaluation" / "comparison.json").read_text())["comparison"]
    assert compared["lesion"]["dice_per_case"]["b"] == compared["lesion"]["dice_global"]["b"] == 1


def test_a_changed_meaning_of_values_is_never_met_by_old_slices(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path / "Dataset007_x")
    arguments = (f"data.root={root}", "data.preprocess.size=32", "store=store")
    counted = []
    for labels in (REGIONS, SWAPPED):
        describe(root, labels=labels)
        run_command("prepare", *arguments, cwd=tmp_path)
        counted.append(json.loads((tmp_path / "data/check/check.json").read_text())["cases"][0]["voxels"])
    assert counted[0] == [counted[1][0], counted[1][2], counted[1][1]]


WRONG = [
    ({"labels": {"background": 0, "liver": 1, "spleen": 2}}, "labels background, liver, lesion .*; found spleen"),
    ({"labels": {"background": 0, "liver": 1, "ignore": 2}}, "found ignore"),
    ({"labels": {"background": 0, "liver": 1, "lesion": 3}}, "labels with values 0"),
    ({"labels": {"background": 1, "liver": 0, "lesion": 2}}, "labels with values 0"),
    ({"labels": {"background": 0, "liver": 1, "lesion": 1}}, "a value of its own"),
    ({"labels": {"background": 0, "liver": list(range(1, 400))}}, "a value of its own"),
    ({"labels": {}}, "labels with values 0"),
    ({"labels": {"background": 0, "liver": "1"}}, r"dataset\.json: expected nnU-Net's description"),
    ({"labels": ["background", "liver"]}, r"dataset\.json: expected nnU-Net's description"),
    ({"labels": None}, r"labels: .*required"),
    ({"channel_names": {"0": "CT", "1": "PET"}}, "one channel, the CT .*; found CT, PET"),
    ({"channel_names": {}}, "one channel"),
    ({"channel_names": ["CT"]}, r"dataset\.json: expected nnU-Net's description"),
    ({"channel_names": None}, r"dataset\.json: expected nnU-Net's description .*a file without channel_names"),
    ({"file_ending": ".mha"}, r"file_ending \.nii\.gz or \.nii; found \.mha"),
]


@pytest.mark.hostile
@pytest.mark.parametrize(("changes", "told"), WRONG, ids=str)
def test_a_wrong_description_is_one_error(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    root = write_nnunet(tmp_path / "Dataset007_x", **changes)
    with pytest.raises(InputError, match=told):
        find_cases(root)
    if changes != {"channel_names": None}:  # then names in a folder of CTs alone do not show that it is nnU-Net's
        with pytest.raises(InputError, match=told):
            find_cts(root)
        with pytest.raises(InputError, match=told):
            read_labels(root / "labelsTr" / "a.nii.gz")


@pytest.mark.hostile
@pytest.mark.filterwarnings("ignore")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.integers(0, 120), stop=st.integers(0, 120), byte=st.binary(max_size=3))
def test_a_damaged_description_is_one_error_or_means_the_same(
    start: int, stop: int, byte: bytes, tmp_path: Path
) -> None:
    root = tmp_path / "Dataset007_x"
    if not root.exists():
        write_nnunet(root)
    describe(root)
    whole = (root / "dataset.json").read_bytes()
    (root / "dataset.json").write_bytes(whole[: min(start, stop)] + byte + whole[max(start, stop) :])
    told = []
    try:
        told = [case.name for case in find_cases(root)]
        assert read_labels(root / "labelsTr" / "a.nii.gz").slices.max() <= 2
    except InputError as error:
        told = [str(error)]
    assert told == ["a", "b"] or "dataset.json" in told[0] or "only labels" in told[0]


@pytest.mark.hostile
def test_missing_files_are_named(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path / "Dataset007_x", tuple("abc"))
    (root / "imagesTr" / "a_0000.nii.gz").rename(root / "imagesTr" / "a_0001.nii.gz")
    (root / "labelsTr" / "b.nii.gz").unlink()
    unpaired: list[InputError] = []
    assert [case.name for case in find_cases(root, unpaired)] == ["c"]
    told = "\n".join(map(str, unpaired))
    for name in ("labelsTr/a.nii.gz: expected a volume", "imagesTr/a_0001.nii.gz: expected a segmentation", "b_0000"):
        assert name in told
    (root / "dataset.json").unlink()
    assert "no such file" in failed_command("prepare", f"data.root={root}", cwd=tmp_path)
    (root / "dataset.json").mkdir()
    assert "dataset.json: expected nnU-Net's" in failed_command("prepare", f"data.root={root}", cwd=tmp_path)
