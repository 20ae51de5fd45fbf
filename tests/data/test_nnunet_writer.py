"""What is written for nnU-Net is our data set, bit by bit, with the same folds."""

import gzip
import json
import os
import resource
import shutil
import signal
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from helpers.commands import failed_command, run_command
from helpers.dicom_series import write_series
from helpers.nnunet_files import write_nnunet
from helpers.volumes import AFFINES, anatomy, write_case
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lits_seg.data.data_sets import SplitSettings
from lits_seg.data.layouts import find_cases
from lits_seg.data.nnunet_writer import Part, write_data_set
from lits_seg.data.preprocess import Preprocess
from lits_seg.data.store import store_cases
from lits_seg.data.volumes import read_case

NAME = "Dataset003_LiTS"


def prepare(root: Path, *more: str, failed: bool = False) -> str:
    arguments = (f"data.root={root}", "data.preprocess.size=32", f"store={root.parent / 'store'}")
    run = failed_command if failed else run_command
    return run("prepare", *arguments, f"nnunet=raw/{NAME}", *more, cwd=root.parent)


@pytest.fixture
def volumes(lits: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(lits, tmp_path / "volumes"))


def same_content(one: Path, other: Path) -> bool:
    """Whether two files have the same bytes when unpacked."""
    return (
        len({gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data for data in map(Path.read_bytes, (one, other))})
        == 1
    )


def parts(split: dict) -> dict[str, list[str]]:
    return {part: [case.name for case in cases] for part, cases in split.items()}


def test_prepare_writes_links_a_description_and_our_folds(volumes: Path) -> None:
    write_case(volumes.parent / "test", "0", *anatomy(99))
    printed = prepare(volumes, "data.test_root=test", "data.split_seed=5")
    assert f"nnU-Net data set: raw/{NAME} (8 patients, 4 folds)" in printed
    root = volumes.parent / "raw" / NAME
    found = json.loads((root / "dataset.json").read_text())
    assert (found["channel_names"], found["numTraining"]) == ({"0": "CT"}, 8)
    assert found["labels"] == {"background": 0, "liver": 1, "lesion": 2}
    for number in range(8):
        for ours, theirs in (("volume", f"imagesTr/{number}_0000"), ("segmentation", f"labelsTr/{number}")):
            assert os.path.samefile(volumes / f"{ours}-{number}.nii.gz", root / f"{theirs}.nii.gz")
    assert os.path.samefile(volumes.parent / "test" / "volume-0.nii.gz", root / "imagesTs" / "0_0000.nii.gz")
    assert os.path.samefile(volumes.parent / "test" / "segmentation-0.nii.gz", root / "labelsTs" / "0.nii.gz")
    folds = json.loads((root / "splits_final.json").read_text())
    stored = store_cases(find_cases(volumes), Preprocess(size=32), volumes.parent / "store")
    for number, fold in enumerate(folds):
        expected = parts(SplitSettings("folds", 4, number, 0.15, 5)(stored))
        assert fold["val"] == expected["test"]
        assert fold["train"] == expected["train"] + expected["val"]
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    prepare(volumes, "data.test_root=test", "data.split_seed=5")
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    assert sorted(path.name for path in (volumes.parent / "raw").iterdir()) == [NAME]


def test_files_that_nnunet_cannot_read_as_they_are_are_converted(volumes: Path) -> None:
    hu, labels = anatomy(20)
    for name in ("8", "9", "10", "11"):
        write_case(volumes, name, hu + int(name), labels, AFFINES["permuted"])
    (volumes / "volume-8.nii.gz").unlink()
    write_series(volumes / "volume-8", hu)
    nib.save(nib.Nifti1Image(labels, np.diag([-1.5, -1.2, 3, 1])), volumes / "segmentation-8.nii.gz")
    (volumes / "volume-9.nii").write_bytes(gzip.decompress((volumes / "volume-9.nii.gz").read_bytes()))
    (volumes / "volume-9.nii.gz").unlink()
    # The same place in another order of axes, and another place, where the CT's grid counts.
    image = nib.load(volumes / "segmentation-10.nii.gz")
    nib.save(image.as_reoriented(nib.io_orientation(image.affine)), volumes / "segmentation-10.nii.gz")
    nib.save(nib.Nifti1Image(labels.astype(np.float32), np.eye(4)), volumes / "segmentation-9.nii.gz")
    for part in ("volume", "segmentation"):  # four axes, the last of length 1
        image = nib.load(volumes / f"{part}-11.nii.gz")
        array = np.asarray(image.dataobj)[..., None] // (2 if part == "volume" else 1)
        image = nib.Nifti1Image(array, image.affine, image.header)
        image.header.set_slope_inter(2 if part == "volume" else 1, 0)
        nib.save(image, volumes / f"{part}-11.nii.gz")
    prepare(volumes)
    root = volumes.parent / "raw" / NAME
    assert same_content(volumes / "volume-9.nii", root / "imagesTr" / "9_0000.nii.gz")
    theirs = {case.name: case for case in find_cases(root)}
    for case in find_cases(volumes):
        for one, other in zip(read_case(case), read_case(theirs[case.name]), strict=True):
            np.testing.assert_array_equal(one.slices, other.slices)
        image, label = (nib.load(path) for path in (theirs[case.name].image, theirs[case.name].label))
        assert image.shape == label.shape == hu.shape
        np.testing.assert_allclose(image.affine, label.affine)
        np.testing.assert_allclose(image.header.get_zooms(), label.header.get_zooms())


