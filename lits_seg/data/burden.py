"""Warn if labels 1 (liver) and 2 (lesion) are probably swapped, judged by all cases of a data set."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lits_seg.metrics.lesions import label_box

# A single patient may have more lesion than liver. In most patients of a data set, this is not plausible.
MANY = 3
# The rest of a liver surrounds its lesions. If lesions surround the whole liver, the labels are swapped.
FREE = 0.2  # share of the liver's faces that adjoin background


@dataclass(frozen=True)
class Burden:
    """Voxels of a case.

    Args:
        liver: number of voxels with label 1.
        lesion: number of voxels with label 2.
        enclosed: whether there is more lesion than liver, and the lesion encloses the liver.
    """

    liver: int
    lesion: int
    enclosed: bool


def burden(label: np.ndarray) -> Burden:
    """Count the voxels of liver and lesion.

    Args:
        label: labels 0/1/2, ``(S, H, W)`` uint8.
    """
    liver, lesion = (int(np.count_nonzero(label == value)) for value in (1, 2))
    return Burden(liver, lesion, 0 < liver < lesion and _enclosed(label))


def swapped(cases: Sequence[Burden]) -> list[str]:
    """Return a warning if the labels of most cases with lesions seem to be swapped, otherwise an empty list."""
    ill = [case for case in cases if case.lesion]
    heavy = [case for case in ill if case.lesion > case.liver]
    if 2 * len(heavy) <= len(ill) or (len(heavy) < MANY and not all(case.enclosed for case in heavy)):
        return []
    return [
        f"more lesion (label 2) than liver (label 1) in {len(heavy)} of {len(ill)} cases with lesions; "
        "the labels are probably swapped"
    ]


def _enclosed(label: np.ndarray) -> bool:
    inside = np.pad(label[label_box(label, 1)], 1)
    liver, background = inside == 1, inside == 0
    faces = [
        np.count_nonzero(liver & np.roll(other, step, axis))
        for other in (background, inside == 2)
        for axis in range(3)
        for step in (1, -1)
    ]
    return bool(sum(faces[:6]) <= FREE * sum(faces))
