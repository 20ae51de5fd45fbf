"""Remove connected components of liver and lesion from a predicted mask."""

from collections.abc import Iterator
from dataclasses import dataclass

import cc3d
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
        min_lesion_ml: remove lesions with a smaller volume, in mL.
        largest_lesion: keep only the largest lesion.

    Raises:
        InputError: if ``min_lesion_ml`` is negative or not finite.
    """

    largest_liver: bool = False
    min_lesion_ml: float = 0.0
    largest_lesion: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.min_lesion_ml < np.inf:
            raise InputError("rules.min_lesion_ml", "a volume in mL, 0 or more", self.min_lesion_ml)

    def __call__(self, labels: np.ndarray, voxel_ml: float) -> None:
        """Change a mask in place.

        Args:
            labels: LiTS labels ``(S, H, W)``.
            voxel_ml: volume of a voxel in mL.
        """
        if self.largest_liver:
            for part, mask, size, largest in _pieces(labels, 1):
                if size < largest:
                    part[mask] = 0
        if self.min_lesion_ml:
            for part, mask, size, _ in _pieces(labels, 2):
                if size * voxel_ml < self.min_lesion_ml:
                    _drop(part, mask)
        if self.largest_lesion:
            for part, mask, size, largest in _pieces(labels, 2):
                if size < largest:
                    _drop(part, mask)


def _pieces(labels: np.ndarray, lowest: int) -> Iterator[tuple[np.ndarray, np.ndarray, int, int]]:
    """Find the connected components of labels >= ``lowest``.

    Args:
        labels: LiTS labels ``(S, H, W)``.
        lowest: 1 for liver with lesions, 2 for lesions.

    Yields:
        For each component: a view of the labels around it, its mask in this view, its size in voxels, and the size of
        the largest component.
    """
    box = label_box(labels, lowest)
    if box is None:
        return
    around = labels[_wider(box)]
    numbered, _ = components(around >= lowest)
    facts = cc3d.statistics(numbered)
    sizes = facts["voxel_counts"]
    for number, place in enumerate(facts["bounding_boxes"][1:], start=1):
        near = _wider(place)
        yield around[near], numbered[near] == number, int(sizes[number]), int(sizes[1:].max())


def _wider(box: tuple[slice, ...]) -> tuple[slice, ...]:
    """Return a box, enlarged by its adjacent voxels."""
    return tuple(slice(max(0, side.start - 1), side.stop + 1) for side in box)


def _drop(part: np.ndarray, lesion: np.ndarray) -> None:
    touches_liver = (scipy.ndimage.binary_dilation(lesion) & (part == 1)).any()
    part[lesion] = 1 if touches_liver else 0
