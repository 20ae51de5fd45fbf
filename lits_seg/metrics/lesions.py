"""Lesions as things: the connected pieces of a mask, their volumes and diameters."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import cc3d
import numpy as np
import scipy  # imports its parts when they are first used: no help text waits for them
from nibabel.affines import apply_affine

Box = tuple[slice, ...]

LISTED = 1000  # a mask with more lesions is noise, and nobody reads on
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


def label_box(labels: np.ndarray, lowest: int) -> Box | None:
    """The smallest box around the voxels ``(S, H, W)`` of at least ``lowest``; None where there is none."""
    inside = [np.zeros(size, bool) for size in labels.shape]
    for number, labels_of_slice in enumerate(labels):  # one by one, since a whole volume's comparison takes memory
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
    """The smallest box around several."""
    return tuple(slice(min(s.start for s in sides), max(s.stop for s in sides)) for sides in zip(*parts, strict=True))


def boxes(numbered: np.ndarray) -> Sequence[Box]:
    """The box of each component; that of component 1 first."""
    return cc3d.statistics(numbered)["bounding_boxes"][1:]


def measure(labels: np.ndarray, affine: np.ndarray, most: int = LISTED) -> tuple[int, list[Lesion]]:
    """How many lesions LiTS labels ``(S, H, W)`` have, and the ``most`` largest, the largest first.

    ``affine`` brings ``(column, row, slice)`` to mm. Volumes count voxels. The diameter is the largest distance, in
    any direction, between two vertices of the surface mesh, which lie on the faces of the outermost voxels (the
    maximum 3D diameter of the Image Biomarker Standardisation Initiative): a voxel is as long as its longest edge.
    """
    around = label_box(labels, 2)
    if around is None:
        return 0, []
    numbered, count = components(labels[around] == 2)
    facts = cc3d.statistics(numbered)
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
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
    """The largest distance in mm within one lesion ``(S, H, W)``: see ``measure``."""
    # Of each row of voxels only the ends can be corners of the hull.
    ends = np.zeros_like(lesion)
    slices, rows = np.nonzero(lesion.any(axis=2))
    lines = lesion[slices, rows]
    ends[slices, rows, lines.argmax(axis=1)] = True
    ends[slices, rows, lesion.shape[2] - 1 - lines[:, ::-1].argmax(axis=1)] = True
    corners = np.argwhere(ends)[:, ::-1]
    with suppress(scipy.spatial.QhullError):  # voxels in one plane or line have no hull, until their faces are added
        corners = corners[scipy.spatial.ConvexHull(corners).vertices]
    points = (corners[:, None] + FACES).reshape(-1, 3) @ affine[:3, :3].T
    return float(scipy.spatial.distance.pdist(points[scipy.spatial.ConvexHull(points).vertices]).max())
