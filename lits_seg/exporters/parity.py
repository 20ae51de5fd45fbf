"""Compare an exported file with its checkpoint: labels, logits, time and Dice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from lits_seg.common.errors import InputError
from lits_seg.common.timing import fastest_in_turns
from lits_seg.data.ct import open_ct
from lits_seg.data.layouts import Case
from lits_seg.data.volumes import read_case
from lits_seg.inference.exported import ExportedSegmenter
from lits_seg.inference.segmenter import Segmenter
from lits_seg.metrics import case_scores
from lits_seg.metrics.overlap import LOWEST_LABEL
from lits_seg.training.module import LesionModule

# Limits for each precision: lowest share of equal labels, and largest difference relative to the largest logit.
LIMITS = {"fp32": (0.9999, 0.05), "fp16": (0.999, 0.05), "bf16": (0.99, 0.25), "int8": (0.98, 1.0)}


@dataclass(frozen=True)
class Parity:
    """The agreement of a file with PyTorch in fp32, measured on slices.

    Args:
        labels: share of equal labels.
        logits: largest absolute difference of logits.
        largest: largest absolute logit of PyTorch.
        dice: Dice between the masks of the file and of PyTorch, of the lesions, or of the liver if the network finds no
            lesions; None if both are empty.
    """

    labels: float
    logits: float
    largest: float
    dice: float | None = None

    def require(self, file: str, precision: str) -> None:
        """Check that the agreement is within the limits of a precision (``LIMITS``).

        Args:
            file: name of the file, for errors.
            precision: precision of the file.

        Raises:
            InputError: if labels or logits differ too much.
        """
        labels, logits = LIMITS[precision]
        if self.labels < labels or not self.logits <= logits * self.largest:
            raise InputError(
                file,
                f"at least {labels:.2%} of PyTorch's labels, and logits within {logits * self.largest:.3g}",
                f"{self.labels:.4%} of the labels, and logits that differ by {self.logits:.3g}",
            )


def parity(
    module: LesionModule, exported: ExportedSegmenter, hu: np.ndarray, pixel_mm: np.ndarray | None = None
) -> Parity:
    """Compare an exported file with its checkpoint.

    Args:
        module: the checkpoint's network, on the CPU.
        exported: the exported file.
        hu: slices ``(B, context, H, W)`` in HU.
        pixel_mm: size of their pixels in mm, ``(B, 2)``, see ``Segmenter``.
    """
    found_labels, found_logits = exported.logits(hu, pixel_mm)
    with torch.inference_mode():
        logits = module(torch.from_numpy(network_images(module, hu, pixel_mm)).float() / 255)
        height, width = hu.shape[2:]
        labels = module.labels(logits, height, width, pixel_mm)[0].numpy()
    lowest = LOWEST_LABEL[module.structures[0]]
    masks = (labels >= lowest), (found_labels >= lowest)
    together = sum(int(mask.sum()) for mask in masks)
    return Parity(
        labels=float((labels == found_labels).mean()),
        logits=float(np.abs(logits.numpy() - found_logits).max()),
        largest=float(logits.abs().max()),
        dice=2 * int((masks[0] & masks[1]).sum()) / together if together else None,
    )


def network_images(module: LesionModule, hu: np.ndarray, pixel_mm: np.ndarray | None = None) -> np.ndarray:
    """Pre-process slices.

    Args:
        module: the network, which defines the pre-processing.
        hu: slices ``(B, context, H, W)`` in HU.
        pixel_mm: size of their pixels in mm, ``(B, 2)``, see ``Segmenter``.

    Returns:
        Images ``(B, context, size, size)`` uint8.
    """
    sizes = [None] * len(hu) if pixel_mm is None else pixel_mm
    return np.stack([module.preprocess.images(part, mm) for part, mm in zip(hu, sizes, strict=True)])


def slices_of(cases: Sequence[Case], count: int, context: int) -> tuple[np.ndarray, np.ndarray]:
    """Read slices with their neighbours, evenly distributed over the middle half of each case.

    Args:
        cases: the volumes; those whose slice size differs from the first are skipped.
        count: number of slices.
        context: number of input slices for the labels of one slice.

    Returns:
        HU ``(count, context, H, W)``, or fewer slices if volumes were skipped; and the size of the pixels in mm along
        H and W, ``(count, 2)``.
    """
    found: list[np.ndarray] = []
    pixel_mm: list[tuple[float, float]] = []
    each = -(-count // max(1, len(cases)))
    for case in cases:
        with open_ct(case.image) as ct:
            for middle in np.linspace(len(ct) // 4, (3 * len(ct)) // 4, each).astype(int):
                around = np.clip(np.arange(middle - context // 2, middle + context // 2 + 1), 0, len(ct) - 1)
                hu = np.concatenate([ct.slices(number, number + 1) for number in around.tolist()])
                if not found or hu.shape == found[0].shape:
                    found.append(hu)
                    pixel_mm.append(ct.pixel_mm)
    return np.stack(found[:count]), np.array(pixel_mm[:count])


def volume_dice(segmenter: Segmenter, cases: Sequence[Case], batch_size: int) -> list[float]:
    """Return the Dice of each case after the model's rules, of the whole volume at its original resolution.

    It is that of the lesions, or of the liver if the network finds no lesions.

    Args:
        segmenter: segmenter that predicts the labels.
        cases: volumes with labels.
        batch_size: slices in a batch.
    """
    if not cases:
        return []
    counts, lowest = [], LOWEST_LABEL[segmenter.foreground]
    for case in cases:
        truth = read_case(case)[1].slices >= lowest
        labels, probability = (np.zeros(truth.shape, np.uint8) for _ in range(2))
        with open_ct(case.image) as ct:
            for start, _, found, likely in segmenter.segment(ct, batch_size):
                block = slice(start, start + len(found))
                labels[block], probability[block] = found, likely
            segmenter.rules(labels, probability, ct.spacing, ct.voxel_ml, segmenter.finds_liver, ct.slices)
        mask = labels >= lowest
        counts.append((np.count_nonzero(mask & truth), np.count_nonzero(mask), np.count_nonzero(truth)))
    return case_scores(counts)["dice"].tolist()


def milliseconds(
    segmenters: Mapping[Any, Segmenter], hu: np.ndarray, pixel_mm: tuple[float, float] | None = None, rounds: int = 3
) -> dict[Any, float]:
    """Measure the time per slice, from HU to labels, of several segmenters in turns.

    Args:
        segmenters: segmenters by key.
        hu: slices ``(B, context, H, W)`` in HU.
        pixel_mm: size of their pixels in mm, see ``Segmenter``.
        rounds: timed passes of each segmenter; the fastest pass counts.

    Returns:
        Milliseconds per slice, by key.
    """
    flat = np.ascontiguousarray(hu.reshape(-1, *hu.shape[2:]))
    around = np.arange(len(flat)).reshape(len(hu), -1)
    tasks = {key: partial(segmenter, flat, around, pixel_mm) for key, segmenter in segmenters.items()}
    return {key: 1000 * seconds / len(hu) for key, seconds in fastest_in_turns(tasks, rounds).items()}
