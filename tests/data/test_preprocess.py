from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.transforms import HistogramNormalize

from lits_seg.common.errors import InputError
from lits_seg.data.preprocess import Preprocess


def test_window_clips_what_scanners_write_outside_the_patient() -> None:
    row = np.repeat([-10522, -3024, -100, 50, 200, 4000, 27572, 125], 2)
    hu = np.tile(row, (1, 16, 1)).astype(np.float32)
    image = Preprocess(size=16, equalize=False).images(hu)
    assert image.dtype == np.uint8
    assert image[0, 0].tolist() == np.repeat([0, 0, 0, 128, 255, 255, 255, 191], 2).tolist()


@given(arrays(np.int16, (3, 20, 20), elements=st.integers(-1100, 400)))
@settings(max_examples=30, deadline=None)
def test_equalization_keeps_the_order_of_grey_values(hu: np.ndarray) -> None:
    for plain, spread in zip(
        Preprocess(size=20, equalize=False).images(hu), Preprocess(size=20).images(hu), strict=True
    ):
        order = np.argsort(plain.ravel())
        assert (np.diff(spread.ravel()[order].astype(int)) >= 0).all()
        if plain.min() != plain.max():
            assert (spread.min(), spread.max()) == (0, 255)


def spread_by_definition(grey: np.ndarray, bins: int) -> np.ndarray:
    """Each pixel: the share of the pixels above the lowest level that are no brighter, of 255."""
    level = [int(value) * bins // 256 for value in grey.ravel()]
    above = [value for value in level if value > min(level)]
    if not above:
        return grey
    new = [int(Fraction(255 * sum(other <= value for other in above), len(above)) + Fraction(1, 2)) for value in level]
    return np.reshape(new, grey.shape)


@given(arrays(np.uint8, (1, 16, 16)), st.sampled_from([2, 7, 64, 256]))
@settings(max_examples=25, deadline=None)
def test_equalization_equals_its_definition(grey: np.ndarray, bins: int) -> None:
    spread = Preprocess(window=(0, 255), size=16, bins=bins).images(grey)
    np.testing.assert_array_equal(spread[0], spread_by_definition(grey[0], bins))


def test_equalization_by_hand() -> None:
    # 0 four times, 100 twice, 200 twice, 255 eight times: (cumulative - 4) / 12 of 255.
    hu = np.repeat([0, 100, 200, 255], [4, 2, 2, 8]).reshape(1, 4, 4).repeat(4, axis=1).repeat(4, axis=2)
    image = Preprocess(window=(0, 255), size=16).images(hu)
    assert dict(zip(hu.ravel().tolist(), image.ravel().tolist(), strict=True)) == {0: 0, 100: 43, 200: 85, 255: 255}


def test_equalization_agrees_with_monai() -> None:
    hu = np.random.default_rng(0).normal(50, 60, (1, 64, 64))
    plain = Preprocess(size=64, equalize=False).images(hu)[0]
    other = HistogramNormalize(num_bins=256, min=0, max=255)(plain)
    # MONAI interpolates between bins; the difference is about one bin.
    assert np.abs(other - Preprocess(size=64).images(hu)[0].astype(float)).max() < 6


@pytest.mark.parametrize("value", [-1000, 50, 300])
def test_constant_slice_stays_as_it_is(value: int) -> None:
    hu = np.full((1, 32, 32), value, np.int16)
    np.testing.assert_array_equal(Preprocess(size=32).images(hu), Preprocess(size=32, equalize=False).images(hu))


def test_air_around_the_patient_does_not_change_the_tissue() -> None:
    body = np.random.default_rng(0).normal(60, 30, (1, 32, 32)).clip(-90, 190)
    alone = Preprocess(size=32).images(body)
    within = Preprocess(size=64).images(np.pad(body, ((0, 0), (16, 16), (16, 16)), constant_values=-1000))
    assert np.abs(alone.astype(int) - within[:, 16:48, 16:48]).max() <= 1


@pytest.mark.parametrize("bins", [2, 16, 256])
def test_bins_limit_the_grey_values(bins: int) -> None:
    hu = np.random.default_rng(0).uniform(-100, 200, (1, 64, 64))
    assert len(np.unique(Preprocess(size=64, bins=bins).images(hu))) <= bins


def test_equalizing_first_is_another_image() -> None:
    hu = np.random.default_rng(0).normal(50, 60, (1, 64, 64))
    first, after = (Preprocess(size=32, equalize_first=first).images(hu) for first in (True, False))
    assert first.shape == after.shape
    assert (first != after).any()


@pytest.mark.parametrize("shape", [(30, 60), (60, 30)])
def test_slices_that_are_not_square_keep_their_shape_in_air(shape: tuple[int, int]) -> None:
    image = Preprocess(size=32, equalize=False).images(np.full((2, *shape), 500, np.int16))
    assert (image.shape, image.dtype) == ((2, 32, 32), np.uint8)
    tissue = image[:, :16] if shape[0] < shape[1] else image[..., :16]
    air = image[:, 17:] if shape[0] < shape[1] else image[..., 17:]
    assert (tissue[:, :15, :15] == 255).all()
    assert (air == 0).all()


def test_labels_lie_where_the_image_shows_them() -> None:
    y, x = np.mgrid[:50, :70]
    labels = (np.hypot(y - 30, x - 25) < 15).astype(np.uint8) + (np.hypot(y - 33, x - 22) < 6)
    preprocess = Preprocess(window=(0, 2), size=48, equalize=False)
    small, image = preprocess.labels(labels[None]), preprocess.images(labels[None])
    assert small.dtype == np.uint8
    assert set(np.unique(small)) == {0, 1, 2}
    assert ((image > 63) != (small > 0)).mean() < 0.01
    assert ((image > 191) != (small > 1)).mean() < 0.01


@given(st.integers(17, 70), st.integers(17, 70), st.sampled_from([32, 64]))
@settings(max_examples=25, deadline=None)
def test_logits_come_back_on_the_slices_own_grid(height: int, width: int, size: int) -> None:
    y, x = np.mgrid[:height, :width]
    mask = (np.hypot(y - height / 2, x - width / 2.5) < min(height, width) / 3.5).astype(np.uint8) * 2
    preprocess = Preprocess(size=size)
    small = torch.from_numpy(preprocess.labels(mask[None]))
    assert set(small.unique().tolist()) <= {0, 2}
    logits = torch.stack([1.0 - small / 2, small / 2], dim=1)
    back = preprocess.restore(logits, height, width).argmax(dim=1)[0].numpy() * 2
    assert back.shape == mask.shape
    dice = 2 * ((back == 2) & (mask == 2)).sum() / ((back == 2).sum() + (mask == 2).sum())
    assert dice > (0.9 if min(height, width) > 30 else 0.8)


def test_square_slices_of_the_networks_size_are_not_resampled() -> None:
    labels = np.random.default_rng(0).integers(0, 3, (2, 32, 32)).astype(np.uint8)
    preprocess = Preprocess(size=32)
    np.testing.assert_array_equal(preprocess.labels(labels), labels)
    logits = torch.randn(2, 3, 32, 32)
    assert torch.equal(preprocess.restore(logits, 32, 32), logits)


@pytest.mark.parametrize(
    "wrong",
    [
        {"window": (200, -100)},
        {"window": 5},
        {"window": (1, 2, 3)},
        {"window": (0, float("inf"))},
        {"bins": 1},
        {"bins": 300},
        {"bins": 16.5},
        {"size": 8},
        {"size": "256"},
        {"size": 256.0},
        {"spacing": 0},
        {"spacing": "0.8"},
        {"spacing": True},
        {"spacing": float("nan")},
    ],
)
def test_bad_settings_are_named(wrong: dict) -> None:
    with pytest.raises(InputError, match=f"preprocess.{next(iter(wrong))}: expected"):
        Preprocess(**wrong)
