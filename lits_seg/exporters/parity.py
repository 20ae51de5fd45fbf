"""Whether an exported file does what the checkpoint does, how fast, and how well it finds lesions."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lits_seg.common.errors import InputError
from lits_seg.data.ct import open_ct
from lits_seg.data.layouts import Case
from lits_seg.data.volumes import read_case
from lits_seg.inference.segmenter import Segmenter
from lits_seg.metrics import case_scores
from lits_seg.metrics.counts import VolumeOverlap
from lits_seg.training.module import LesionModule

# By precision: the least share of equal labels, and the largest difference of logits as a share of the largest logit.
BARS = {"fp32": (0.9999, 0.05), "fp16": (0.999, 0.05), "bf16": (0.99, 0.25), "int8": (0.98, 1.0)}


@dataclass(frozen=True)
class Parity:
    """What a file gives beside PyTorch in 32 bits, on some slices.

    ``labels``: share of equal labels; ``lesion``: Dice of both lesion masks, None where neither has any;
    ``logits``: the largest difference, ``largest``: PyTorch's largest logit, by amount.
    """

    labels: float
    lesion: float | None
    logits: float
    largest: float

    def require(self, file: str, precision: str) -> None:
        """Raises ``InputError`` where it is below the bar of the precision."""
        labels, logits = BARS[precision]
        if self.labels < labels or not self.logits <= logits * self.largest:
            raise InputError(
                file,
                f"PyTorch's labels in {labels:.2%} of the pixels and logits within {logits * self.largest:.3g}",
                f"{self.labels:.4%} and {self.logits:.3g}",
            )


def parity(segmenter: LesionModule, found: tuple[np.ndarray, np.ndarray], hu: np.ndarray) -> Parity:
    """``found``: labels ``(B, H, W)`` and logits ``(B, K, size, size)`` of slices ``(B, context, H, W)`` in HU."""
    with torch.inference_mode():
        logits = segmenter(torch.from_numpy(network_images(segmenter, hu)).float() / 255)
        labels = segmenter.labels(logits, *hu.shape[2:])[0].numpy()
    lesions = (labels == 2), (found[0] == 2)
    together = sum(int(mask.sum()) for mask in lesions)
    return Parity(
        labels=float((labels == found[0]).mean()),
        lesion=2 * int((lesions[0] & lesions[1]).sum()) / together if together else None,
        logits=float(np.abs(logits.numpy() - found[1]).max()),
        largest=float(logits.abs().max()),
    )


def network_images(segmenter: LesionModule, hu: np.ndarray) -> np.ndarray:
    """Slices ``(B, context, H, W)`` in HU as the network's images ``(B, context, size, size)`` uint8."""
    images = segmenter.preprocess.images(hu.reshape(-1, *hu.shape[2:]))
    return images.reshape(*hu.shape[:2], *images.shape[1:])


def slices_of(cases: Sequence[Case], count: int, context: int) -> np.ndarray:
    """Slices ``(count, context, H, W)`` in HU with their neighbours, evenly from the middle half of each case.

    Cases of other sizes than the first's are left out. Fewer where there are not so many.
    """
    found: list[np.ndarray] = []
    each = -(-count // max(1, len(cases)))
    for case in cases:
        with open_ct(case.image) as ct:
            for middle in np.linspace(len(ct) // 4, (3 * len(ct)) // 4, each).astype(int):
                around = np.clip(np.arange(middle - context // 2, middle + context // 2 + 1), 0, len(ct) - 1)
                hu = np.concatenate([ct.slices(number, number + 1) for number in around.tolist()])
                if not found or hu.shape == found[0].shape:
                    found.append(hu)
    return np.stack(found[:count])


def lesion_dice(segmenter: Segmenter, cases: Sequence[Case], batch_size: int) -> list[float]:
    """Lesion Dice of each case, whole volumes on their own grid."""
    if not cases:
        return []
    counts = VolumeOverlap(len(cases))
    for number, case in enumerate(cases):
        truth = torch.from_numpy(read_case(case)[1].slices)
        with open_ct(case.image) as ct:
            for start, _, labels, _ in segmenter.segment(ct, batch_size):
                patient = torch.full((len(labels),), number)
                counts.update(torch.from_numpy(labels), truth[start : start + len(labels)], patient)
    return case_scores(counts.compute()[:, 0])["dice"].tolist()


def milliseconds(segmenters: Mapping[Any, Segmenter], hu: np.ndarray, rounds: int = 3) -> dict[Any, float]:
    """Of one slice from HU ``(B, context, H, W)`` to labels, all in turns, of each the fastest round."""
    flat = np.ascontiguousarray(hu.reshape(-1, *hu.shape[2:]))
    around = np.arange(len(flat)).reshape(len(hu), -1)
    best = dict.fromkeys(segmenters, np.inf)
    for turn in range(1 + rounds):  # the first is not counted: engines plan and allocate in it
        for key, segmenter in segmenters.items():
            start = time.perf_counter()
            segmenter(flat, around)
            taken = time.perf_counter() - start
            best[key] = min(best[key], 1000 * taken / len(hu)) if turn else np.inf
    return best
