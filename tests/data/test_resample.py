"""Images with one pixel size for all patients: ``Preprocess.spacing``."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.volumes import ORDERS, write_case
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.orientations import apply_orientation, inv_ornt_aff

from lits_seg.common.errors import InputError
from lits_seg.data.layouts import find_cases
from lits_seg.data.preprocess import Preprocess
from lits_seg.data.store import store_cases

MM = st.tuples(st.floats(0.4, 2.5), st.floats(0.4, 2.5))


@given(st.sampled_from([32, 33]), st.floats(0.3, 5), st.booleans())
@settings(max_examples=20, deadline=None)
def test_the_cts_own_spacing_changes_nothing(size: int, mm: float, first: bool) -> None:
    hu = np.random.default_rng(size).normal(50, 80, (2, size, size)).astype(np.int16)
    kept, resampled = (Preprocess(size=size, spacing=spacing, equalize_first=first) for spacing in (None, mm))
    np.testing.assert_array_equal(resampled.images(hu, (mm, mm)), kept.images(hu))
    labels = (hu > 50).astype(np.uint8) + (hu > 90)
    np.testing.assert_array_equal(resampled.labels(labels, (mm, mm)), labels)
    logits = torch.randn(2, 3, size, size)
    assert torch.equal(resampled.restore(logits, size, size, (mm, mm)), logits)


@pytest.mark.parametrize(("height", "width"), [(40, 49), (20, 21), (33, 80)])
def test_an_image_shows_the_middle_and_is_filled_up_with_air(height: int, width: int) -> None:
    hu = np.random.default_rng(0).integers(0, 200, (1, height, width), np.int16)
    preprocess = Preprocess(window=(-10, 245), size=32, spacing=0.7, equalize=False)
    image, labels = preprocess.images(hu, (0.7, 0.7))[0], preprocess.labels(np.ones_like(hu, np.uint8), (0.7, 0.7))[0]
    framed = np.pad(hu[0] + 10, 32)[height // 2 + 16 :, width // 2 + 16 :][:32, :32]
    np.testing.assert_array_equal(image, framed)
    np.testing.assert_array_equal(labels, framed > 0)
    back = preprocess.restore(
        torch.ones(1, 2, 32, 32) * torch.tensor([0.0, 9.0])[:, None, None], height, width, (0.7,) * 2
    )
    seen = np.zeros((height, width), bool)
    seen[max(0, height // 2 - 16) : height // 2 + 16, max(0, width // 2 - 16) : width // 2 + 16] = True
    np.testing.assert_array_equal(back.argmax(dim=1)[0].numpy() == 1, seen)  # what no image shows is background
    assert back.softmax(dim=1)[0, 1].numpy()[~seen].max(initial=0) < 1e-6


@given(MM, st.floats(0.5, 2), st.floats(10, 20))
@settings(max_examples=20, deadline=None)
def test_a_disc_keeps_its_place_and_its_area(pixel_mm: tuple[float, float], spacing: float, radius: float) -> None:
    side = [2 * round(30 / mm) + number for number, mm in enumerate(pixel_mm)]  # pixels of some 60 mm, even and odd
    y, x = ((np.arange(n) - n // 2) * mm for n, mm in zip(side, pixel_mm, strict=True))
    disc = (np.hypot(y[:, None], x) < radius).astype(np.uint8)[None]
    preprocess = Preprocess(size=2 * round(32 / spacing), spacing=spacing, window=(0, 2), equalize=False)
    labels = preprocess.labels(disc, pixel_mm)
    area = np.pi * radius**2
    assert labels.sum() * spacing**2 == pytest.approx(area, rel=0.25)
    image = preprocess.images(disc, pixel_mm)
    assert (image / 127.5).sum() * spacing**2 == pytest.approx(disc.sum() * np.prod(pixel_mm), rel=0.1)
    place = (np.arange(labels.shape[1]) - labels.shape[1] // 2) * spacing
    distance = np.hypot(place[:, None], place)
    edge = max(*pixel_mm, spacing)
    assert labels[0][distance < radius - edge].all()
    assert not labels[0][distance > radius + edge].any()
    small = torch.from_numpy(labels).float()
    back = preprocess.restore(torch.stack([0.5 - small, small - 0.5], 1), *side, pixel_mm).argmax(dim=1)[0].numpy()
    assert back.shape == disc.shape[1:]
    distance = np.hypot(y[:, None], x)
    assert back[distance < radius - 2 * edge].all()
    assert not back[distance > radius + 2 * edge].any()


def test_images_do_not_depend_on_the_axes_of_the_file(tmp_path: Path) -> None:
    hu = np.random.default_rng(0).integers(-500, 500, (30, 24, 3)).astype(np.int16)
    affine = np.diag([-0.7, -1.1, 2.0, 1.0])
    for number, order in enumerate(ORDERS[::7]):
        stored = apply_orientation(hu, order)
        write_case(
            tmp_path, str(number), stored, (stored > 100).astype(np.uint8), affine @ inv_ornt_aff(order, hu.shape)
        )
    first, *others = store_cases(find_cases(tmp_path), Preprocess(size=32, spacing=0.9), tmp_path / "store")
    assert first.pixel_mm == pytest.approx((1.1, 0.7))
    expected = Preprocess(size=32, spacing=0.9).images(hu.transpose(2, 1, 0), (1.1, 0.7))
    np.testing.assert_array_equal(first.images, expected)
    for case in others:
        np.testing.assert_array_equal(case.images, first.images)
        np.testing.assert_array_equal(case.labels, first.labels)


def test_a_store_of_an_earlier_version_is_still_found(tmp_path: Path, lits: Path) -> None:
    (case, *_) = store_cases(find_cases(lits)[:1], Preprocess(size=32), tmp_path)
    assert "spacing" not in (case.folder.parent / "preprocess.json").read_text()
    (other, *_) = store_cases(find_cases(lits)[:1], Preprocess(size=32, spacing=1), tmp_path)
    assert other.folder.parent != case.folder.parent


def test_slices_of_unknown_pixel_size_are_refused() -> None:
    preprocess, hu = Preprocess(size=32, spacing=0.8), np.zeros((1, 40, 40), np.int16)
    for refused in (preprocess.images, preprocess.labels):
        with pytest.raises(InputError, match=r"data\.preprocess\.spacing: expected slices whose pixel size is known"):
            refused(hu)
    with pytest.raises(InputError, match=r"data\.preprocess\.spacing"):
        preprocess.restore(torch.zeros(1, 2, 32, 32), 40, 40)
