from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from lits_seg.common.errors import InputError
from lits_seg.metrics.lesions import components
from lits_seg.postprocess.crf import Crf, refine
from lits_seg.postprocess.rules import FULL, Changes, Rules

CUBES = (1.0, 1.0, 1.0)


def after(rules: Rules, row: str, voxel_ml: float = 1.0, probability: list[float] | None = None) -> str:
    labels = np.array([[[int(c) for c in row]]], np.uint8)
    given = np.zeros(len(row)) if probability is None else np.array(probability)
    rules(labels, (given.reshape(1, 1, -1) * FULL).astype(np.uint8), CUBES, voxel_ml)
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
        (Rules(lesions_within_liver_mm=0), "1120200", "1120000"),
        (Rules(lesions_within_liver_mm=2), "1102200", "1102200"),
        (Rules(lesions_within_liver_mm=1.9), "1102200", "1100000"),
        (Rules(lesions_within_liver_mm=2), "0002200", "0000000"),
        (Rules(lesions_within_liver_mm=2), "2202100201000220", "0002100201000000"),
        (Rules(lesions_within_liver_mm=1000), "2000000000001", "2000000000001"),
        (Rules(largest_liver=True, lesions_within_liver_mm=2), "1020001111", "0000001111"),
        # First the liver, then the small ones, then all but the largest.
        (Rules(largest_liver=True, min_lesion_ml=2, largest_lesion=True), "1222122121022220", "1222111111000000"),
    ],
)
def test_by_hand(rules: Rules, before: str, expected: str) -> None:
    assert after(rules, before) == expected


def test_volumes_are_in_ml() -> None:
    assert after(Rules(min_lesion_ml=0.1), "1221", voxel_ml=0.05) == "1221"
    assert after(Rules(min_lesion_ml=0.1), "1221", voxel_ml=0.049) == "1111"


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (Rules(threshold=0.5), "112001220"),
        (Rules(threshold=0.3), "122001220"),
        (Rules(threshold=0.7), "111001120"),
        (Rules(min_probability=0.8), "111001220"),
        (Rules(threshold=0.7, min_probability=0.95), "111001110"),
    ],
)
def test_probabilities_decide_within_the_liver(rules: Rules, expected: str) -> None:
    probability = [0.1, 0.4, 0.6, 0.9, 0.0, 0.2, 0.6, 0.9, 0.9]
    assert after(rules, "112001220", probability=probability) == expected


def test_holes_of_the_liver_are_filled_in_three_dimensions() -> None:
    labels = np.ones((5, 5, 5), np.uint8)
    labels[2, 2, 2] = 0  # enclosed
    labels[:3, 1, 1] = 0  # open at the end
    Rules(fill_liver=True)(labels, labels, CUBES, 1.0)
    assert labels[2, 2, 2] == 1
    assert not labels[:3, 1, 1].any()


def test_a_probability_is_averaged_over_neighbouring_slices() -> None:
    labels = np.ones((9, 1, 2), np.uint8)
    probability = np.zeros((9, 1, 2), np.uint8)
    probability[4, 0, 0] = FULL  # noise of a single slice
    probability[2:7, 0, 1] = FULL  # a lesion
    Rules(threshold=0.5, smooth_mm=3)(labels, probability, (1.0, 1.0, 3.0), 1.0)
    assert (labels[:, 0, 0] == 1).all()
    assert (labels[:, 0, 1] == 2).tolist() == [2 <= number <= 6 for number in range(9)]


@pytest.mark.parametrize("smooth_mm", [0.4, 2.0, 9.0])
@pytest.mark.parametrize("slices", [1, 4, 40])
def test_the_average_is_scipys(smooth_mm: float, slices: int) -> None:
    probability = np.random.default_rng(0).integers(0, 256, (slices, 30, 20), dtype=np.uint8)
    smooth = ndimage.gaussian_filter1d(probability.astype(np.float32), smooth_mm / 1.5, axis=0, mode="nearest")
    labels = np.ones_like(probability)
    Rules(threshold=0.5, smooth_mm=smooth_mm)(labels, probability, (1.0, 1.0, 1.5), 1.0)
    likely = (probability > FULL / 2).any(axis=0)
    assert np.array_equal(labels == 2, (smooth > FULL / 2) & likely)


