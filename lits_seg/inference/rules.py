"""Remove connected components of liver and lesion from a predicted mask."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cc3d
import edt
import numpy as np
import scipy

from lits_seg.common.errors import InputError
from lits_seg.metrics.lesions import components, label_box


@dataclass(frozen=True)
class Rules:
    """Rules for connected components, applied in the order of the arguments.

    A removed lesion becomes liver if it touches liver, else background.

    Args:
        largest_liver: keep only the largest connected component of the liver, with its lesions.
        lesions_within_liver_mm: remove lesions whose nearest voxel is farther from the liver, in mm; None: keep them.
        min_lesion_ml: remove lesions with a smaller volume, in mL.
        largest_lesion: keep only the largest lesion.

    Raises:
        InputError: if a number is negative or not finite.
    """

    largest_liver: bool = False
    lesions_within_liver_mm: float | None = None
    min_lesion_ml: float = 0.0
    largest_lesion: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.min_lesion_ml < np.inf:
            raise InputError("rules.min_lesion_ml", "a volume in mL, 0 or more", self.min_lesion_ml)
        if self.lesions_within_liver_mm is not None and not 0 <= self.lesions_within_liver_mm < np.inf:
            found = self.lesions_within_liver_mm
            raise InputError("rules.lesions_within_liver_mm", "a distance in mm, 0 or more, or null", found)

    def __call__(self, labels: np.ndarray, voxel_ml: float, spacing: tuple[float, float, float]) -> None:
        """Change a mask in place.

        Args:
            labels: LiTS labels ``(S, H, W)``.
            voxel_ml: volume of a voxel in mL.
            spacing: size of a voxel in mm along W, H and S.
        """
        if self.largest_liver:
            for part, mask, size, largest in _pieces(labels, 1):
                if size < largest:
                    part[mask] = 0
        if self.lesions_within_liver_mm is not None:
            sides = spacing[::-1]
            margin = [math.ceil(min(self.lesions_within_liver_mm / side, max(labels.shape))) + 1 for side in sides]
            for part, mask, _, _ in _pieces(labels, 2, margin):
                liver = part == 1
                near = liver.any() and edt.edt(~liver, anisotropy=sides)[mask].min() <= self.lesions_within_liver_mm
                if not near:
                    part[mask] = 0
        if self.min_lesion_ml:
            for part, mask, size, _ in _pieces(labels, 2):
                if size * voxel_ml < self.min_lesion_ml:
                    _drop(part, mask)
        if self.largest_lesion:
            for part, mask, size, largest in _pieces(labels, 2):
                if size < largest:
                    _drop(part, mask)


def _pieces(
    labels: np.ndarray, lowest: int, margin: Sequence[int] = (1, 1, 1)
) -> Iterator[tuple[np.ndarray, np.ndarray, int, int]]:
    """Find the connected components of labels >= ``lowest``.

    Args:
        labels: LiTS labels ``(S, H, W)``.
        lowest: 1 for liver with lesions, 2 for lesions.
        margin: number of voxels around a component that its view includes, along S, H and W.

    Yields:
        For each component: a view of the labels around it, its mask in this view, its size in voxels, and the size of
        the largest component.
    """
    box = label_box(labels, lowest)
    if box is None:
        return
    around = labels[_wider(box, margin)]
    numbered, _ = components(around >= lowest)
    facts = cc3d.statistics(numbered)
    sizes = facts["voxel_counts"]
    for number, place in enumerate(facts["bounding_boxes"][1:], start=1):
        near = _wider(place, margin)
        yield around[near], numbered[near] == number, int(sizes[number]), int(sizes[1:].max())


def _wider(box: tuple[slice, ...], margin: Sequence[int]) -> tuple[slice, ...]:
    """Return a box, enlarged by a number of voxels along each axis."""
    return tuple(slice(max(0, side.start - more), side.stop + more) for side, more in zip(box, margin, strict=True))


def _drop(part: np.ndarray, lesion: np.ndarray) -> None:
    touches_liver = (scipy.ndimage.binary_dilation(lesion) & (part == 1)).any()
    part[lesion] = 1 if touches_liver else 0
