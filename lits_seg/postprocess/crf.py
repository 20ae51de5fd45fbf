"""Refine a lesion's probability with a dense conditional random field in 3-D (Krähenbühl and Koltun, 2011).

Each voxel is drawn to the label of near voxels (smoothness), and of near voxels with similar HU (appearance). Both
kernels are Gaussian; mean field approximates the probabilities. For appearance, values are blurred on a coarse grid
of slice, row, column and HU (Chen et al., 2007), instead of the permutohedral lattice of colour images.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from lits_seg.common.errors import InputError

LOW, HIGH = -150.0, 250.0  # HU; all fat and air is alike, and all bone
LEAST = 1e-3  # a probability of 0 would stay 0 in any neighbourhood

Weight = Annotated[float, Ge(0), Le(100)]


@dataclass(frozen=True)
class Crf:
    """The kernels of a dense CRF.

    The published weights and distances erase small lesions: choose them on validation patients.

    Args:
        smoothness_weight: weight of the smoothness kernel.
        smoothness_mm: its standard deviation in mm.
        appearance_weight: weight of the appearance kernel.
        appearance_mm: its standard deviation in mm.
        appearance_hu: its standard deviation in HU.
        iterations: number of mean-field updates.

    Raises:
        InputError: if a number is out of its range.
    """

    smoothness_weight: Weight = 2.0
    smoothness_mm: Annotated[float, Ge(0.1), Le(50)] = 2.0
    appearance_weight: Weight = 2.0
    appearance_mm: Annotated[float, Ge(2), Le(100)] = 4.0
    appearance_hu: Annotated[float, Ge(5), Le(400)] = 20.0
    iterations: Annotated[int, Ge(1), Le(50)] = 5

    @property
    def reach_mm(self) -> float:
        """Distance in mm beyond which voxels do not affect each other."""
        return 3 * max(self.smoothness_mm, self.appearance_mm)


def refine(probability: np.ndarray, hu: np.ndarray, spacing: tuple[float, float, float], crf: Crf) -> np.ndarray:
    """Return the probability of lesion given the probabilities and HU of all voxels.

    Args:
        probability: the network's probability of lesion, ``(S, H, W)`` in [0, 1].
        hu: the CT in HU, ``(S, H, W)``.
        spacing: voxel size along W, H and S in mm.
        crf: the kernels.

    Returns:
        ``(S, H, W)`` float32 in [0, 1].
    """
    steps = spacing[2], spacing[1], spacing[0]
    kernels: list[tuple[float, _Smoothness | _Appearance]] = []
    if crf.smoothness_weight:
        kernels.append((crf.smoothness_weight, _Smoothness(hu.shape, steps, crf.smoothness_mm)))
    if crf.appearance_weight:
        kernels.append((crf.appearance_weight, _Appearance(hu, steps, crf.appearance_mm, crf.appearance_hu)))
    refined = probability.astype(np.float32)
    if not kernels:
        return refined
    clipped = refined.clip(LEAST, 1 - LEAST)
    logits = np.log(clipped / (1 - clipped))
    for _ in range(crf.iterations):
        # With two classes, Potts' penalty is the mean difference of the probabilities of lesion and of no lesion.
        differences = 2 * refined - 1
        refined = logits.copy()
        for weight, kernel in kernels:
            refined += np.float32(weight) * kernel(differences)
        refined = 1 / (1 + np.exp(-refined))
    return refined


class _Smoothness:
    """A Gaussian of the distance, normalised by the square roots of its sums at both voxels.

    Args:
        shape: ``(S, H, W)``.
        steps: voxel size along S, H and W in mm.
        deviation: standard deviation in mm.
    """

    def __init__(self, shape: tuple[int, ...], steps: tuple[float, ...], deviation: float) -> None:
        sides = [_gaussian(size, deviation / step) for size, step in zip(shape, steps, strict=True)]
        roots = [np.sqrt(side.sum(axis=0)) for side in sides]
        self.sides = [side / root / root[:, None] for side, root in zip(sides, roots, strict=True)]

    def __call__(self, values: np.ndarray) -> np.ndarray:
        return _along_each_axis(self.sides, values)


class _Appearance:
    """A Gaussian of distance and HU, normalised by the square roots of its sums at both voxels.

    Args:
        hu: the CT in HU, ``(S, H, W)``.
        steps: voxel size along S, H and W in mm.
        deviation: standard deviation in mm.
        deviation_hu: standard deviation in HU.
    """

    def __init__(self, hu: np.ndarray, steps: tuple[float, ...], deviation: float, deviation_hu: float) -> None:
        self.hu, self.deviation_hu = hu, deviation_hu
        axes = [_nodes(size, step, deviation) for size, step in zip(hu.shape, steps, strict=True)]
        (self.slice_nodes, self.slice_parts, _), rows, columns = axes
        levels = int((HIGH - LOW) / deviation_hu) + 2
        self.shape = len(axes[0][2]), levels, len(rows[2]), len(columns[2])
        # A voxel between two levels is shared between them, which widens the Gaussian; the blur is narrower by that.
        self.sides = [axes[0][2], _gaussian(levels, np.sqrt(2 / 3)), rows[2], columns[2]]
        # The four nodes around each voxel within its slice, and the voxel's share of each.
        self.corners = [
            (
                (rows[0] + down)[:, None] * self.shape[3] + columns[0] + right,
                np.abs(1 - down - rows[1])[:, None] * np.abs(1 - right - columns[1]),
            )
            for down in (0, 1)
            for right in (0, 1)
        ]
        self.scale = np.float32(1)
        self.scale = 1 / np.sqrt(self(np.ones(hu.shape, np.float32)))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        grid = np.zeros((self.shape[0], int(np.prod(self.shape[1:]))), np.float32)
        scaled = values * self.scale
        for index, (node, part) in enumerate(zip(self.slice_nodes, self.slice_parts, strict=True)):
            plane = np.zeros(grid.shape[1])
            for places, shares in self._shares(index):
                plane += np.bincount(places.ravel(), (shares * scaled[index]).ravel(), len(plane))
            grid[node] += (1 - part) * plane
            grid[node + 1] += part * plane
        grid = _along_each_axis(self.sides, grid.reshape(self.shape)).reshape(grid.shape)
        for index, (node, part) in enumerate(zip(self.slice_nodes, self.slice_parts, strict=True)):
            plane = (1 - part) * grid[node] + part * grid[node + 1]
            scaled[index] = sum(shares * plane[places] for places, shares in self._shares(index))
        return scaled * self.scale

    def _shares(self, index: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield eight nodes of each voxel of a slice, ``(H, W)`` each, and the voxel's share of each."""
        level = (self.hu[index].clip(LOW, HIGH).astype(np.float32) - np.float32(LOW)) / np.float32(self.deviation_hu)
        lower = level.astype(np.intp)
        upper_part = level - lower
        lower *= self.shape[2] * self.shape[3]
        for up, level_part in ((0, 1 - upper_part), (self.shape[2] * self.shape[3], upper_part)):
            for places, shares in self.corners:
                yield lower + (places + up), level_part * shares


