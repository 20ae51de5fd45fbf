"""A dense CRF draws voxels to the label of near and similar voxels, in mm and HU."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lits_seg.common.errors import InputError
from lits_seg.postprocess.crf import Crf, refine

MILD = Crf(smoothness_weight=1, smoothness_mm=2, appearance_weight=1, appearance_mm=4)
SPACING = (0.8, 0.7, 3.0)
shapes = st.tuples(*[st.integers(1, 9)] * 3)
crfs = st.builds(
    Crf,
    smoothness_weight=st.sampled_from([0, 0.5, 3, 100]),
    smoothness_mm=st.sampled_from([0.1, 1, 6, 50]),
    appearance_weight=st.sampled_from([0, 0.5, 3, 100]),
    appearance_mm=st.sampled_from([2, 5, 100]),
    appearance_hu=st.sampled_from([5, 20, 400]),
    iterations=st.sampled_from([1, 5]),
)


def noisy(shape: tuple[int, int, int], seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a mask with three balls, a probability of it, and its HU, both with noise."""
    generator = np.random.default_rng(seed)
    inside = np.zeros(shape, bool)
    places = np.indices(shape)
    for centre, radius in (((0.5, 0.4, 0.4), 0.15), ((0.4, 0.7, 0.6), 0.09), ((0.6, 0.3, 0.75), 0.06)):
        distances = [place - share * size for place, share, size in zip(places, centre, shape, strict=True)]
        inside |= np.sum(np.square(distances), axis=0) < (radius * shape[1]) ** 2
    logits = np.where(inside, 1, -2.5) + generator.normal(0, 1.2, shape)
    hu = np.where(inside, 60, 110) + generator.normal(0, 20, shape)
    return inside, (1 / (1 + np.exp(-logits))).astype(np.float32), hu.astype(np.float32)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


