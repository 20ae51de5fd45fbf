"""Refine a lesion's probability with a dense conditional random field in 3-D (Krähenbühl and Koltun, 2011).

Each voxel is drawn to the label of near voxels (smoothness), and of near voxels with similar HU (appearance). Both
kernels are Gaussian; mean field approximates the probabilities. For appearance, values are blurred on a coarse grid
of slice, row, column and HU (Chen et al., 2007), instead of the permutohedral lattice of colour images.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from lits_seg.common.errors import InputError
from lits_seg.common.settings import annotations, require_fits
from lits_seg.metrics.lesions import Box

LOW, HIGH = -150.0, 250.0  # HU; all fat and air is alike, and all bone
LEAST = 1e-3  # a probability of 0 would stay 0 in any neighbourhood

ReadHu = Callable[[int, int], np.ndarray]  # returns the slices from the first to before the second, in HU
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

    def __post_init__(self) -> None:
        require_fits("rules.crf.", dict(annotations(Crf)), vars(self))

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
        refined = (1 + np.tanh(refined / 2)) / 2  # the logistic function
    return refined


def read_box(hu: ReadHu | None, box: Box) -> np.ndarray:
    """Read the HU within a box, ``(S, H, W)``.

    Args:
        hu: reads slices of the CT.
        box: slices along S, H and W.

    Raises:
        InputError: if ``hu`` is None.
    """
    if hu is None:
        raise InputError("rules.crf", "the CT, whose HU the CRF reads", "labels and probabilities only")
    slices, rows, columns = box
    return np.concatenate([hu(index, index + 1)[:, rows, columns] for index in range(slices.start, slices.stop)])


def widened(box: Box, mm: float, spacing: tuple[float, float, float], shape: tuple[int, ...]) -> Box:
    """Return a box with a margin on each side, within the volume.

    Args:
        box: slices along S, H and W.
        mm: the margin in mm.
        spacing: voxel size along W, H and S in mm.
        shape: ``(S, H, W)`` of the volume.
    """
    margins = [int(mm / step) + 1 for step in reversed(spacing)]
    return tuple(
        slice(max(0, side.start - margin), min(size, side.stop + margin))
        for side, margin, size in zip(box, margins, shape, strict=True)
    )


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
        (self.slice_nodes, self.slice_parts, slices), (rows, row_parts, along_rows), (columns, column_parts, across) = (
            axes
        )
        levels, width = int((HIGH - LOW) / deviation_hu) + 2, hu.shape[2]
        # A voxel between two levels is shared between them, which widens the Gaussian; the blur is narrower by that.
        self.sides = [slices, _gaussian(levels, np.sqrt(2 / 3)), along_rows, across]
        self.shape = tuple(len(side) for side in self.sides)
        self.level = len(along_rows) * width  # places of one level, while columns are those of the slice
        # The two rows of nodes around each voxel of a slice, and the voxel's share of each.
        place = rows[:, None] * width + np.arange(width)
        self.rows = (place, 1 - row_parts[:, None]), (place + width, row_parts[:, None])
        self.columns = np.zeros((width, len(across)), np.float32)
        self.columns[np.arange(width), columns] = 1 - column_parts
        self.columns[np.arange(width), columns + 1] += column_parts
        self.scale = np.float32(1)
        self.scale = 1 / np.sqrt(self(np.ones(hu.shape, np.float32)))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        grid = np.zeros(self.shape, np.float32)
        scaled = values * self.scale
        for index, (node, part) in enumerate(zip(self.slice_nodes, self.slice_parts, strict=True)):
            plane = np.zeros(self.shape[1] * self.level)
            for places, shares in self._shares(index):
                plane += np.bincount(places.ravel(), (shares * scaled[index]).ravel(), len(plane))
            nodes = plane.astype(np.float32).reshape(*self.shape[1:3], -1) @ self.columns
            grid[node] += (1 - part) * nodes
            grid[node + 1] += part * nodes
        grid = _along_each_axis(self.sides, grid)
        for index, (node, part) in enumerate(zip(self.slice_nodes, self.slice_parts, strict=True)):
            plane = (((1 - part) * grid[node] + part * grid[node + 1]) @ self.columns.T).ravel()
            scaled[index] = sum(shares * plane[places] for places, shares in self._shares(index))
        return scaled * self.scale

    def _shares(self, index: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield four places around each voxel of a slice, ``(H, W)`` each, and the voxel's share of each."""
        level = (self.hu[index].clip(LOW, HIGH).astype(np.float32) - np.float32(LOW)) / np.float32(self.deviation_hu)
        lower = level.astype(np.intp)
        upper_part = level - lower
        lower *= self.level
        for start, level_part in ((lower, 1 - upper_part), (lower + self.level, upper_part)):
            for places, shares in self.rows:
                yield start + places, level_part * shares


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
