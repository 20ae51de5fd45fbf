"""Measure lesions: the connected pieces of a mask, their volumes and diameters."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import cc3d
import numpy as np
import scipy  # imports its parts on first use, so that no help text waits for them
from nibabel.affines import apply_affine

Box = tuple[slice, ...]

LISTED = 1000  # a mask with more lesions is noise
FACES = 0.5 * np.array([(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)])


@dataclass(frozen=True)
class Lesion:
    """One connected piece of a mask.

    ``slices``: first and last slice with the lesion; ``largest``: the slice with the most voxels of the lesion.
    """

    volume_ml: float
    diameter_mm: float
    slices: tuple[int, int]
    largest: int
    centre_mm: tuple[float, float, float]


def components(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Number the pieces of a mask ``(S, H, W)`` that connect by faces (6-neighbourhood), from 1; return their count."""
    return cc3d.connected_components(mask, connectivity=6, return_N=True, binary_image=True)


def label_box(labels: np.ndarray, lowest: int) -> Box | None:
    """Return the smallest box around the voxels of at least ``lowest``.

    Args:
        labels: ``(S, H, W)``.
        lowest: the lowest label that counts.

    Returns:
        A slice per axis; None if no voxel counts.
    """
    inside = [np.zeros(size, bool) for size in labels.shape]
    for number, labels_of_slice in enumerate(labels):  # one by one, to save memory
        mask = labels_of_slice >= lowest
        rows = mask.any(axis=1)
        if rows.any():
            inside[0][number] = True
            inside[1] |= rows
            inside[2] |= mask.any(axis=0)
    if not inside[0].any():
        return None
    return tuple(slice(int(side.argmax()), len(side) - int(side[::-1].argmax())) for side in inside)


def box_around(parts: Iterable[Box]) -> Box:
    """Return the smallest box around several boxes."""
    return tuple(slice(min(s.start for s in sides), max(s.stop for s in sides)) for sides in zip(*parts, strict=True))


def boxes(numbered: np.ndarray) -> Sequence[Box]:
    """Return the box of each component, that of component 1 first."""
    return cc3d.statistics(numbered)["bounding_boxes"][1:]


def measure(labels: np.ndarray, affine: np.ndarray, voxel_ml: float, most: int = LISTED) -> tuple[int, list[Lesion]]:
    """Count the lesions of LiTS labels and measure the largest of them.

    A volume is the number of voxels times ``voxel_ml``. A diameter is the largest distance, in any direction, between
    two vertices of the surface mesh, which lie on the faces of the outermost voxels (the maximum 3D diameter of the
    Image Biomarker Standardisation Initiative). The diameter of one voxel is therefore its longest edge.

    Args:
        labels: LiTS labels ``(S, H, W)``.
        affine: from ``(column, row, slice)`` to mm.
        voxel_ml: volume of a voxel in mL.
        most: how many lesions to measure.

    Returns:
        The number of lesions, and at most ``most`` of them, the largest first.
    """
    around = label_box(labels, 2)
    if around is None:
        return 0, []
    numbered, count = components(labels[around] == 2)
    facts = cc3d.statistics(numbered)
    corner = np.array([side.start for side in around])
    found = []
    largest = 1 + np.argsort(-facts["voxel_counts"][1:].astype(np.int64), kind="stable")[:most]
    for number in largest.tolist():
        box = facts["bounding_boxes"][number]
        lesion = numbered[box] == number
        first = int(corner[0]) + box[0].start
        centre = (corner + facts["centroids"][number])[::-1]
        found.append(
            Lesion(
                volume_ml=int(facts["voxel_counts"][number]) * voxel_ml,
                diameter_mm=diameter(lesion, affine),
                slices=(first, first + len(lesion) - 1),
                largest=first + int(np.argmax([np.count_nonzero(part) for part in lesion])),
                centre_mm=tuple(apply_affine(affine, centre).tolist()),
            )
        )
    return count, found


def diameter(lesion: np.ndarray, affine: np.ndarray) -> float:
    """Return the largest distance in mm within one lesion ``(S, H, W)``; see ``measure``."""
    # Only the ends of a row of voxels can be corners of the hull.
    ends = np.zeros_like(lesion)
    slices, rows = np.nonzero(lesion.any(axis=2))
    lines = lesion[slices, rows]
    ends[slices, rows, lines.argmax(axis=1)] = True
    ends[slices, rows, lesion.shape[2] - 1 - lines[:, ::-1].argmax(axis=1)] = True
    corners = np.argwhere(ends)[:, ::-1]
    with suppress(scipy.spatial.QhullError):  # voxels in one plane or line have no hull before their faces are added
        corners = corners[scipy.spatial.ConvexHull(corners).vertices]
    points = (corners[:, None] + FACES).reshape(-1, 3) @ affine[:3, :3].T
    return float(scipy.spatial.distance.pdist(points[scipy.spatial.ConvexHull(points).vertices]).max())
