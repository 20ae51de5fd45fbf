"""Trained networks on whole CTs, a few slices at a time: several checkpoints, several views, one answer."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lits_seg.checkpoint import load_segmenter
from lits_seg.data.ct import Ct
from lits_seg.errors import InputError
from lits_seg.module import LesionSegmenter

# Quarter turns, and whether the image is mirrored first. On square images all of them are exact.
VIEWS = {
    "none": ((0, False),),
    "flips": ((0, False), (0, True), (2, False), (2, True)),
    "rotations": ((0, False), (1, False), (2, False), (3, False)),
    "all": tuple((turns, mirrored) for turns in range(4) for mirrored in (False, True)),
}


class Ensemble:
    """One or several checkpoints as one segmentation of axial slices.

    Args:
        checkpoints: of the same classes and pre-processing, such as the folds of a cross-validation; the probabilities
            that they give are averaged.
        tta: test-time augmentation: ``none``, ``flips``, ``rotations`` (quarter turns) or ``all`` (both: 8 views).
        device: ``cpu``, ``cuda``, or ``auto``.
        precision: ``32`` or ``bf16``.

    Raises ``InputError`` for checkpoints that are not ours or do not belong together.
    """

    def __init__(
        self, checkpoints: Sequence[str | Path], tta: str = "none", device: str = "auto", precision: str = "32"
    ) -> None:
        if tta not in VIEWS:
            raise InputError("tta", f"one of {', '.join(VIEWS)}", tta)
        if str(precision) not in ("32", "bf16"):
            raise InputError("precision", "32 or bf16", precision)
        if device not in ("auto", "cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
            raise InputError("device", "auto, cpu, or cuda where there is one", device)
        self.views, self.bf16 = VIEWS[tta], str(precision) == "bf16"
        self.device = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
        self.members = [load_segmenter(path).to(self.device) for path in checkpoints]
        self.first = self.members[0]
        for path, member in zip(checkpoints, self.members, strict=True):
            for name in ("classes", "context", "preprocess"):
                expected, found = getattr(self.first, name), getattr(member, name)
                if expected != found:
                    raise InputError(path, f"the same {name} as {checkpoints[0]} ({expected})", found)

    def segment(self, ct: Ct, batch_size: int) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """Slice by slice from below: number of a block's first slice, and its HU, labels and lesion probability.

        HU and labels (LiTS's, uint8) ``(B, H, W)`` on the CT's own axial slices, probability as uint8, 255 for 1.
        """
        side = self.first.context // 2
        for start in range(0, len(ct), batch_size):
            stop = min(start + batch_size, len(ct))
            below, above = max(0, start - side), min(len(ct), stop + side)
            hu = ct.slices(below, above)
            images = torch.from_numpy(self.first.preprocess.images(hu))
            around = torch.arange(start, stop)[:, None] + torch.arange(-side, side + 1)
            images = images[around.clamp(0, len(ct) - 1) - below]
            labels, probability = self(images, *hu.shape[1:])
            yield start, hu[start - below : stop - below], labels, probability

    @torch.inference_mode()
    def __call__(self, images: Tensor, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Images ``(B, context, size, size)`` uint8 to labels and lesion probability ``(B, height, width)`` uint8."""
        batch = images.to(self.device).float() / 255
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            scores = [self._view(member, batch, *view).float() for member in self.members for view in self.views]
        # Log-probabilities differ from logits by a number per pixel, which changes neither label nor probability.
        mean = torch.stack([score.log_softmax(dim=1) for score in scores]).logsumexp(dim=0) if scores[1:] else scores[0]
        restored = self.first.preprocess.restore(mean, height, width)
        labels = self.first.to_lits(restored.argmax(dim=1))
        lesion = restored.softmax(dim=1)[:, -1]
        return labels.byte().cpu().numpy(), (lesion * 255).round().byte().cpu().numpy()

    @staticmethod
    def _view(member: LesionSegmenter, batch: Tensor, turns: int, mirrored: bool) -> Tensor:
        """Logits ``(B, K, size, size)`` of the images as seen from another side, brought back."""
        seen = torch.rot90(batch.flip(-1) if mirrored else batch, turns, (-2, -1))
        logits = torch.rot90(member(seen), -turns, (-2, -1))
        return logits.flip(-1) if mirrored else logits
