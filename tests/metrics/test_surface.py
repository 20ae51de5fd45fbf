import numpy as np
import pytest
from helpers import slow_metrics as slow
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lits_seg.metrics.surface import distance_scores, surface, surface_distances

MASKS = arrays(bool, (4, 5, 6), elements=st.booleans()).filter(lambda mask: mask.any())
SPACING = st.tuples(*[st.floats(0.3, 5)] * 3)


@given(MASKS)
@settings(deadline=None)
def test_surface_is_what_erosion_by_18_neighbours_removes(mask: np.ndarray) -> None:
    assert slow.voxels(surface(mask)) == slow.surface(mask)


@given(MASKS, MASKS, SPACING)
@settings(deadline=None, max_examples=60)
def test_distances_equal_every_distance(
    one: np.ndarray, other: np.ndarray, spacing: tuple[float, float, float]
) -> None:
    found = surface_distances(one, other, spacing)
    expected = slow.distances(one, other, spacing[::-1])
    np.testing.assert_allclose(np.sort(found), np.sort(expected), rtol=1e-5, atol=1e-6)


@given(MASKS, MASKS, SPACING)
@settings(deadline=None, max_examples=60)
def test_symmetry_translation_axes_and_spacing(
    one: np.ndarray, other: np.ndarray, spacing: tuple[float, float, float]
) -> None:
    scores = distance_scores(one, other, spacing)
    assert distance_scores(other, one, spacing) == pytest.approx(scores)
    moved = [np.pad(mask, ((3, 1), (0, 2), (5, 5))) for mask in (one, other)]
    assert distance_scores(*moved, spacing) == pytest.approx(scores, rel=1e-5)
    turned = distance_scores(one.transpose(2, 0, 1), other.transpose(2, 0, 1), (spacing[1], spacing[2], spacing[0]))
    assert turned == pytest.approx(scores, rel=1e-5)
    mirrored = distance_scores(one[::-1, :, ::-1], other[::-1, :, ::-1], spacing)
    assert mirrored == pytest.approx(scores, rel=1e-5)
    twice = distance_scores(one, other, tuple(2 * size for size in spacing))
    assert twice == pytest.approx({name: 2 * value for name, value in scores.items()}, rel=1e-5)
    assert scores["assd"] <= scores["rmsd"] * (1 + 1e-6) <= scores["msd"] * (1 + 2e-6)


def test_by_hand() -> None:
    one, other = np.zeros((3, 3, 9), bool), np.zeros((3, 3, 9), bool)
    one[1, 1, 1:3], other[1, 1, 1:6] = True, True  # 2 and 5 voxels in a row, 0.5 mm each along x
    scores = distance_scores(one, other, (0.5, 1, 1))
    # From the short one: 0, 0; from the long one: 0, 0, 0.5, 1, 1.5.
    assert scores == pytest.approx({"assd": 3 / 7, "rmsd": (3.5 / 7) ** 0.5, "msd": 1.5})


def test_equal_masks_are_at_distance_0_and_an_empty_one_has_none() -> None:
    ball = np.ones((2, 2, 2), bool)
    assert distance_scores(ball, ball, (1, 2, 3)) == {"assd": 0, "rmsd": 0, "msd": 0}
    for pair in ((ball, ~ball), (~ball, ball), (~ball, ~ball)):
        assert all(np.isnan(value) for value in distance_scores(*pair, (1, 1, 1)).values())
