"""The scanner: what it adds to HU, and files that keep each voxel's place."""

import nibabel as nib
import numpy as np
import pytest

from lits_seg.phantom.axes import WarpedAxes
from lits_seg.phantom.scanner import as_file, correlated_noise, field_of_view, scan


def drawn(seed: int) -> tuple[WarpedAxes, np.ndarray]:
    return field_of_view(np.random.default_rng(seed), size=32, slices=8, half_width=160)


def test_voxels_keep_their_place_in_any_order_of_axes() -> None:
    codes = set()
    for seed in range(30):
        axes, spacing = drawn(seed)
        hu = np.arange(np.prod(axes.shape), dtype=np.int16).reshape(axes.shape)
        made = as_file(np.random.default_rng(seed), hu, hu.astype(np.uint8), axes, spacing)
        if np.array_equal(made.affine, np.eye(4)):
            continue
        codes.add("".join(nib.aff2axcodes(made.affine)))
        # A tilt turns about the x-axis: x stays, and so does the distance from the origin.
        place = nib.affines.apply_affine(made.affine, np.argwhere(made.hu == hu[3, 5, 7])[0])
        expected = np.array([-axes.x[3], -axes.y[5], axes.z[7]])
        assert place[0] == pytest.approx(expected[0], abs=0.01)
        assert np.linalg.norm(place) == pytest.approx(np.linalg.norm(expected), abs=0.01)
        np.testing.assert_array_equal(made.labels, made.hu.astype(np.uint8))
        np.testing.assert_allclose(sorted(nib.affines.voxel_sizes(made.affine)), sorted(spacing), rtol=1e-6)
    assert len(codes) >= 4


def test_a_scan_is_noisy_and_keeps_contrast() -> None:
    axes, spacing = drawn(0)
    hu = np.full(axes.shape, 40.0, np.float32)
    hu[:16] = 140
    scanned = scan(np.random.default_rng(0), hu, axes, spacing)
    assert scanned.dtype == np.int16
    assert scanned.min() >= -3024
    dark, bright = scanned[20:30, 8:24], scanned[2:12, 8:24]
    assert dark.std() > 2
    assert np.median(bright) - np.median(dark) == pytest.approx(100, abs=10)


def test_noise_is_correlated_as_in_reconstructed_slices() -> None:
    for seed in range(6):
        noise = correlated_noise(np.random.default_rng(seed), (129, 160, 12), pixel=0.75)
        assert noise.shape == (129, 160, 12)
        assert noise.std() == pytest.approx(1, abs=1e-3)
        assert 0.2 < (noise[1:] * noise[:-1]).mean() < 0.95
        assert 0 < (noise[:, :, 1:] * noise[:, :, :-1]).mean() < 0.6
        # Unlike white noise through a low-pass filter, the noise has little power at the lowest frequencies.
        power = np.abs(np.fft.fft2(noise, axes=(0, 1)))[:, :80].mean(axis=2) ** 2
        x = np.fft.fftfreq(129, 0.75)[:, None]
        frequency = np.hypot(x, np.arange(80) / 160 / 0.75)
        low, peak, high = (
            power[(frequency > a) & (frequency < b) & (np.abs(x) > 0.01)].mean()  # streaks are below
            for a, b in ((0.0, 0.025), (0.08, 0.16), (0.6, 0.67))
        )
        assert low < 0.75 * peak
        assert high < 0.35 * peak
