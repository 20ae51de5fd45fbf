"""Measure lesions, the connected components of a mask: their volumes and diameters.

Two diameters answer two questions. The report on a CT contains the largest distance within a lesion (``diameter``), as
a reader measures it. Scores sort lesions by the diameter of the ball of equal volume (``ball_diameter``). It depends on
the volume only: neither thick slices, nor the orientation of the grid, nor a single stray voxel move a lesion into
another class, and false lesions of any shape are sorted in the same way.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import cc3d
import numpy as np
from nibabel.affines import apply_affine

Box = tuple[slice, ...]

LISTED = 1000  # a mask with more lesions is noise
SMALL_MM, LARGE_MM = 10.0, 20.0  # below 10 mm, RECIST 1.1 does not call a lesion measurable in CT
# Steps between voxels, the shortest first; of each two opposite ones, one.
STEPS = sorted((step for step in product(range(-2, 3), repeat=3) if step > (0, 0, 0)), key=np.linalg.norm)
FACES = 0.5 * np.array([(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)])


@dataclass(frozen=True)
class Lesion:
    """A connected component of a lesion mask.

    Args:
        volume_ml: volume in mL.
        diameter_mm: largest diameter in mm, see ``measure``.
        slices: first and last slice that show the lesion.
        largest: slice with the most voxels of the lesion.
        centre_mm: centroid in mm.
    """

    volume_ml: float
    diameter_mm: float
    slices: tuple[int, int]
    largest: int
    centre_mm: tuple[float, float, float]


def components(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Label the components of a mask ``(S, H, W)`` from 1 by 6-connectivity (faces); return also their count."""
    return cc3d.connected_components(mask, connectivity=6, return_N=True, binary_image=True)


def dilate(mask: np.ndarray) -> np.ndarray:
    """Return a mask with all voxels that share a face with one of its voxels."""
    grown = mask.copy()
    for axis in range(mask.ndim):
        voxels, new = np.moveaxis(mask, axis, 0), np.moveaxis(grown, axis, 0)
        new[1:] |= voxels[:-1]
        new[:-1] |= voxels[1:]
    return grown


def label_box(labels: np.ndarray, lowest: float) -> Box | None:
    """Return the smallest box around the voxels of at least ``lowest``.

    Args:
        labels: ``(S, H, W)``.
        lowest: lowest label of the structure, or lowest value of a map.

    Returns:
        A slice per axis; None if there is no such voxel.
    """
    inside = [np.zeros(size, bool) for size in labels.shape]
    for number, labels_of_slice in enumerate(labels):  # slice by slice, to save memory
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


def boxes_and_sizes(numbered: np.ndarray, voxel_ml: float) -> tuple[Sequence[Box], list[int]]:
    """Return the box and the size class of each component, in the order of their numbers from 1.

    Args:
        numbered: components ``(S, H, W)``.
        voxel_ml: volume of a voxel in mL.
    """
    facts = cc3d.statistics(numbered)
    return facts["bounding_boxes"][1:], [size_class(int(count) * voxel_ml) for count in facts["voxel_counts"][1:]]


def ball_diameter(volume_ml: float) -> float:
    """Return the diameter in mm of the ball with a volume in mL: (6 V / π)^(1/3).

    Scikit-image calls the same measure ``equivalent_diameter_area``.
    """
    return math.cbrt(6 * 1000 * volume_ml / math.pi)


def size_class(volume_ml: float) -> int:
    """Return a lesion's index in ``scores.SIZES`` by its ``ball_diameter``: < 10 mm, 10 to 20 mm, > 20 mm."""
    diameter_mm = ball_diameter(volume_ml)
    return int(diameter_mm >= SMALL_MM) + int(diameter_mm > LARGE_MM)


def measure(labels: np.ndarray, affine: np.ndarray, voxel_ml: float, most: int = LISTED) -> tuple[int, list[Lesion]]:
    """Count the lesions of LiTS labels and measure the largest of them.

    A volume is the number of voxels times ``voxel_ml``. A diameter is the largest distance between two vertices of the
    surface mesh (the maximum 3D diameter of the Image Biomarker Standardisation Initiative). The vertices are the
    centres of the faces of the outermost voxels. The diameter of a single voxel is therefore its longest edge.

    Args:
        labels: LiTS labels ``(S, H, W)``.
        affine: ``(4, 4)``, from ``(column, row, slice)`` to mm.
        voxel_ml: volume of a voxel in mL.
        most: largest number of lesions to measure.

    Returns:
        The number of all lesions, and the measured lesions, largest first.
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
    """Return the diameter of a lesion in mm, as defined in ``measure``.

    Args:
        lesion: mask ``(S, H, W)`` of one lesion.
        affine: ``(4, 4)``, from ``(column, row, slice)`` to mm.
    """
    corners = _vertices(lesion) @ affine[:3, :3].T
    faces = FACES @ affine[:3, :3].T
    shifts = (faces[:, None] - faces).reshape(-1, 3)  # from voxel to voxel, added to the distance of their centres
    margin = np.linalg.norm(shifts, axis=1).max() * (1 + 1e-9)
    middle = (corners.min(axis=0) + corners.max(axis=0)) / 2
    radius = np.linalg.norm(corners - middle, axis=1)
    away = np.linalg.norm(corners - corners[radius.argmax()], axis=1)
    longest = np.linalg.norm(corners - corners[away.argmax()], axis=1).max()  # a good start, which leaves few pairs
    corners = corners[radius + radius.max() >= longest - margin]
    rows = 1 + 2**18 // len(corners)  # to save memory
    for start in range(0, len(corners), rows):
        steps = corners[start : start + rows, None] - corners[start:]
        near = steps[(steps**2).sum(axis=2) >= max(0, longest - margin) ** 2]
        longest = max(longest, *(np.linalg.norm(near + shift, axis=1).max(initial=0) for shift in shifts))
    return float(longest)


def _vertices(lesion: np.ndarray) -> np.ndarray:
    """Return the voxels ``(column, row, slice)`` of a mask that may be vertices of its convex hull.

    A voxel halfway between two others is none. Few of the rest are no vertices.
    """
    padded = np.ascontiguousarray(np.pad(lesion, 2))  # pad keeps the order of axes that run the other way
    flat, strides = padded.ravel(), np.array(padded.strides)  # bytes are voxels
    places = np.flatnonzero(flat)
    for step in STEPS:
        distance = int(strides @ step)
        places = places[~(flat[places - distance] & flat[places + distance])]
    return np.stack(np.unravel_index(places, padded.shape), axis=1)[:, ::-1] - 2
