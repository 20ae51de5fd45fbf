"""Lesions as things: the connected pieces of a mask, their volumes and diameters."""

from collections.abc import Sequence
from dataclasses import dataclass

import cc3d
import numpy as np
from nibabel.affines import apply_affine
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

Box = tuple[slice, ...]

FACES = 0.5 * np.array([(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)])


@dataclass(frozen=True)
class Lesion:
    """One connected piece. ``slices``: the first and the last that show it; ``largest``: the one that shows most."""

    volume_ml: float
    diameter_mm: float
    slices: tuple[int, int]
    largest: int
    centre_mm: tuple[float, float, float]


def components(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Pieces of a mask ``(S, H, W)`` that connect by faces (6-neighbourhood), numbered from 1, and their count."""
    return cc3d.connected_components(mask, connectivity=6, return_N=True, binary_image=True)


def bounding_box(mask: np.ndarray) -> Box | None:
    """The smallest box around a mask's voxels; None where it has none."""
    box = []
    for axis in range(mask.ndim):
        inside = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if not len(inside):
            return None
        box.append(slice(int(inside[0]), int(inside[-1]) + 1))
    return tuple(box)


def boxes(numbered: np.ndarray) -> Sequence[Box]:
    """The box of each component; that of component 1 first."""
    return cc3d.statistics(numbered)["bounding_boxes"][1:]


def measure(mask: np.ndarray, affine: np.ndarray) -> list[Lesion]:
    """Each lesion of a mask ``(S, H, W)``, the largest first.

    ``affine`` brings ``(column, row, slice)`` to mm. Volumes count voxels. The diameter is the largest distance, in
    any direction, between two points on the lesion's surface, taken where faces of its outermost voxels have their
    centres: a single voxel is as long as its longest edge.
    """
    around = bounding_box(mask)
    if around is None:
        return []
    numbered, _ = components(mask[around])
    voxel_ml = abs(np.linalg.det(affine[:3, :3])) / 1000
    found = []
    for number, box in enumerate(boxes(numbered), start=1):
        lesion = numbered[box] == number
        start = np.array([side.start + outer.start for side, outer in zip(box, around, strict=True)])
        places = (np.argwhere(lesion) + start)[:, ::-1]
        areas = lesion.sum(axis=(1, 2))
        found.append(
            Lesion(
                volume_ml=float(len(places) * voxel_ml),
                diameter_mm=diameter(lesion, affine),
                slices=(int(start[0]), int(start[0]) + len(lesion) - 1),
                largest=int(start[0] + areas.argmax()),
                centre_mm=tuple(apply_affine(affine, places.mean(axis=0)).tolist()),
            )
        )
    return sorted(found, key=lambda lesion: -lesion.volume_ml)


def diameter(lesion: np.ndarray, affine: np.ndarray) -> float:
    """The largest distance in mm within one lesion ``(S, H, W)``: see ``measure``."""
    # Of each row of voxels only the ends can be corners of the hull.
    ends = np.zeros_like(lesion)
    slices, rows = np.nonzero(lesion.any(axis=2))
    lines = lesion[slices, rows]
    ends[slices, rows, lines.argmax(axis=1)] = True
    ends[slices, rows, lesion.shape[2] - 1 - lines[:, ::-1].argmax(axis=1)] = True
    points = (np.argwhere(ends)[:, None, ::-1] + FACES).reshape(-1, 3) @ affine[:3, :3].T
    return float(pdist(points[ConvexHull(points).vertices]).max())