def test_patients_of_any_name_keep_it(tmp_path: Path) -> None:
    names = sorted(["1.2.840", "Anna B.", "c,d", "pat-3", "pat-4"])
    for number, name in enumerate(names):
        write_case(tmp_path / "volumes", name, *anatomy(number))
    assert "5 cases" in prepare(tmp_path / "volumes")
    root = tmp_path / "raw" / NAME
    assert sorted(case.name for case in find_cases(root)) == names
    folds = json.loads((root / "splits_final.json").read_text())
    assert sorted(name for fold in folds for name in fold["val"]) == names


def test_values_of_nnunet_become_ours(tmp_path: Path) -> None:
    names = tuple("abcde")
    source = write_nnunet(tmp_path / "Dataset001_a", names, (0, 2, 1), labels={"background": 0, "tumor": 1, "liver": 2})
    prepare(source)
    written = nib.load(tmp_path / "raw" / NAME / "labelsTr" / "a.nii.gz")
    np.testing.assert_array_equal(np.asarray(written.dataobj), anatomy(0)[1])


def test_a_named_split_is_a_single_fold_and_all_is_none(volumes: Path) -> None:
    names = [str(number) for number in range(8)]
    (volumes.parent / "split.json").write_text(json.dumps({"train": names[:4], "val": names[4:5], "test": names[5:7]}))
    prepare(volumes, "data.split=split.json")
    root = volumes.parent / "raw" / NAME
    assert json.loads((root / "splits_final.json").read_text()) == [{"train": names[:5], "val": names[5:7]}]
    shutil.rmtree(root)
    printed = prepare(volumes, "data.split=all")
    assert f"nnU-Net data set: raw/{NAME} (8 patients, no folds: nnUNetv2_train … all)" in printed
    assert not (root / "splits_final.json").exists()


@st.composite
def data_sets(draw: st.DrawFn) -> dict:
    count = draw(st.integers(5, 7))
    affine = st.sampled_from(list(AFFINES.values()))
    return {
        "names": draw(
            st.lists(st.from_regex(r"[a-z0-9_ü-]{1,8}", fullmatch=True), min_size=count, max_size=count, unique=True)
        ),
        "affines": [draw(affine) for _ in range(count)],
        "offsets": [draw(st.lists(st.floats(-1e3, 1e3, width=32), min_size=3, max_size=3)) for _ in range(count)],
        "dtypes": [draw(st.sampled_from([np.int16, np.float32, np.uint16])) for _ in range(count)],
        "lesions": [draw(st.booleans()) for _ in range(count)],
        "folds": draw(st.integers(2, count - 1)),
        "val_share": draw(st.sampled_from([None, 0.0, 0.15, 0.5])),
        "seed": draw(st.integers(0, 2**32 - 1)),
    }


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data_set=data_sets())
def test_what_is_written_and_read_again_is_the_same_data_set_with_the_same_folds(
    data_set: dict, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("round")
    for number, name in enumerate(data_set["names"]):
        hu, labels = anatomy(number, data_set["lesions"][number], (12, 10, 4))
        affine = data_set["affines"][number].copy()
        affine[:3, 3] = data_set["offsets"][number]
        for part, array in (("imagesTr", (hu + 2000).astype(data_set["dtypes"][number])), ("labelsTr", labels)):
            (folder / "ours" / part).mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(array, affine), folder / "ours" / part / f"{name}.nii.gz")
    preprocess, folds = Preprocess(size=16), data_set["folds"]
    ours = store_cases(find_cases(folder / "ours"), preprocess, folder / "store")
    new = SplitSettings("folds", folds, 0, data_set["val_share"], data_set["seed"])
    root = folder / NAME
    write_data_set(root, [Part(folder / "ours", ours)], new.every_fold(ours))
    for one, other in zip(find_cases(folder / "ours"), find_cases(root), strict=True):
        assert one.name == other.name
        assert same_content(one.image, other.image)
        assert same_content(one.label, other.label)
    theirs = store_cases(find_cases(root), preprocess, folder / "store")
    again = SplitSettings(str(root / "splits_final.json"), folds, 0, data_set["val_share"], data_set["seed"])
    assert list(map(parts, again.every_fold(theirs))) == list(map(parts, new.every_fold(ours)))


