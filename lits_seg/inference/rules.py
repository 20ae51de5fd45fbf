"""Apply rules to a finished mask: which pieces of liver and lesion stay."""

from collections.abc import Iterator
from dataclasses import dataclass

import cc3d
import numpy as np
import scipy

from lits_seg.common.errors import InputError
from lits_seg.metrics.lesions import components, label_box


@dataclass(frozen=True)
class Rules:
    """Rules in the order in which they are applied.

    A dropped lesion becomes liver if it touches liver, else background.

    Args:
        largest_liver: keep only the largest connected piece of liver with the lesions in it.
        min_lesion_ml: drop lesions of a smaller volume.
        largest_lesion: keep only the largest lesion.
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
    """Yield for each connected piece of labels >= ``lowest``: labels around it, mask, size, and the largest size."""
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
    """Return a box with its adjacent voxels."""
    return tuple(slice(max(0, side.start - 1), side.stop + 1) for side in box)


def _drop(part: np.ndarray, lesion: np.ndarray) -> None:
    touches_liver = (scipy.ndimage.binary_dilation(lesion) & (part == 1)).any()
    part[lesion] = 1 if touches_liver else 0
