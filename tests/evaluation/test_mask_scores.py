import unicodedata
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from helpers.volumes import AFFINES, ORDERS, anatomy
from nibabel.orientations import apply_orientation, inv_ornt_aff

from lits_seg.common.errors import InputError
from lits_seg.evaluation.mask_scores import pair_masks, read_pair, score_masks

LABELS = anatomy(0)[1]


def write(path: Path, labels: np.ndarray = LABELS, affine: np.ndarray = AFFINES["oblique"]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(labels, affine), path)


def test_pairs_come_in_the_order_of_their_numbers_whatever_their_ending(tmp_path: Path) -> None:
    for number in (10, 9):
        write(tmp_path / "a" / f"segmentation-{number}.nii")
        write(tmp_path / "b" / f"segmentation-{number}.nii.gz")
    pairs = pair_masks(tmp_path / "a", tmp_path / "b")
    assert list(pairs) == ["segmentation-9", "segmentation-10"]
    assert pairs["segmentation-9"] == (tmp_path / "a/segmentation-9.nii", tmp_path / "b/segmentation-9.nii.gz")
    single = pair_masks(tmp_path / "a/segmentation-9.nii", tmp_path / "b/segmentation-10.nii.gz")
    assert list(single) == ["segmentation-10"]


def test_masks_without_a_counterpart_are_all_named(tmp_path: Path) -> None:
    for name in ("p/a.nii", "p/b.nii", "p/x.nii", "r/a.nii.gz", "r/c.nii.gz", "r/d.nii.gz"):
        write(tmp_path / name)
    with pytest.raises(InputError, match=r"/p: expected one mask for each in .*/r.*none for c, d; too many: b, x$"):
        pair_masks(tmp_path / "p", tmp_path / "r")


def test_names_of_lits_and_of_nnunet_are_the_same_patients(tmp_path: Path) -> None:
    for name in ("lits/segmentation-10.nii", "lits/segmentation-9.nii", "theirs/9.nii.gz", "theirs/10.nii.gz"):
        write(tmp_path / name)
    pairs = pair_masks(tmp_path / "theirs", tmp_path / "lits")
    assert list(pairs) == ["segmentation-9", "segmentation-10"]
    assert pairs["segmentation-9"] == (tmp_path / "theirs/9.nii.gz", tmp_path / "lits/segmentation-9.nii")
    assert pair_masks(tmp_path / "lits", tmp_path / "theirs")["9"] == pairs["segmentation-9"][::-1]
    write(tmp_path / "lits/segmentation-8.nii")
    with pytest.raises(InputError, match=r"none for segmentation-8$"):
        pair_masks(tmp_path / "theirs", tmp_path / "lits")


def test_only_the_patients_of_a_split_are_paired(tmp_path: Path) -> None:
    for name in ("r/segmentation-1.nii", "r/segmentation-2.nii", "p/1.nii", "p/3.nii"):
        write(tmp_path / name)
    assert list(pair_masks(tmp_path / "p", tmp_path / "r", ["1"])) == ["segmentation-1"]
    with pytest.raises(InputError, match=r"/p: expected one mask .*none for segmentation-2$"):
        pair_masks(tmp_path / "p", tmp_path / "r", ["1", "2"])
    with pytest.raises(InputError, match=r"/r: expected a mask of each patient of split; found none for 3"):
        pair_masks(tmp_path / "p", tmp_path / "r", ["1", "3"])


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_any_order_of_axes_scores_the_same(order: np.ndarray, tmp_path: Path) -> None:
    affine = AFFINES["oblique"]
    predicted = anatomy(1)[1]
    write(tmp_path / "r" / "a.nii", LABELS, affine)
    write(tmp_path / "p" / "a.nii", apply_orientation(predicted, order), affine @ inv_ornt_aff(order, predicted.shape))
    (case,) = score_masks(tmp_path / "p", tmp_path / "r")
    both = ((predicted == 2) & (LABELS == 2)).sum()
    assert case.voxels.lesion == (both, (predicted == 2).sum(), (LABELS == 2).sum())
    assert case.spacing == pytest.approx(nib.affines.voxel_sizes(affine))


@pytest.mark.parametrize(
    ("labels", "affine"),
    [
        (LABELS[:, :, 1:], AFFINES["oblique"]),
        (LABELS, AFFINES["oblique"] @ np.diag([1.1, 1, 1, 1])),
        (LABELS, AFFINES["oblique"] + np.array([[0, 0, 0, 1.0]] + [[0] * 4] * 3)),
        (LABELS, np.eye(4)),
    ],
    ids=["another shape", "another spacing", "moved", "no header"],
)
def test_another_grid_is_refused_with_both_grids_told(labels: np.ndarray, affine: np.ndarray, tmp_path: Path) -> None:
    write(tmp_path / "r.nii")
    write(tmp_path / "p.nii", labels, affine)
    with pytest.raises(InputError) as error:
        read_pair(tmp_path / "p.nii", tmp_path / "r.nii")
    told = str(error.value)
    assert told.startswith(f"{tmp_path}/p.nii: expected the grid of {tmp_path}/r.nii (48×40×10 voxels, LPS")
    assert ("grid=voxels" in told) == (labels.shape == LABELS.shape)


