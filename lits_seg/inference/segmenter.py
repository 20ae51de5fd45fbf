"""Define the interface of segmenters, which ``ensemble`` (checkpoints) and ``exported`` (exported files) implement."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import numpy as np

from lits_seg.common.errors import InputError
from lits_seg.data.ct import Ct
from lits_seg.postprocess import Rules
from lits_seg.runs.provenance import CheckpointFile
from lits_seg.runs.result import NetworkFacts

AHEAD = 4  # batches of a CT that are segmented before the caller uses them; more would only take memory

# The index of a batch's first slice, and the batch's HU, labels and lesion probability, (B, H, W) each.
Batch = tuple[int, np.ndarray, np.ndarray, np.ndarray]


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
        preprocess: arguments of ``Preprocess``.
        checkpoints: files with the trained weights; several for an ensemble.
        exported: the exported file; None if checkpoints are run.
        card: what the card of the packaged network says, as texts by title; None for other networks.
    """

    classes: int
    preprocess: dict[str, Any]
    checkpoints: list[CheckpointFile]
    exported: ExportedFile | None = None
    card: dict[str, str] | None = None


@dataclass(frozen=True)
class RunSettings:
    """The settings of inference: test-time augmentation, numerical precision, device."""

    tta: str
    precision: str
    device: str


class NotFiniteError(ArithmeticError):
    """A network's logits are NaN or infinite.

    Args:
        index: index of the first slice with these logits, in its batch.
    """

    def __init__(self, index: int) -> None:
        super().__init__(f"logits of slice {index} of the batch are not finite")
        self.index = index


class Segmenter(ABC):
    """A model that segments axial slices.

    Attributes:
        classes: 2 (lesion or not, or liver or not) or 3 (background, liver, lesion).
        foreground: the structure of two classes, ``lesion`` or ``liver``.
        context: number of input slices for the labels of one slice, centred on that slice.
        rules: the network's own rules, for the labels of a whole CT.
        pool: threads that segment batches while the caller uses earlier ones; all CTs share them. None: a batch is
            segmented when the caller asks for it.
    """

    classes: int
    foreground: str = "lesion"
    context: int
    rules: Rules
    pool: ThreadPoolExecutor | None = None

    @property
    def finds_liver(self) -> bool:
        """Whether the labels include the liver."""
        return self.classes == 3 or self.foreground == "liver"

    @abstractmethod
    def __call__(
        self, hu: np.ndarray, around: np.ndarray, pixel_mm: tuple[float, float] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Segment slices.

        Args:
            hu: slices ``(S, H, W)`` in HU.
            around: for each of ``B`` slices to segment, the indices in ``hu`` of its input slices, ``(B, context)``.
            pixel_mm: size of the slices' pixels in mm, along H and W; needed if pre-processing resamples them to a
                spacing.

        Returns:
            LiTS labels, and the lesion's probability scaled to 0…255, both ``(B, H, W)`` uint8.

        Raises:
            NotFiniteError: if a logit is NaN or infinite.
        """

    @abstractmethod
    def model(self) -> ModelFacts:
        """Return the facts about the network, for the report."""

    @abstractmethod
    def settings(self) -> RunSettings:
        """Return the settings of inference, for the report."""

    def segment(self, ct: Ct, batch_size: int) -> Iterator[Batch]:
        """Segment a CT batch by batch, starting with the lowest slice.

        Args:
            ct: the CT.
            batch_size: slices in a batch.

        Yields:
            For each batch: the index of its first slice, and its HU, labels and lesion probability, ``(B, H, W)`` each.

        Raises:
            InputError: if logits are not finite; names the slice.
        """
        starts = range(0, len(ct), batch_size)
        if self.pool is None:
            yield from (self._batch(ct, start, batch_size) for start in starts)
            return
        waiting: deque[Future[Batch]] = deque()
        try:
            for start in starts:
                waiting.append(self.pool.submit(self._batch, ct, start, batch_size))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            # A future that somebody has cancelled never ends, so that only those at work are waited for.
            wait([future for future in waiting if not future.cancel()])

    def _batch(self, ct: Ct, start: int, batch_size: int) -> Batch:
        """Segment the slices from ``start`` on, see ``segment``."""
        side, stop = self.context // 2, min(start + batch_size, len(ct))
        below, above = max(0, start - side), min(len(ct), stop + side)
        hu = ct.slices(below, above)
        around = np.arange(start, stop)[:, None] + np.arange(-side, side + 1)
        try:
            labels, probability = self(hu, around.clip(0, len(ct) - 1) - below, ct.pixel_mm)
        except NotFiniteError as error:
            found = f"NaN or infinity in slice {start + error.index} of {ct.path} (slice 0 is the lowest)"
            raise InputError("the network", "finite logits", found) from error
        return start, hu[start - below : stop - below], labels, probability
