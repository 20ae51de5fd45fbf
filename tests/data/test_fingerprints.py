"""Copies of a CT are recognized in whatever form they come; other CTs are not taken for copies."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from helpers.volumes import AFFINES, ORDERS, anatomy, write_case
from nibabel.orientations import apply_orientation, inv_ornt_aff

from lits_seg.data.fingerprints import Fingerprint, fingerprint
from lits_seg.data.layouts import Case
from lits_seg.data.volumes import read_case

STRAIGHT = AFFINES["LPS"]


def of_files(root: Path, name: str = "0") -> Fingerprint:
    (image,) = root.glob(f"volume-{name}.nii*")
    pair = read_case(Case(name, image, root / f"segmentation-{name}.nii.gz"))
    return fingerprint(*(volume.slices for volume in pair))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Fingerprint:
    root = tmp_path_factory.mktemp("original")
    write_case(root, "0", *anatomy(0))
    return of_files(root)


@pytest.mark.parametrize("order", ORDERS[::5], ids=str)
def test_orientation_does_not_matter(order: np.ndarray, original: Fingerprint, tmp_path: Path) -> None:
    affine = STRAIGHT @ inv_ornt_aff(order, anatomy(0)[0].shape)
    write_case(tmp_path, "0", *(apply_orientation(part, order) for part in anatomy(0)), affine)
    assert of_files(tmp_path) == original


@pytest.mark.parametrize("kind", ["float32", "float64", "int32", "scaled", "not compressed", "other padding"])
def test_the_form_of_the_file_does_not_matter(kind: str, original: Fingerprint, tmp_path: Path) -> None:
    hu, labels = anatomy(0)
    write_case(tmp_path, "0", hu, labels)
    if kind == "scaled":
        image = nib.Nifti1Image(hu.astype(np.float64), STRAIGHT)
        image.set_data_dtype(np.int16)  # nibabel then chooses slope and intercept
    else:
        image = nib.Nifti1Image(hu.astype(kind) if kind in np.sctypeDict else hu, STRAIGHT)
    (tmp_path / "volume-0.nii.gz").unlink()
    nib.save(image, tmp_path / ("volume-0.nii" if kind == "not compressed" else "volume-0.nii.gz"))
    assert of_files(tmp_path) == original


def test_labels_have_a_hash_of_their_own(original: Fingerprint, tmp_path: Path) -> None:
    hu, labels = anatomy(0)
    labels[20, 20, 5] = 2 if labels[20, 20, 5] != 2 else 1
    write_case(tmp_path, "0", hu, labels)
    changed = of_files(tmp_path)
    assert (changed.image, changed.slices) == (original.image, original.slices)
    assert changed.label != original.label
    assert changed.same_ct(original)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("cropped along z", lambda hu: hu[:, :, 3:7]),
        ("air cropped", lambda hu: hu[2:-2, 1:-1]),
        ("other padding", lambda hu: np.where(hu < -900, -3024, hu)),
        ("flipped without its affine", lambda hu: hu[::-1, :, ::-1]),
        ("windowed", lambda hu: hu.clip(-160, 240)),
        ("one voxel repaired", lambda hu: np.where(np.indices(hu.shape).sum(0) == 0, 500, hu)),
    ],
)
def test_parts_and_processed_copies_are_recognized(kind: str, change: object, original: Fingerprint) -> None:
    copy = np.ascontiguousarray(change(anatomy(0)[0]).transpose(2, 1, 0))
    found = fingerprint(copy, np.zeros(copy.shape, np.uint8))
    assert found.image != original.image
    assert found.same_ct(original)
    assert original.same_ct(found)


def test_other_patients_are_no_copies(original: Fingerprint, tmp_path: Path) -> None:
    for seed in range(1, 6):
        write_case(tmp_path, str(seed), *anatomy(seed))
        assert not of_files(tmp_path, str(seed)).same_ct(original)


def test_plain_shapes_are_told_apart_by_their_voxels_alone() -> None:
    """Without noise, slices of different patients may have equally many voxels of each value."""
    plain = np.zeros((4, 20, 20), np.int16)
    one, other = plain.copy(), plain.copy()
    one[:, 3:6, 3:6] = other[:, 9:12, 9:12] = 100
    prints = [fingerprint(hu, np.zeros(hu.shape, np.uint8)) for hu in (one, other, one.copy())]
    assert not prints[0].same_ct(prints[1])
    assert prints[0].same_ct(prints[2])


def test_a_fingerprint_is_one_line_of_text(original: Fingerprint) -> None:
    assert Fingerprint.parse(str(original)) == original
    many = np.random.default_rng(0).normal(0, 40, (200, 16, 16)).astype(np.float32)
    assert len(str(fingerprint(many, np.zeros(many.shape, np.uint8)))) < 800