@pytest.mark.hostile
def test_places_that_cannot_be_used_are_refused_before_anything_is_read(volumes: Path) -> None:
    raw = volumes.parent / "raw"
    for name in ("LiTS", "Dataset3_LiTS", "Dataset003_", "Dataset003_a b"):
        told = prepare(volumes, f"nnunet=raw/{name}", failed=True)
        assert told.startswith("error: nnunet: expected a folder DatasetNNN_NAME")
    (raw / NAME / "imagesTr").mkdir(parents=True)
    (raw / NAME / "imagesTr" / "mine.nii.gz").write_text("mine")
    assert "expected an unused name for the data set" in prepare(volumes, failed=True)
    (raw / NAME / "dataset.json").write_text('{"labels": {}}')
    assert "a file that this command did not write" in prepare(volumes, failed=True)
    assert (raw / NAME / "imagesTr" / "mine.nii.gz").read_text() == "mine"
    (raw / "Dataset004_a").write_text("a file")
    assert "Dataset004_a" in prepare(volumes, "nnunet=raw/Dataset004_a", failed=True)
    source = "{a: {_target_: lits_seg.data.sources.Source, root: x, share: 0.5}}"
    assert "nnunet: expected a single data set" in prepare(
        volumes, "nnunet=raw/Dataset005_a", f"+data.sources={source}", failed=True
    )
    assert not (volumes.parent / "store").exists()


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("data.split=nosuch.json", "data.split: expected folds, all, ircadb, or a JSON file; found nosuch.json"),
        ("data.split=names.json", "names.json: expected names of usable patients in data.root; found others: 99"),
        ("data.split=ircadb", "data.split=ircadb: expected patients of ircadb (28 to 47)"),
        ("data.folds=9", "data.root: expected at least 10 patients for 9 folds; found 8"),
    ],
)
def test_splits_that_are_impossible_are_refused_before_anything_is_read(change: str, told: str, volumes: Path) -> None:
    folds = [{"train": ["1", "2"], "val": ["0"]}] * 3 + [{"train": ["1", "2"], "val": ["99"]}]
    (volumes.parent / "names.json").write_text(json.dumps(folds))
    assert prepare(volumes, change, failed=True).startswith(f"error: {told}")
    assert not (volumes.parent / "store").exists()
    assert not (volumes.parent / "data").exists()


@pytest.mark.hostile
def test_another_data_set_stays_and_nothing_half_written_is_left(volumes: Path) -> None:
    raw = volumes.parent / "raw"
    prepare(volumes)
    before = {path: path.stat().st_mtime_ns for path in raw.rglob("*")}
    for change in ("data.folds=3", "data.split_seed=1"):
        assert "found other patients, folds or files" in prepare(volumes, change, failed=True)
    write_case(volumes, "8", *anatomy(50))
    assert "found other patients, folds or files" in prepare(volumes, failed=True)
    assert {path: path.stat().st_mtime_ns for path in raw.rglob("*")} == before
    (volumes / "volume-2.nii.gz").write_bytes(b"damaged")
    assert "1 unusable" in prepare(volumes, "nnunet=raw/Dataset004_a", failed=True)
    prepare(volumes, "nnunet=raw/Dataset004_a", "prepare.on_error=skip")
    assert [case.name for case in find_cases(raw / "Dataset004_a")] == ["0", "1", "3", "4", "5", "6", "7", "8"]
    assert "data.root: expected at least 10 patients" in prepare(
        volumes, "nnunet=raw/Dataset005_a", "data.folds=9", "prepare.on_error=skip", failed=True
    )
    assert sorted(path.name for path in raw.iterdir()) == [NAME, "Dataset004_a"]


@pytest.mark.hostile
def test_a_full_disk_and_links_that_are_impossible(volumes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = volumes.parent / "raw"

    def refused(*paths: object) -> None:
        raise OSError("no links here")

    prepare(volumes)  # fills the store
    monkeypatch.setattr(os, "link", refused)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        assert "expected free space to write" in prepare(volumes, "nnunet=raw/Dataset004_a", failed=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(path.name for path in raw.iterdir()) == [NAME]
    prepare(volumes, "nnunet=raw/Dataset004_a")
    copied = raw / "Dataset004_a" / "imagesTr" / "0_0000.nii.gz"
    assert copied.read_bytes() == (volumes / "volume-0.nii.gz").read_bytes()
    assert not os.path.samefile(copied, volumes / "volume-0.nii.gz")
