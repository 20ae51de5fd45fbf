"""Scan the phantom: add field of view, blur, noise and table; choose the order of the axes in the file."""

from dataclasses import dataclass

import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform
from scipy import fft, ndimage

from lits_seg.phantom.axes import WarpedAxes, warped_axes

# Orientations (nibabel's axis codes) and their probabilities.
ORIENTATIONS = (("RAS", 0.35), ("LPS", 0.3), ("LAS", 0.1), ("RPS", 0.05), ("LPI", 0.05), ("PSR", 0.05), ("SAL", 0.05))


@dataclass(frozen=True)
class PhantomVolume:
    """A synthetic patient, in the order of axes that the file has.

    Args:
        hu: HU ``(X, Y, Z)``, int16.
        labels: LiTS labels ``(X, Y, Z)``, uint8 (0 background, 1 liver, 2 lesion).
        affine: ``(4, 4)``, from voxel indices to RAS+ mm.
    """

    hu: np.ndarray
    labels: np.ndarray
    affine: np.ndarray


def field_of_view(rng: np.random.Generator, size: int, slices: int, half_width: float) -> tuple[WarpedAxes, np.ndarray]:
    """Draw the voxel centres and their spacing; three volumes in ten are crops around the liver.

    One volume in eight reaches to the pelvis, with slices twice as far apart. One in five has a part of the liver.

    Args:
        rng: random generator.
        size: rows and columns of a slice.
        slices: number of slices.
        half_width: half width of the trunk in mm.

    Returns:
        The axes of the voxels, and the voxel size in mm along x, y and z, ``(3,)``.
    """
    cropped = rng.random() < 0.3
    field = rng.uniform(190, 300) if cropped else 2 * half_width * rng.uniform(1.02, 1.3)
    centre = np.array([rng.uniform(-70, -35), rng.uniform(-10, 10)]) if cropped else rng.normal(0, 6, 2)
    reach, top = rng.choice(3, p=[0.12, 0.68, 0.2]), rng.uniform(105, 140)
    height = rng.uniform(*((390, 450), (200, 270), (110, 180))[reach])
    middle = (top - height / 2, rng.normal(4, 8), rng.uniform(-45, 45))[reach]
    thick = height / slices
    spacing = np.array([field / size, field / size, thick])
    place = (np.arange(size) - (size - 1) / 2) * spacing[0]
    z = (np.arange(slices) - (slices - 1) / 2) * thick + middle
    x, y = ((place + offset).astype(np.float32) for offset in centre)
    return warped_axes(rng, x, y, z.astype(np.float32)), spacing


def scan(rng: np.random.Generator, hu: np.ndarray, axes: WarpedAxes, spacing: np.ndarray) -> np.ndarray:
    """Simulate a scanner: add blur, noise with grain and streaks, table, and padding outside the scanner's circle.

    Args:
        rng: random generator for the differences between scanners.
        hu: HU of the patient, ``(X, Y, Z)``.
        axes: axes of the voxels.
        spacing: voxel size in mm along x, y and z, ``(3,)``.

    Returns:
        HU ``(X, Y, Z)``, int16.
    """
    pixel = spacing[0]
    blur = rng.uniform(0.5, 1.1) / pixel
    hu = ndimage.gaussian_filter(hu, (blur, blur, rng.uniform(0.2, 0.5)))
    x, y = axes.x[:, None, None], axes.y[None, :, None]
    centre = 1.2 - 0.5 * np.minimum((x / 170) ** 2 + (y / 125) ** 2, 1)  # most noise where the body is thick
    noise = rng.uniform(6, 25) * centre * correlated_noise(rng, hu.shape, pixel)
    if rng.random() < 0.7:  # table
        top = rng.uniform(125, 150)
        shell = np.abs(y - top + 0.0012 * (x - rng.uniform(-10, 10)) ** 2) < 2.5
        hu = np.where(shell & (hu < -500), rng.uniform(-500, 50), hu)
    hu = hu + noise
    if rng.random() < 0.4 and np.ptp(x) > 300:  # padding; a crop is inside the circle
        outside = np.hypot(x - x.mean(), y - y.mean()) > 0.5 * np.ptp(x)
        hu = np.where(outside, rng.choice([-1024, -2000, -3024]), np.maximum(hu, -1024))
    return np.clip(np.rint(hu), -3024, 3071).astype(np.int16)


def correlated_noise(rng: np.random.Generator, shape: tuple[int, ...], pixel: float) -> np.ndarray:
    """Draw noise ``(X, Y, Z)`` of standard deviation 1 that is correlated as in reconstructed slices.

    The power within a slice rises from 0 with the frequency, by the ramp filter of the reconstruction (Kijewski & Judy,
    Phys. Med. Biol. 1987), until the kernel cuts the noise. In nine public CTs, it peaks near 0.1/mm, halves between
    0.12 and 0.4/mm, and neighbouring slices correlate by 0.1 to 0.5. Long bones add horizontal streaks.

    Args:
        rng: random generator for the differences between scanners.
        shape: shape of the noise.
        pixel: pixel size in mm.
    """
    x, y = fft.fftfreq(shape[0], pixel)[:, None], fft.rfftfreq(shape[1], pixel)
    frequency = np.hypot(x, y)
    grain = frequency / (frequency + 0.05) * np.exp(-((frequency / rng.uniform(0.14, 0.5)) ** 2))
    streaks = np.exp(-((2 * np.pi * 40 * x) ** 2)) * (y > 0)
    power = grain / grain.sum() + rng.uniform(0, 0.4) ** 2 * streaks / streaks.sum()
    drawn = rng.standard_normal((shape[2], *power.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
    noise = fft.irfft2(drawn * np.sqrt(power).astype(np.float32), s=shape[:2])
    noise = ndimage.gaussian_filter1d(noise, rng.uniform(0.3, 0.65), axis=0)
    return np.moveaxis(noise / noise.std(), 0, -1)


def as_file(
    rng: np.random.Generator, hu: np.ndarray, labels: np.ndarray, axes: WarpedAxes, spacing: np.ndarray
) -> PhantomVolume:
    """Draw an orientation and reorder the axes accordingly; one affine in twenty is the identity instead.

    Args:
        rng: random generator for the orientation.
        hu: HU of the scan, ``(X, Y, Z)``.
        labels: LiTS labels ``(X, Y, Z)``.
        axes: axes of the voxels.
        spacing: voxel size in mm along x, y and z, ``(3,)``.
    """
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    affine[:3, 3] = [-axes.x[0], -axes.y[0], axes.z[0]]
    if rng.random() < 0.05:
        return PhantomVolume(hu, labels, np.eye(4))
    codes, chances = zip(*ORIENTATIONS, strict=True)
    code = codes[rng.choice(len(codes), p=np.array(chances) / sum(chances))]
    turn = ornt_transform(axcodes2ornt("LPS"), axcodes2ornt(code))
    affine = affine @ inv_ornt_aff(turn, hu.shape)
    if rng.random() < 0.1:  # slightly oblique
        angle = rng.uniform(-0.12, 0.12)
        tilt = np.eye(4)
        tilt[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        affine = tilt @ affine
    return PhantomVolume(
        np.ascontiguousarray(apply_orientation(hu, turn)), np.ascontiguousarray(apply_orientation(labels, turn)), affine
    )
