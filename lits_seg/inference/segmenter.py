"""Define the interface from CT slices to labels: ``ensemble`` runs checkpoints, ``exported`` runs exported files."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lits_seg.data.ct import Ct
from lits_seg.runs.provenance import CheckpointFile
from lits_seg.runs.result import NetworkFacts


@dataclass(frozen=True)
class ExportedFile:
    """An exported file: its path, its SHA-256 and its format (``onnx``, ``openvino``, ``executorch``)."""

    path: str
    sha256: str
    format: str


@dataclass(frozen=True, kw_only=True)
class ModelFacts(NetworkFacts):
    """The network that segments.

    Args:
        classes: 2 or 3, see ``Segmenter``.
        preprocess: the arguments of ``Preprocess``.
        checkpoints: the trained weights; several for an ensemble.
        exported: the exported file; None if the checkpoints themselves are run.
    """

    classes: int
    preprocess: dict[str, Any]
    checkpoints: list[CheckpointFile]
    exported: ExportedFile | None = None


@dataclass(frozen=True)
class RunSettings:
    """Settings of inference: test-time augmentation, numerical precision, device."""

    tta: str
    precision: str
    device: str


class Segmenter(ABC):
    """A segmentation of axial slices.

    ``classes``: 2 (lesion or not) or 3 (background, liver, lesion). ``context``: number of slices that one slice's
    labels depend on, centred on that slice.
    """

    classes: int
    context: int

    @abstractmethod
    def __call__(self, hu: np.ndarray, around: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Segment some slices.

        Args:
            hu: slices ``(S, H, W)`` in HU.
            around: indices into ``hu`` of the ``context`` slices around each of ``B`` slices, ``(B, context)``.

        Returns:
            LiTS labels and the lesion's probability (255 for 1), both ``(B, H, W)`` uint8.
        """

    @abstractmethod
    def model(self) -> ModelFacts:
        """Return the facts about the network, for the report."""

    @abstractmethod
    def settings(self) -> RunSettings:
        """Return the settings of inference, for the report."""

    def segment(self, ct: Ct, batch_size: int) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """Segment a CT in blocks of slices, from below.

        Args:
            ct: the CT.
            batch_size: slices in a block.

        Yields:
            Index of a block's first slice; its HU, labels and lesion probability, all ``(B, H, W)``.
        """
        side = self.context // 2
        for start in range(0, len(ct), batch_size):
            stop = min(start + batch_size, len(ct))
            below, above = max(0, start - side), min(len(ct), stop + side)
            hu = ct.slices(below, above)
            around = np.arange(start, stop)[:, None] + np.arange(-side, side + 1)
            labels, probability = self(hu, around.clip(0, len(ct) - 1) - below)
            yield start, hu[start - below : stop - below], labels, probability
