import numpy as np
import pytest

from lits_seg.common.errors import InputError
from lits_seg.inference.rules import Rules


def after(rules: Rules, row: str, voxel_ml: float = 1.0) -> str:
    labels = np.array([[[int(c) for c in row]]], np.uint8)
    rules(labels, voxel_ml, (2.0, 1.0, 1.0))
    return "".join(str(label) for label in labels[0, 0])


@pytest.mark.parametrize(
    ("rules", "before", "expected"),
    [
        (Rules(), "1120012", "1120012"),
        (Rules(largest_liver=True), "1120012", "1120000"),
        (Rules(largest_liver=True), "0220112", "0000112"),
        (Rules(largest_liver=True), "0000000", "0000000"),
        (Rules(min_lesion_ml=2), "1210221", "1110221"),
        (Rules(min_lesion_ml=2), "0200220", "0000220"),
        (Rules(min_lesion_ml=3), "1210221", "1110111"),
        (Rules(largest_lesion=True), "1210221", "1110221"),
        (Rules(largest_lesion=True), "0200220", "0000220"),
        # Voxels of a row are 2 mm apart.
        (Rules(lesions_within_liver_mm=6), "2202100201000220", "2202100201000000"),
        (Rules(lesions_within_liver_mm=4), "2202100201000220", "0002100201000000"),
        (Rules(lesions_within_liver_mm=3.9), "2202100201000220", "0002100001000000"),
        (Rules(lesions_within_liver_mm=0), "0020", "0000"),
        (Rules(lesions_within_liver_mm=1e30), "2000000000001", "2000000000001"),
        (Rules(largest_liver=True, lesions_within_liver_mm=4), "1020001111", "0000001111"),
        # First the liver, then the small ones, then all but the largest.
        (Rules(largest_liver=True, min_lesion_ml=2, largest_lesion=True), "1222122121022220", "1222111111000000"),
    ],
)
def test_by_hand(rules: Rules, before: str, expected: str) -> None:
    assert after(rules, before) == expected


def test_volumes_are_in_ml() -> None:
    assert after(Rules(min_lesion_ml=0.1), "1221", voxel_ml=0.05) == "1221"
    assert after(Rules(min_lesion_ml=0.1), "1221", voxel_ml=0.049) == "1111"


@pytest.mark.parametrize("volume", [-1, float("nan"), float("inf")])
def test_bad_rules_are_named(volume: float) -> None:
    with pytest.raises(InputError, match=r"rules\.min_lesion_ml: expected"):
        Rules(min_lesion_ml=volume)


def test_distances_to_the_liver_are_in_mm_along_each_axis() -> None:
    for axis, side in enumerate((5.0, 0.8, 0.7)):
        labels = np.zeros((9, 9, 9), np.uint8)
        place = [4, 4, 4]
        labels[tuple(place)] = 1
        place[axis] = 7
        labels[tuple(place)] = 2
        for distance, kept in ((3 * side + 0.01, True), (3 * side - 0.01, False)):
            copy = labels.copy()
            Rules(lesions_within_liver_mm=distance)(copy, 1.0, (0.7, 0.8, 5.0))
            assert (copy == 2).any() == kept
            assert (copy == 1).sum() == 1


@pytest.mark.parametrize("distance", [-1, float("nan"), float("inf")])
def test_bad_distances_are_named(distance: float) -> None:
    with pytest.raises(InputError, match=r"rules\.lesions_within_liver_mm: expected"):
        Rules(lesions_within_liver_mm=distance)
