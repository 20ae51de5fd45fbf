"""What takes CT slices to labels: checkpoints (``inference``) or an exported model (``exported``), by one door."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np

from lits_seg.data.ct import Ct


class Segmenter(ABC):
    """A segmentation of axial slices.

    ``classes``: 2 (lesion or not) or 3 (background, liver, lesion). ``context``: slices that one slice's labels are
    found from, itself in the middle.
    """

    classes: int
    context: int

    @abstractmethod
    def __call__(self, hu: np.ndarray, around: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Labels and lesion probability of some slices.

        Args:
            hu: slices ``(S, H, W)`` in HU.
            around: the numbers of the ``context`` slices around each of the ``B`` wanted ones, ``(B, context)``.

        Returns LiTS labels and the probability, 255 for 1, both ``(B, H, W)`` uint8.
        """

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What it is, for the report: the ``model``, and the ``settings`` that it runs with."""

    def segment(self, ct: Ct, batch_size: int) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """Slice by slice from below: number of a block's first slice, and its HU, labels and lesion probability.

        All ``(B, H, W)``, on the CT's own axial slices.
        """
        side = self.context // 2
        for start in range(0, len(ct), batch_size):
            stop = min(start + batch_size, len(ct))
            below, above = max(0, start - side), min(len(ct), stop + side)
            hu = ct.slices(below, above)
            around = np.arange(start, stop)[:, None] + np.arange(-side, side + 1)
            labels, probability = self(hu, around.clip(0, len(ct) - 1) - below)
            yield start, hu[start - below : stop - below], labels, probability
