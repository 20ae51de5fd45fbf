"""Count how much of a body is outside of images that show a fixed part of each slice (``Preprocess.spacing``)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lits_seg.data.stored_case import StoredCase

BODY_HU = -300  # the skin's fat is brighter, the air around the patient darker
ACCEPTED = 0.01  # share of the body; the table counts as body, too


def shown(side: int, pixel_mm: float, size: int, spacing: float) -> slice:
    """Return the rows or columns of a slice that its image shows, see ``resample``.

    Args:
        side: pixels of the slice.
        pixel_mm: their size in mm.
        size: pixels of the image.
        spacing: their size in mm.
    """
    place = (np.arange(side) - side // 2) * (pixel_mm / spacing) + size // 2
    inside = np.flatnonzero((place >= -0.5) & (place < size - 0.5))
    return slice(int(inside[0]), int(inside[-1]) + 1)


@dataclass
class Crop:
    """A count of the body's voxels that the images of a CT show.

    Args:
        size: pixels of the image's sides.
        spacing: their size in mm.
        pixel_mm: size of a slice's pixels in mm, along H and W.
        counts: voxels of the body, and those of them that are shown.
    """

    size: int
    spacing: float
    pixel_mm: Sequence[float]
    counts: np.ndarray = field(default_factory=lambda: np.zeros(2, np.int64))

    def add(self, hu: np.ndarray) -> None:
        """Count the body's voxels in slices ``(S, H, W)`` in HU."""
        self.counts += self.count(hu > BODY_HU)

    def count(self, mask: np.ndarray) -> list[int]:
        """Count the voxels of a mask ``(S, H, W)``: all, and those that are shown."""
        rows, columns = (
            shown(side, mm, self.size, self.spacing) for side, mm in zip(mask.shape[1:], self.pixel_mm, strict=True)
        )
        return [int(np.count_nonzero(part)) for part in (mask, mask[:, rows, columns])]

    @property
    def lost(self) -> float:
        """Return the share of the body that is not shown."""
        body, part = self.counts.tolist()
        return 1 - part / body if body else 0.0

    def warnings(self, path: Path, liver: Sequence[int] = (0, 0)) -> list[str]:
        """Warn if images cut the body.

        Args:
            path: the CT, which the warning names.
            liver: voxels of the liver with its lesions, and those of them that are shown; 0: unknown.

        Returns:
            A list with the warning, or an empty list.
        """
        missing = liver[0] - liver[1]
        if self.lost <= ACCEPTED and not missing:
            return []
        lost = f"{self.lost:.1%} of the body" + (f" and {missing / liver[0]:.1%} of the liver" if missing else "")
        side = self.size * self.spacing
        return [
            f"{path}: {lost} is outside the {side:.4g} × {side:.4g} mm of the network's images "
            f"(data.preprocess.size={self.size}, data.preprocess.spacing={self.spacing:g})"
        ]


def cut_cases(cases: Sequence[StoredCase]) -> list[str]:
    """Return a warning if the images cut some of the cases, as a list; ``prepare`` names each of them."""
    cut = [case for case in cases if case.check.cut]
    if not cut:
        return []
    worst = max(cut, key=lambda case: case.check.cut)
    lost = f"{len(cut)} of {len(cases)} CTs are cropped by data.preprocess.size and data.preprocess.spacing"
    return [f"{lost}, at most {worst.check.cut:.1%} of the body (case {worst.name}); lits-seg prepare names them"]
