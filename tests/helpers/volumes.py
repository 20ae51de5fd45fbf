"""A small LiTS-layout data set of plain shapes, in every orientation."""

from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np

SHAPE = (48, 40, 10)  # x, y, z
AFFINES = {
    "LPS": np.diag([-1.5, -1.5, 3.0, 1.0]),
    "RAS": np.diag([1.5, 1.5, 3.0, 1.0]),
    "flipped": np.diag([-1.5, 1.5, -3.0, 1.0]),
    "permuted": np.array([[0, 0, 1.5, 0], [3.0, 0, 0, 0], [0, -1.5, 0, 0], [0, 0, 0, 1.0]]),
    "oblique": np.array([[-1.5, 0.1, 0, 5], [0.1, -1.49, 0.2, 7], [0, 0.1, 2.99, 9], [0, 0, 0, 1.0]]),
}

# All 48 orders and directions of three axes.
ORDERS = [
    np.array([[axis, flip] for axis, flip in zip(axes, flips, strict=True)], float)
    for axes in permutations(range(3))
    for flips in product((1, -1), repeat=3)
]


def write_case(root: Path, name: str, hu: np.ndarray, labels: np.ndarray, affine: np.ndarray | None = None) -> None:
    """A pair in LiTS layout, from arrays in the file's own order."""
    root.mkdir(parents=True, exist_ok=True)
    affine = AFFINES["LPS"] if affine is None else affine
    nib.save(nib.Nifti1Image(hu, affine), root / f"volume-{name}.nii.gz")
    nib.save(nib.Nifti1Image(labels, affine), root / f"segmentation-{name}.nii.gz")


def anatomy(seed: int, lesion: bool = True, shape: tuple[int, int, int] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """HU and labels: an ellipsoid of liver with a dark ball in it, noise, in air."""
    rng = np.random.default_rng(seed)
    place = [(np.arange(n) - (n - 1) / 2) / n for n in shape]
    x, y, z = np.meshgrid(*place, indexing="ij")
    hu, labels = np.full(shape, -1000.0), np.zeros(shape, np.uint8)
    hu[(x / 0.45) ** 2 + (y / 0.42) ** 2 < 1] = 0
    liver = ((x + 0.1) / 0.25) ** 2 + (y / 0.3) ** 2 + (z / 0.45) ** 2 < 1
    hu[liver], labels[liver] = 110, 1
    if lesion:
        a, b, c = rng.uniform(-0.07, 0.07, 3)
        ball = liver & (((x + 0.1 - a) / 0.1) ** 2 + ((y - b) / 0.11) ** 2 + ((z - c) / 0.25) ** 2 < 1)
        hu[ball], labels[ball] = 60, 2
    return np.rint(hu + rng.normal(0, 8, shape)).astype(np.int16), labels