@settings(max_examples=30, deadline=None)
@given(shape=shapes, spacing=st.tuples(*[st.sampled_from([0.4, 1.0, 7.5])] * 3), crf=crfs, seed=st.integers(0, 99))
def test_probabilities_remain_probabilities(
    shape: tuple[int, ...], spacing: tuple[float, float, float], crf: Crf, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    probability = generator.random(shape).astype(np.float32).round(seed % 3)  # of 0, every value is 0 or 1
    hu = generator.choice(np.array([-32768, -150, 100, 249, 250, 32767], np.int16), shape)
    found = refine(probability, hu, spacing, crf)
    assert found.shape == shape
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 1


@settings(max_examples=10, deadline=None)
@given(probability=arrays(np.float32, shapes, elements=st.floats(0, 1, width=32)))
def test_without_weights_nothing_changes(probability: np.ndarray) -> None:
    crf = Crf(smoothness_weight=0, appearance_weight=0)
    assert np.array_equal(refine(probability, np.zeros_like(probability), SPACING, crf), probability)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_mirrored_volume_has_the_mirrored_result(axis: int) -> None:
    _, probability, hu = noisy((6, 14, 11))
    mirrored = refine(np.flip(probability, axis), np.flip(hu, axis), SPACING, MILD)
    np.testing.assert_allclose(np.flip(mirrored, axis), refine(probability, hu, SPACING, MILD), atol=1e-4)


@pytest.mark.parametrize("order", list(permutations(range(3)))[1:])
def test_the_axes_are_alike(order: tuple[int, int, int]) -> None:
    _, probability, hu = noisy((6, 14, 11))
    steps = SPACING[::-1]
    turned = tuple(steps[axis] for axis in order)[::-1]
    found = refine(probability.transpose(order), hu.transpose(order), turned, MILD)
    np.testing.assert_allclose(found, refine(probability, hu, SPACING, MILD).transpose(order), atol=1e-4)


def test_distances_are_in_mm() -> None:
    """A volume with twice as many voxels along each axis has the same result."""
    inside, _, _ = noisy((24, 48, 48))
    fine = np.repeat(np.repeat(np.repeat(inside, 2, 0), 2, 1), 2, 2)
    results = []
    for mask, step in ((inside, 2.0), (fine, 1.0)):
        probability, hu = np.where(mask, 0.7, 0.2).astype(np.float32), np.where(mask, 70, 110)
        results.append(refine(probability, hu, (step, step, step), Crf(1.0, 4.0, 1.0, 8.0)))
    coarse = results[1].reshape(24, 2, 48, 2, 48, 2).mean(axis=(1, 3, 5))
    difference = np.abs(coarse - results[0]).mean()
    assert difference < 0.003
    assert dice(coarse > 0.5, results[0] > 0.5) > 0.97
    other = refine(np.where(inside, 0.7, 0.2), np.where(inside, 70, 110), (1.0, 1.0, 1.0), Crf(1.0, 4.0, 1.0, 8.0))
    assert np.abs(other - results[0]).mean() > 3 * difference  # the same voxels, of another size


@pytest.mark.parametrize("value", [-300, 3, 100, 117])
def test_in_a_constant_image_appearance_is_smoothness(value: int) -> None:
    _, probability, _ = noisy((12, 30, 30))
    hu = np.full(probability.shape, value, np.int16)
    near = refine(probability, hu, (1.0, 1.0, 2.0), Crf(1.5, 4.0, 0.0))
    alike = refine(probability, hu, (1.0, 1.0, 2.0), Crf(0.0, 4.0, 1.5, 4.0))
    assert np.abs(near - alike).max() < 0.03


def test_a_lesion_ends_where_its_hu_ends() -> None:
    """The network saw the left half of a dark block only."""
    hu = np.full((8, 24, 24), 110)
    hu[2:6, 8:16, 8:16] = 50
    probability = np.full(hu.shape, 0.05)
    probability[2:6, 8:16, 8:13] = 0.9
    probability[2:6, 8:16, 13:16] = 0.4
    found = refine(probability, hu, (1.0, 1.0, 1.0), Crf(0.0, 1.0, 4.0, 4.0)) > 0.5
    assert np.array_equal(found, hu == 50)
    blurred = refine(probability, np.full(hu.shape, 110), (1.0, 1.0, 1.0), Crf(0.0, 1.0, 4.0, 4.0)) > 0.5
    assert not blurred[2:6, 8:16, 15].any()


def test_noise_is_removed() -> None:
    inside, probability, hu = noisy((24, 80, 80))
    assert dice(refine(probability, hu, (1.0, 1.0, 1.0), MILD) > 0.5, inside) > dice(probability > 0.5, inside) + 0.1


@pytest.mark.hostile
@pytest.mark.parametrize("setting", [{"smoothness_mm": 0}, {"appearance_hu": float("nan")}, {"iterations": True}])
def test_wrong_kernels_are_named(setting: dict) -> None:
    with pytest.raises(InputError, match=rf"^rules.crf.{next(iter(setting))}: expected a"):
        Crf(**setting)


@pytest.mark.slow
@pytest.mark.parametrize("crf", [MILD, Crf(2.0, 3.0, 2.0, 5.0), Crf(2.0, 2.0, 2.0, 4.0, iterations=10)])
def test_the_masks_are_those_of_pydensecrf(crf: Crf) -> None:
    """The package ``pydensecrf2``, whose build needs a C++ compiler, filters on a permutohedral lattice."""
    densecrf = pytest.importorskip("pydensecrf.densecrf")
    utils = pytest.importorskip("pydensecrf.utils")
    _, probability, hu = noisy((48, 160, 160))
    other = densecrf.DenseCRF(probability.size, 2)
    other.setUnaryEnergy(utils.unary_from_softmax(np.stack([1 - probability, probability]).reshape(2, -1)))
    near = utils.create_pairwise_gaussian((crf.smoothness_mm,) * 3, hu.shape)
    other.addPairwiseEnergy(near, compat=crf.smoothness_weight)
    alike = utils.create_pairwise_bilateral((crf.appearance_mm,) * 3, (crf.appearance_hu,), hu[..., None], chdim=3)
    other.addPairwiseEnergy(alike, compat=crf.appearance_weight)
    expected = np.array(other.inference(crf.iterations))[1].reshape(hu.shape) > 0.5
    assert dice(refine(probability, hu, (1.0, 1.0, 1.0), crf) > 0.5, expected) >= 0.97
