"""Segment CTs with checkpoints, averaged over an ensemble and over test-time augmentation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lits_seg.common.errors import InputError
from lits_seg.common.files import sha256
from lits_seg.inference.segmenter import ModelFacts, NotFiniteError, RunSettings, Segmenter
from lits_seg.models import for_inference
from lits_seg.runs.provenance import CheckpointFile
from lits_seg.training.cascades import load_cascade
from lits_seg.training.checkpoints import network_facts
from lits_seg.training.malloc import keep_freed_memory
from lits_seg.training.module import LesionModule

# Number of quarter turns, and whether the image is mirrored first. No view resamples the square images.
VIEWS = {
    "none": ((0, False),),
    "flips": ((0, False), (0, True), (2, False), (2, True)),
    "rotations": ((0, False), (1, False), (2, False), (3, False)),
    "all": tuple((turns, mirrored) for turns in range(4) for mirrored in (False, True)),
}


class Ensemble(Segmenter):
    """An ensemble of one or more checkpoints, whose probabilities are averaged.

    Args:
        checkpoints: checkpoints with the same classes and pre-processing, such as the folds of a cross-validation.
        tta: test-time augmentation: ``none``, ``flips``, ``rotations`` (quarter turns) or ``all`` (both, 8 views).
        device: ``cpu``, ``cuda``, or ``auto``.
        precision: ``32`` or ``bf16``.
        threads: number of CPU threads of this process; None: PyTorch's default.
        liver_ckpt: checkpoint of the liver network, the first stage of each member; None: members as they are.

    Raises:
        InputError: if a setting is invalid, if a checkpoint was not written by lits_seg, or if the checkpoints differ
            in classes, context, pre-processing or rules.
    """

    def __init__(
        self,
        checkpoints: Sequence[str | Path],
        tta: str = "none",
        device: str = "auto",
        precision: str = "32",
        threads: int | None = None,
        liver_ckpt: str | Path | None = None,
    ) -> None:
        if tta not in VIEWS:
            raise InputError("tta", f"one of {', '.join(VIEWS)}", tta)
        if str(precision) not in ("32", "bf16"):
            raise InputError("precision", "32 or bf16", precision)
        if device not in ("auto", "cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
            raise InputError("device", "auto, cpu, or cuda (only if the machine has a GPU)", device)
        if threads is not None:
            torch.set_num_threads(threads)
        self.checkpoints, self.tta = [str(path) for path in checkpoints], tta
        self.views, self.bf16 = VIEWS[tta], str(precision) == "bf16"
        self.device = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
        if self.device.type == "cpu":
            keep_freed_memory()
        self.members = [load_cascade(path, liver_ckpt).to(self.device) for path in checkpoints]
        self.liver_ckpt = [] if liver_ckpt is None else [str(liver_ckpt)]
        self.first = self.members[0]
        self.facts = network_facts(self.first)
        self.classes, self.foreground = self.first.classes, self.first.targets.foreground
        self.context, self.rules = self.first.context, self.first.rules
        for path, member in zip(checkpoints, self.members, strict=True):
            for name in ("classes", "structures", "context", "preprocess", "rules"):
                expected, found = getattr(self.first, name), getattr(member, name)
                if expected != found:
                    raise InputError(path, f"the same {name} as {checkpoints[0]} ({expected})", found)
            member.network = for_inference(member.network)

    def __call__(
        self, hu: np.ndarray, around: np.ndarray, pixel_mm: tuple[float, float] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See ``Segmenter``."""
        images = torch.from_numpy(self.first.preprocess.images(hu, pixel_mm))
        height, width = hu.shape[1:]
        return self.labels(images[torch.from_numpy(around)], height, width, pixel_mm)

    def model(self) -> ModelFacts:
        """See ``Segmenter``."""
        return ModelFacts(
            **vars(self.facts),
            classes=self.classes,
            preprocess=self.first.preprocess.plain(),
            checkpoints=[CheckpointFile(path, sha256(path)) for path in [*self.checkpoints, *self.liver_ckpt]],
        )

    def settings(self) -> RunSettings:
        """See ``Segmenter``."""
        return RunSettings(self.tta, "bf16" if self.bf16 else "32", self.device.type)

    @torch.inference_mode()
    def labels(
        self, images: Tensor, height: int, width: int, pixel_mm: tuple[float, float] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Segment images by the mean probability over all members and views.

        Args:
            images: ``(B, context, size, size)`` uint8.
            height: rows of the slices, in pixels.
            width: columns of the slices, in pixels.
            pixel_mm: size of the slices' pixels in mm, see ``Segmenter``.

        Returns:
            LiTS labels, and the lesion's probability scaled to 0…255, both ``(B, height, width)`` uint8.

        Raises:
            NotFiniteError: if a logit is NaN or infinite.
        """
        batch = images.to(self.device).float() / 255
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            scores = [self._view(member, batch, *view).float() for member in self.members for view in self.views]
        # Log-probabilities differ from logits by a constant per pixel, which changes neither labels nor probabilities.
        mean = scores[0]
        if len(scores) > 1:
            mean = torch.stack([score.log_softmax(dim=1) for score in scores]).logsumexp(dim=0)
        finite = mean.isfinite().flatten(1).all(dim=1)
        if not finite.all():
            raise NotFiniteError(int(finite.int().argmin()))
        labels, lesion = self.first.labels(mean, height, width, pixel_mm)
        return labels.cpu().numpy(), (lesion * 255).round().byte().cpu().numpy()

    @staticmethod
    def _view(member: LesionModule, batch: Tensor, turns: int, mirrored: bool) -> Tensor:
        """Return calibrated logits ``(B, K, size, size)`` of the mirrored and rotated images, rotated back."""
        seen = torch.rot90(batch.flip(-1) if mirrored else batch, turns, (-2, -1))
        logits = torch.rot90(member(seen), -turns, (-2, -1)) / member.temperature
        return logits.flip(-1) if mirrored else logits
