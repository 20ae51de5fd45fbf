"""Keep, fill and remove connected components of a mask."""

from collections.abc import Iterator
from itertools import compress

import cc3d
import edt
import numpy as np

from lits_seg.metrics.lesions import box_around, components, dilate, label_box

BLOCK = 8  # side of a block of pixels
KEPT = np.uint8(4)  # a bit that no label has


def pieces(labels: np.ndarray, lowest: int) -> Iterator[tuple[np.ndarray, np.ndarray, int, int, tuple[slice, ...]]]:
    """Find the connected components of labels >= ``lowest``.

    Args:
        labels: LiTS labels ``(S, H, W)``.
        lowest: 1 for liver with lesions, 2 for lesions.

    Yields:
        For each component: a view of the labels around it, its mask in this view, its size in voxels, the size of
        the largest component, and the place of the view in ``labels``.
    """
    box = label_box(labels, lowest)
    if box is None:
        return
    wide = _wider(box)
    numbered, _ = components(labels[wide] >= lowest)
    facts = cc3d.statistics(numbered)
    sizes = facts["voxel_counts"]
    for number, place in enumerate(facts["bounding_boxes"][1:], start=1):
        near = _wider(place)
        around = tuple(
            slice(outer.start + side.start, min(outer.start + side.stop, outer.stop))
            for outer, side in zip(wide, near, strict=True)
        )
        yield labels[around], numbered[near] == number, int(sizes[number]), int(sizes[1:].max()), around


def _wider(box: tuple[slice, ...]) -> tuple[slice, ...]:
    """Return a box, enlarged by its adjacent voxels."""
    return tuple(slice(max(0, side.start - 1), side.stop + 1) for side in box)


def drop(part: np.ndarray, lesion: np.ndarray) -> None:
    """Make a lesion liver if it touches liver, else background.

    Args:
        part: LiTS labels around the lesion ``(S, H, W)``, changed in place.
        lesion: its mask, of the same shape.
    """
    touches_liver = (dilate(lesion) & (part == 1)).any()
    part[lesion] = 1 if touches_liver else 0


def keep_largest(labels: np.ndarray) -> None:
    """Remove all components of the liver with its lesions but the largest, or the largest ones of equal size.

    There may be thousands, in the whole CT. Neighbouring blocks of pixels cannot split a component, and show cheaply
    where the largest one may be.

    Args:
        labels: LiTS labels ``(S, H, W)``, changed in place.
    """
    facts = cc3d.statistics(components(_blocks(labels))[0])
    boxes, most = facts["bounding_boxes"][1:], BLOCK**2 * facts["voxel_counts"][1:].astype(np.int64)
    if not boxes:
        return
    searched = most == most.max()
    while True:
        slices, *sides = box_around(compress(boxes, searched))
        box = slices, *(slice(BLOCK * side.start, BLOCK * side.stop) for side in sides)
        numbered, _ = components(labels[box] >= 1)
        sizes = cc3d.statistics(numbered, no_slice_conversion=True)["voxel_counts"][1:]
        others = (most >= sizes.max()) & ~searched
        if not others.any():
            break
        searched |= others
    largest = 1 + np.flatnonzero(sizes == sizes.max())  # rarely several
    for part, pieces in zip(labels[box], numbered, strict=True):  # slice by slice, to save memory
        part |= KEPT * np.logical_or.reduce([pieces == number for number in largest])
    for part in labels:
        part *= part >= KEPT
        part &= KEPT - 1


def _blocks(labels: np.ndarray) -> np.ndarray:
    """Return whether blocks of ``BLOCK`` × ``BLOCK`` pixels of a slice have a label, ``(S, H', W')``."""
    rows, columns = (np.arange(0, size, BLOCK) for size in labels.shape[1:])
    found = np.empty((len(labels), len(rows), len(columns)), bool)
    for part, blocks in zip(labels, found, strict=True):
        blocks[:] = np.bitwise_or.reduceat(np.bitwise_or.reduceat(part, rows, axis=0), columns, axis=1)
    return found


def fill(labels: np.ndarray) -> None:
    """Make background that the liver with its lesions encloses liver.

    Args:
        labels: LiTS labels ``(S, H, W)``, changed in place.
    """
    box = label_box(labels, 1)
    if box is None:
        return
    part = labels[box]
    # The border makes one component of all background that the liver does not enclose.
    background, _ = components(np.pad(part == 0, 1, constant_values=True))
    outside = background[0, 0, 0]
    for labels_of_slice, inside in zip(part, background[1:-1, 1:-1, 1:-1], strict=True):  # to save memory
        labels_of_slice[(inside != 0) & (inside != outside)] = 1


def remove_far(labels: np.ndarray, spacing: tuple[float, float, float], limit: float) -> None:
    """Remove the lesions that are farther from the liver than a limit.

    Args:
        labels: LiTS labels ``(S, H, W)``, changed in place.
        spacing: voxel size along W, H and S in mm.
        limit: distance between voxel centres in mm.
    """
    steps = spacing[2], spacing[1], spacing[0]
    margin = [int(limit / step) + 1 for step in steps]
    for part, mask, _, _, place in pieces(labels, 2):
        if (dilate(mask) & (part == 1)).any():
            continue
        near = tuple(slice(max(0, side.start - m), side.stop + m) for side, m in zip(place, margin, strict=True))
        liver = labels[near] == 1
        if liver.any():
            inner = tuple(slice(p.start - n.start, p.stop - n.start) for p, n in zip(place, near, strict=True))
            # Distances have 32 bits; one that equals the limit may be rounded up.
            if edt.edt(~liver, anisotropy=steps)[inner][mask].min() <= limit * (1 + 1e-6):
                continue
        part[mask] = 0