def test_distances_to_the_liver_are_in_mm_along_each_axis() -> None:
    spacing = (0.7, 0.8, 5.0)
    for axis, side in enumerate(spacing[::-1]):
        labels = np.zeros((9, 9, 9), np.uint8)
        place = [4, 4, 4]
        labels[tuple(place)] = 1
        place[axis] = 7
        labels[tuple(place)] = 2
        for distance, kept in ((3 * side + 0.01, True), (3 * side - 0.01, False)):
            copy = labels.copy()
            Rules(lesions_within_liver_mm=distance)(copy, copy, spacing, 1.0)
            assert (copy == 2).any() == kept
            assert (copy == 1).sum() == 1


def test_networks_without_liver_find_lesions_anywhere() -> None:
    labels = np.array([[[0, 2, 0]]], np.uint8)
    probability = np.array([[[200, 100, 10]]], np.uint8)
    Rules(threshold=0.5, largest_liver=True, fill_liver=True, lesions_within_liver_mm=0)(
        labels, probability, CUBES, 1.0, False
    )
    assert labels.tolist() == [[[2, 0, 0]]]


MASKS = arrays(np.uint8, (4, 5, 6), elements=st.integers(0, 2))
MAPS = arrays(np.uint8, (4, 5, 6), elements=st.integers(0, FULL))
SETS = st.builds(
    Rules,
    largest_liver=st.booleans(),
    fill_liver=st.booleans(),
    threshold=st.floats(0.1, 0.9),
    smooth_mm=st.floats(0, 10),
    lesions_within_liver_mm=st.none() | st.floats(0, 5),
    min_lesion_ml=st.floats(0, 5),
    min_probability=st.floats(0, 1),
    largest_lesion=st.booleans(),
)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.002, 0.05, 0.2, 0.35, 0.6]))
def test_the_largest_liver_is_the_largest_component(seed: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, (5, 40, 40))
    labels = (rng.integers(1, 3, shape) * (rng.random(shape) < density)).astype(np.uint8)
    pieces, count = components(labels >= 1)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    expected = labels * (sizes[pieces] == sizes[1:].max(initial=0))  # a mask without labels stays empty
    Rules(largest_liver=True)(labels, labels, CUBES, 1.0)
    np.testing.assert_array_equal(labels, expected)


@given(MASKS, MAPS, SETS)
def test_no_rule_makes_new_liver_outside_the_liver(labels: np.ndarray, probability: np.ndarray, rules: Rules) -> None:
    before = labels.copy()
    rules(labels, probability, CUBES, 1.0)
    assert set(np.unique(labels)) <= {0, 1, 2}
    if not rules.fill_liver:
        assert not labels[before == 0].any()
    if not rules.smooth_mm:
        assert (probability[labels == 2] > rules.threshold * FULL).all()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"min_lesion_ml": -1}, r"rules\.min_lesion_ml: expected a number, at least 0; found -1"),
        ({"min_lesion_ml": float("nan")}, r"rules\.min_lesion_ml: expected"),
        ({"min_lesion_ml": float("inf")}, r"rules\.min_lesion_ml: expected"),
        ({"lesions_within_liver_mm": float("nan")}, r"rules\.lesions_within_liver_mm: expected"),
        ({"min_lesion_ml": 10_001}, r"rules\.min_lesion_ml: expected a number, at least 0, at most 10000; found 10001"),
        ({"min_lesion_ml": "1"}, r"rules\.min_lesion_ml: expected a number"),
        ({"largest_liver": 1}, r"rules\.largest_liver: expected true or false; found 1"),
        ({"threshold": 1}, r"rules\.threshold: expected"),
        ({"min_probability": 1.1}, r"rules\.min_probability: expected"),
        ({"smooth_mm": 3}, r"rules\.smooth_mm: expected rules\.threshold as well"),
    ],
)
def test_bad_rules_are_named(values: dict[str, float], told: str) -> None:
    with pytest.raises(InputError, match=told):
        Rules(**values)


