"""Learn from the probabilities of another network."""

from collections.abc import Sequence

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor
from torch.nn import functional

from lits_seg.common.errors import InputError
from lits_seg.training.checkpoints import load_module
from lits_seg.training.module import AuxiliaryLoss, LesionModule


class Distillation(Callback):
    """A callback that adds the divergence from a teacher to the training loss (Hinton et al., 2015).

    The teacher sees the same augmented images. Several teachers are averaged.

    Args:
        teachers: paths of checkpoints with the same pre-processing, context and classes as the student.
        weight: weight of the divergence.
        temperature: divides the logits of both networks; above 1, small probabilities count more.

    Raises:
        InputError: if a teacher does not fit, or if a value is out of range.
    """

    def __init__(self, teachers: Sequence[str], weight: float = 0.5, temperature: float = 2.0) -> None:
        for name, value in (("weight", weight), ("temperature", temperature)):
            if not value > 0:
                raise InputError(f"callbacks.distillation.{name}", "above 0", value)
        if not teachers:
            raise InputError("callbacks.distillation.teachers", "at least one checkpoint", "none")
        self.teachers, self.weight, self.temperature = list(teachers), weight, temperature

    def setup(self, trainer: pl.Trainer, pl_module: LesionModule, stage: str) -> None:
        """Load the teachers and check that they fit the student."""
        if stage != "fit":
            return
        loaded = [load_module(path) for path in self.teachers]
        for path, teacher in zip(self.teachers, loaded, strict=True):
            for name in ("preprocess", "context", "classes"):
                wanted, found = getattr(pl_module, name), getattr(teacher, name)
                if wanted != found:
                    raise InputError(path, f"a teacher with {name} {wanted}, as the student", found)
            teacher.requires_grad_(False)
        pl_module.auxiliary_losses.append(self._loss(loaded))

    def _loss(self, teachers: list[LesionModule]) -> AuxiliaryLoss:
        def loss(images: Tensor, logits: Tensor, target: Tensor) -> Tensor:
            with torch.no_grad():
                given = torch.stack(
                    [(teacher.to(images.device)(images).float() / self.temperature).softmax(1) for teacher in teachers]
                ).mean(0)
            student = (logits / self.temperature).log_softmax(1)
            divergence = functional.kl_div(student, given, reduction="none").sum(1).mean()
            return self.weight * self.temperature**2 * divergence

        return loss
