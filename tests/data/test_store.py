import os
import pickle
import shutil
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from helpers.volumes import ORDERS, anatomy, write_case
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.orientations import apply_orientation, inv_ornt_aff
from scipy.spatial.transform import Rotation

from lits_seg.common.errors import InputError
from lits_seg.data.layouts import find_cases
from lits_seg.data.preprocess import Preprocess
from lits_seg.data.store import store_cases
from lits_seg.data.volumes import read_case, read_volume

PREPROCESS = Preprocess(size=32)


def files(store: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in store.rglob("*.npy")}


def test_store_holds_what_the_pre_processing_gives(lits: Path, tmp_path: Path) -> None:
    cases = find_cases(lits)
    for case, stored in zip(cases, store_cases(cases, PREPROCESS, tmp_path), strict=True):
        image, label = read_case(case)
        np.testing.assert_array_equal(stored.images, PREPROCESS.images(image.slices))
        np.testing.assert_array_equal(stored.labels, PREPROCESS.labels(label.slices))
        np.testing.assert_array_equal(np.stack([stored.truth(i) for i in range(len(stored))]), label.slices)
        assert stored.spacing == image.spacing
        assert sum(stored.lesion_pixels) == (stored.labels == 2).sum()
        assert sum(stored.liver_pixels) == (stored.labels > 0).sum()


def test_store_is_written_once_and_again_when_something_changed(lits: Path, tmp_path: Path) -> None:
    root = shutil.copytree(lits, tmp_path / "root")
    store, cases = tmp_path / "store", find_cases(root)
    store_cases(cases, PREPROCESS, store)
    before = files(store)
    store_cases(cases, PREPROCESS, store)
    assert files(store) == before
    store_cases(cases, Preprocess(size=32, window=(-150, 250)), store)
    assert len(files(store)) == 2 * len(before)
    os.utime(cases[0].image, ns=(1, 1))
    store_cases(cases, PREPROCESS, store)
    assert len(files(store)) == 2 * len(before) + 3


def test_bad_case_leaves_nothing_half_written(lits: Path, tmp_path: Path) -> None:
    root = shutil.copytree(lits, tmp_path / "root")
    bad = root / "volume-3.nii.gz"
    bad.write_bytes(bad.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"volume-3\.nii\.gz"):
        store_cases(find_cases(root), PREPROCESS, tmp_path / "store")
    folders = [path for path in (tmp_path / "store").glob("*/*") if path.is_dir()]
    assert folders
    assert not [folder for folder in folders if folder.name.startswith((".", "3-"))]
    for folder in folders:
        assert sorted(path.name for path in folder.iterdir()) == ["case.json", "image.npy", "label.npy", "truth.npy"]


def test_after_a_bad_case_no_other_case_is_begun(lits: Path, tmp_path: Path) -> None:
    root = shutil.copytree(lits, tmp_path / "root")
    cases = find_cases(root)
    cases[0].image.write_bytes(b"cut off")
    with pytest.raises(InputError, match=cases[0].image.name):
        store_cases(cases, PREPROCESS, tmp_path / "store", workers=1)
    assert len(list((tmp_path / "store").glob("*/*/case.json"))) < len(cases) - 1


def test_store_goes_on_where_it_failed(lits: Path, tmp_path: Path) -> None:
    root = shutil.copytree(lits, tmp_path / "root")
    (root / "volume-3.nii.gz").write_bytes(b"cut off")
    with pytest.raises(InputError):
        store_cases(find_cases(root), PREPROCESS, tmp_path / "store")
    before = files(tmp_path / "store")
    shutil.copy(lits / "volume-3.nii.gz", root)
    assert len(store_cases(find_cases(root), PREPROCESS, tmp_path / "store")) == 8
    assert files(tmp_path / "store").items() >= before.items()