def _nodes(size: int, step: float, deviation: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Place nodes along an axis, from the first to the last voxel, at most a deviation apart.

    Args:
        size: number of voxels.
        step: voxel size in mm.
        deviation: standard deviation in mm.

    Returns:
        The node before each voxel, the voxel's share of the next node, and the Gaussian between nodes.
    """
    count = min(size - 1, int(np.ceil((size - 1) * step / deviation)))  # of the gaps; not more than between voxels
    places = np.linspace(0, count, size)
    before = places.astype(np.intp)
    parts = (places - before).astype(np.float32)
    gap = (size - 1) * step / max(count, 1) or 1.0
    variance = (deviation / gap) ** 2 - 2 * float((parts * (1 - parts)).mean())
    return before, parts, _gaussian(count + 2, np.sqrt(variance))


def _gaussian(size: int, deviation: float) -> np.ndarray:
    """Return the Gaussian of the distance between each two of ``size`` points, ``(size, size)`` float32."""
    points = np.arange(size) / deviation
    return np.exp(-0.5 * (points[:, None] - points) ** 2).astype(np.float32)


def _along_each_axis(sides: list[np.ndarray], values: np.ndarray) -> np.ndarray:
    """Multiply an array by a square matrix along each axis."""
    for side in sides:  # each product moves the first axis to the end
        values = np.tensordot(values, side, (0, 1))
    return values