def dark_block(shape: tuple[int, int, int] = (10, 40, 44)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels of a liver, a probability of 0…255 that knows half of its lesion, and HU."""
    labels, hu = np.zeros(shape, np.uint8), np.full(shape, 110, np.int16)
    labels[2:8, 8:32, 8:36] = 1
    hu[4:6, 16:24, 16:24] = 50
    probability = np.full(shape, 12, np.uint8)
    probability[4:6, 16:24, 16:24] = 100
    probability[4:6, 16:24, 16:21] = 230
    return labels, probability, hu


def reader(hu: np.ndarray) -> Callable[[int, int], np.ndarray]:
    return lambda start, stop: hu[start:stop]


BY_HU = Crf(smoothness_weight=0, appearance_weight=4, appearance_mm=4)


def test_a_crf_completes_a_lesion_by_its_hu() -> None:
    labels, probability, hu = dark_block()
    Rules(threshold=0.5, crf=BY_HU)(labels, probability, CUBES, 1.0, True, reader(hu))
    assert np.array_equal(labels == 2, hu == 50)
    without = dark_block()[0]
    Rules(threshold=0.5)(without, probability, CUBES, 1.0)
    assert np.count_nonzero(without == 2) < np.count_nonzero(labels == 2)


@pytest.mark.parametrize("has_liver", [True, False])
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8])
def test_near_the_lesions_is_enough_for_a_crf(threshold: float, has_liver: bool) -> None:
    """The same voxels are lesion if the CRF sees the whole CT."""
    generator = np.random.default_rng(0)
    labels, probability, hu = dark_block((20, 90, 99))
    hu = (hu + generator.normal(0, 15, hu.shape)).astype(np.int16)
    crf = Crf(1.0, 1.0, 1.0, 3.0)
    whole = refine(probability / FULL, hu, CUBES, crf) > threshold
    Rules(threshold=threshold, crf=crf)(labels, probability, CUBES, 1.0, has_liver, reader(hu))
    expected = whole & (dark_block((20, 90, 99))[0] == 1) if has_liver else whole
    assert np.count_nonzero(expected) > 50
    assert np.count_nonzero((labels == 2) != expected) <= 0.05 * np.count_nonzero(expected)


def test_an_average_over_slices_comes_before_the_crf() -> None:
    labels, probability, hu = dark_block()
    crf = Crf(0.0, 1.0, 1.0, 4.0)
    smooth = ndimage.gaussian_filter1d(probability.astype(np.float32), 1, axis=0, mode="nearest")
    expected = refine(smooth / FULL, hu, CUBES, crf) > 0.3
    assert expected.any()
    assert (expected != (refine(probability / FULL, hu, CUBES, crf) > 0.3)).any()
    Rules(threshold=0.3, smooth_mm=1, crf=crf)(labels, probability, CUBES, 1.0, True, reader(hu))
    assert np.array_equal(labels == 2, expected & (dark_block()[0] == 1))


def test_a_crf_reads_no_ct_without_a_likely_voxel() -> None:
    labels, probability, _ = dark_block()
    rules = Rules(threshold=0.5, crf=Crf())
    for known in (True, False):
        rules(labels, np.minimum(probability, 90), CUBES, 1.0, known)
        assert not (labels == 2).any()
    rules(np.zeros_like(labels), probability, CUBES, 1.0)


def test_rules_with_a_crf_are_plain_values() -> None:
    rules = Rules(threshold=0.5, crf=Crf(appearance_mm=7))
    assert Rules(**rules.plain()) == rules
    assert Changes(crf=Crf()).of(Rules(threshold=0.5)).crf == Crf()
    assert Changes(threshold=0.4).of(rules).crf == rules.crf


@pytest.mark.hostile
def test_a_crf_without_ct_or_threshold_is_an_error() -> None:
    labels, probability, _ = dark_block()
    with pytest.raises(InputError, match=r"^rules.crf: expected the CT, .* found labels and probabilities only"):
        Rules(threshold=0.5, crf=Crf())(labels, probability, CUBES, 1.0)
    with pytest.raises(InputError, match=r"^rules.crf: expected rules.threshold as well"):
        Rules(crf=Crf())