def test_opened_case_travels_to_workers_without_its_arrays(lits: Path, tmp_path: Path) -> None:
    stored = store_cases(find_cases(lits)[:1], PREPROCESS, tmp_path)[0]
    assert stored.images.size > 5000
    travelled = pickle.dumps(stored)
    assert len(travelled) < 3000
    np.testing.assert_array_equal(pickle.loads(travelled).images, stored.images)


def save_as(file: Path, array: np.ndarray, affine: np.ndarray, kind: str) -> None:
    """Even numbers from -1024 on, in one of the ways in which files hold HU."""
    if kind == "scaled":
        image = nib.Nifti1Image(((array + 1024) // 2).astype(np.int16), affine)
        image.header.set_slope_inter(2, -1024)
    elif kind == "uint16":
        image = nib.Nifti1Image((array + 1024).astype(np.uint16), affine)
        image.header.set_slope_inter(1, -1024)
    else:
        image = nib.Nifti1Image(array.astype(kind), affine)
    nib.save(image, file)


ANATOMY = anatomy(3)


@settings(max_examples=60, deadline=None)
@given(
    axes=st.permutations(range(3)),
    flips=st.tuples(*[st.sampled_from([1, -1])] * 3),
    turn=st.tuples(*[st.floats(-0.4, 0.4)] * 3),
    kind=st.sampled_from(["int16", "uint16", "float32", "float64", "scaled"]),
    suffix=st.sampled_from([".nii", ".nii.gz"]),
)
def test_the_store_does_not_depend_on_how_the_anatomy_is_saved(
    axes: list[int], flips: tuple, turn: tuple, kind: str, suffix: str
) -> None:
    hu, labels = ANATOMY[0].clip(-1024) // 2 * 2, ANATOMY[1]
    order = np.array([[axis, flip] for axis, flip in zip(axes, flips, strict=True)], float)
    straight = np.diag([-1.5, -1.5, 3.0, 1.0])
    oblique = np.eye(4)
    oblique[:3, :3] = Rotation.from_euler("xyz", turn).as_matrix()
    affine = oblique @ straight @ inv_ornt_aff(order, hu.shape)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_case(root, "0", hu, labels, straight)
        save_as(root / f"volume-1{suffix}", apply_orientation(hu, order), affine, kind)
        nib.save(nib.Nifti1Image(apply_orientation(labels, order), affine), root / f"segmentation-1{suffix}")
        straight_case, turned_case = store_cases(find_cases(root), PREPROCESS, root / "store")
        np.testing.assert_array_equal(turned_case.images, straight_case.images)
        np.testing.assert_array_equal(turned_case.labels, straight_case.labels)
        truth, expected = ([case.truth(i) for i in range(len(case))] for case in (turned_case, straight_case))
        np.testing.assert_array_equal(truth, expected)
        assert turned_case.spacing == pytest.approx(straight_case.spacing)


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_every_order_and_direction_of_axes_gives_the_same_store(order: np.ndarray, tmp_path: Path) -> None:
    hu, labels = ANATOMY
    straight = np.diag([-1.5, -1.5, 3.0, 1.0])
    write_case(tmp_path, "0", hu, labels, straight)
    affine = straight @ inv_ornt_aff(order, hu.shape)
    write_case(tmp_path, "1", apply_orientation(hu, order), apply_orientation(labels, order), affine)
    one, other = store_cases(find_cases(tmp_path), PREPROCESS, tmp_path / "store")
    np.testing.assert_array_equal(one.images, other.images)
    np.testing.assert_array_equal(one.labels, other.labels)


def test_a_slice_from_the_store_is_the_slice_pre_processed_on_the_fly(lits: Path, tmp_path: Path) -> None:
    """One slice alone, as prediction meets it, and the store's."""
    cases = find_cases(lits)
    for case, stored in zip(cases, store_cases(cases, PREPROCESS, tmp_path), strict=True):
        hu = read_volume(case.image).slices
        for i in (0, len(stored) // 2):
            np.testing.assert_array_equal(PREPROCESS.images(hu[i : i + 1])[0], stored.images[i])