def test_as_stored_when_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "r.nii")
    write(tmp_path / "p.nii", LABELS, np.eye(4))
    predicted, reference = read_pair(tmp_path / "p.nii", tmp_path / "r.nii", grid="voxels")
    np.testing.assert_array_equal(predicted.slices, reference.slices)
    write(tmp_path / "q.nii", LABELS[1:], np.eye(4))
    with pytest.raises(InputError, match=r"q\.nii: expected the grid"):
        read_pair(tmp_path / "q.nii", tmp_path / "r.nii", grid="voxels")


def test_every_bad_mask_is_told(tmp_path: Path) -> None:
    for name in "abc":
        write(tmp_path / "r" / f"{name}.nii")
    write(tmp_path / "p" / "a.nii", LABELS * 2)
    (tmp_path / "p" / "b.nii.gz").write_bytes(b"\x1f\x8b cut")
    write(tmp_path / "p" / "c.nii")
    with pytest.raises(InputError) as error:
        score_masks(tmp_path / "p", tmp_path / "r")
    told = str(error.value)
    assert "2 that cannot" in told
    assert "a.nii: expected only labels 0 (background), 1 (liver), 2 (lesion); found values 0, 2, 4" in told
    assert "b.nii.gz: expected a readable NIfTI volume" in told


def write_map(path: Path, probability: np.ndarray, slope: float = 1.0, affine: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(probability, AFFINES["oblique"] if affine is None else affine)
    image.header.set_slope_inter(slope, 0)
    nib.save(image, path)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_map_next_to_a_mask_gives_its_froc(ending: str, tmp_path: Path) -> None:
    write(tmp_path / "r" / "a.nii")
    write(tmp_path / "p" / "a.nii.gz")
    stored = (153 * (LABELS == 2)).astype(np.uint8)  # probability 0.6
    write_map(tmp_path / "p" / "probability" / f"a{ending}", stored, 1 / 255)
    (without,), (case,) = (score_masks(tmp_path / "p", tmp_path / "r", maps=maps) for maps in (False, True))
    assert without.froc is None
    assert case.detection == without.detection
    found = [row[:3] for row in case.froc.over_half]
    all_of_them = tuple(size.references for size in case.by_size.by_size().values())
    assert found == [all_of_them] * 9 + [(0, 0, 0)] * 6
    write_map(tmp_path / "p" / "probability" / f"a{ending}", (stored / 255).astype(np.float32))
    assert score_masks(tmp_path / "p", tmp_path / "r", maps=True) == [case]


def test_a_map_may_have_the_same_name_in_other_letters(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "Müller")
    write(tmp_path / "r" / "Müller.nii")
    for name in (decomposed, "Müller"):
        write(tmp_path / name / f"{decomposed}.nii")
        write_map(tmp_path / name / "probability" / f"{name}.nii.gz", (LABELS == 2).astype(np.uint8))
        (case,) = score_masks(tmp_path / name, tmp_path / "r", maps=True)
        assert case.froc is not None


def test_a_map_follows_the_axes_of_the_reference(tmp_path: Path) -> None:
    affine, order = AFFINES["oblique"], ORDERS[-1]
    write(tmp_path / "r" / "a.nii")
    write(tmp_path / "p" / "a.nii")
    stored = (200 * (LABELS == 2)).astype(np.uint8)
    turned = apply_orientation(stored, order), 1 / 255, affine @ inv_ornt_aff(order, stored.shape)
    write_map(tmp_path / "p" / "probability" / "a.nii", *turned)
    (case,) = score_masks(tmp_path / "p", tmp_path / "r", maps=True)
    assert sum(case.froc.over_half[0][:3]) == case.detection.references > 0


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("probability", "affine", "told"),
    [
        (LABELS, None, "expected probabilities from 0 to 1; found values from 0 to 2"),
        (-LABELS.astype(np.int16), None, "expected probabilities from 0 to 1; found values from -2 to 0"),
        (np.full(LABELS.shape, np.nan, np.float32), None, "found values from nan to nan"),
        (LABELS[1:] // 2, None, "expected the grid of"),
        (LABELS // 2, np.eye(4), "expected the grid of"),
        (None, None, "expected a readable NIfTI volume"),
    ],
    ids=["labels", "negative", "NaN", "shape", "place", "cut"],
)
def test_a_map_that_does_not_fit_is_named(
    probability: np.ndarray | None, affine: np.ndarray | None, told: str, tmp_path: Path
) -> None:
    write(tmp_path / "r" / "a.nii")
    write(tmp_path / "p" / "a.nii")
    if probability is None:
        (tmp_path / "p" / "probability").mkdir()
        (tmp_path / "p" / "probability" / "a.nii.gz").write_bytes(b"\x1f\x8b cut")
    else:
        write_map(tmp_path / "p" / "probability" / "a.nii.gz", probability, affine=affine)
    with pytest.raises(InputError) as error:
        score_masks(tmp_path / "p", tmp_path / "r", maps=True)
    assert told in str(error.value)
    assert "probability/a.nii.gz: " in str(error.value)
