"""Learn from the probabilities of other networks."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytorch_lightning as pl
import torch
from monai.transforms import Compose
from pytorch_lightning.callbacks import Callback
from torch import Tensor
from torch.nn import functional

from lits_seg.common.errors import InputError
from lits_seg.data.probability_maps import with_maps
from lits_seg.packaged.card import CHECKPOINT, packaged_file
from lits_seg.training.checkpoints import load_module
from lits_seg.training.module import LesionModule
from lits_seg.training.resume import inherit_patients

SETTING = "callbacks.distillation"
LEAST = 1 / 510  # half a step of a stored probability: a map's 0 is no certainty


class Distillation(Callback):
    """A callback that adds the divergence from teachers to the training loss (Hinton et al., 2015).

    A teacher is a network, which sees the same augmented images, or a folder with maps of the lesion's probability, as
    ``predict`` writes them, which are augmented as the labels are. Several teachers of a kind are averaged. Teachers
    also teach where labels are unknown. Maps are unknown where synthetic lesions are drawn.

    Args:
        teachers: paths of checkpoints (or ``packaged``) with the same pre-processing, context and classes as the
            student, which have not seen the test patients, and of folders with maps of the training patients, see
            ``with_maps``.
        weight: weight of the divergence.
        temperature: divides the logits of teacher and student; above 1, small probabilities count more.

    Raises:
        InputError: if a teacher does not fit, or if a value is out of range.
    """

    def __init__(self, teachers: Sequence[str], weight: float = 0.5, temperature: float = 2.0) -> None:
        for name, value in (("weight", weight), ("temperature", temperature)):
            if not value > 0:
                raise InputError(f"{SETTING}.{name}", "above 0", value)
        if not teachers:
            raise InputError(f"{SETTING}.teachers", "at least one checkpoint or folder with maps", "none")
        self.folders = [Path(path) for path in teachers if Path(path).is_dir()]
        self.checkpoints = [packaged_file(path, CHECKPOINT) for path in teachers if not Path(path).is_dir()]
        self.weight, self.temperature = weight, temperature

    def setup(self, trainer: pl.Trainer, pl_module: LesionModule, stage: str) -> None:
        """Load the teachers and check that they fit the student and the patients."""
        if stage != "fit":
            return
        networks = [load_module(path) for path in self.checkpoints]
        for number, (path, teacher) in enumerate(zip(self.checkpoints, networks, strict=True), start=1):
            for name in ("preprocess", "context", "classes", "structures"):
                learner = pl_module.learned if name in ("classes", "structures") else pl_module
                wanted, found = getattr(learner, name), getattr(teacher, name)
                if wanted != found:
                    raise InputError(path, f"a teacher with {name} {wanted}, as the student", found)
            teacher.requires_grad_(False)
            inherit_patients(f"teacher {number}", Path(path), trainer.datamodule)
        if self.folders:
            data = trainer.datamodule
            if "lesion" not in pl_module.structures:
                raise InputError(f"{SETTING}.teachers", "checkpoints with foreground=liver", "maps of lesions")
            if isinstance(data.augment, Compose):
                found = "probability maps, and augmentation one by one"
                raise InputError(f"{SETTING}.teachers", "checkpoints, or augmentation by batches", found)
            roots = {"": data.root, **{name: Path(source.root) for name, source in data.sources.items()}}
            data.split["train"] = with_maps(
                data.split["train"], self.folders, roots, data.preprocess, data.data_sets.store
            )
        share = len(networks) / (len(networks) + len(self.folders))

        def loss(batch: Mapping[str, Tensor], logits: Tensor) -> Tensor:
            total = logits.new_zeros(())
            if networks:
                total = total + share * self._from_networks(networks, batch["image"], logits)
            if self.folders:
                total = total + (1 - share) * self._from_maps(batch["maps"], logits)
            return self.weight * self.temperature**2 * total

        pl_module.auxiliary_losses.append(loss)

    def _from_networks(self, teachers: Sequence[LesionModule], images: Tensor, logits: Tensor) -> Tensor:
        """Return the mean divergence of all classes from the average of networks."""
        with torch.no_grad():
            given = torch.stack(
                [(teacher.to(images.device)(images).float() / self.temperature).softmax(1) for teacher in teachers]
            ).mean(0)
        return _divergence((logits / self.temperature).log_softmax(1), given).mean()

    def _from_maps(self, maps: Tensor, logits: Tensor) -> Tensor:
        """Return the mean divergence of the lesion from the average of maps ``(B, N, H, W)``, where these are known."""
        average = maps.mean(1)
        known = average.isfinite()
        teacher = average.nan_to_num(0.5).clamp(LEAST, 1 - LEAST).logit() / self.temperature
        student = (logits[:, -1] - logits[:, :-1].logsumexp(1)) / self.temperature
        given = torch.stack([-teacher, teacher], 1).sigmoid()
        divergence = _divergence(functional.logsigmoid(torch.stack([-student, student], 1)), given)
        return torch.where(known, divergence, 0).sum() / known.sum().clamp(min=1)


def _divergence(logarithms: Tensor, given: Tensor) -> Tensor:
    """Return the divergence of each pixel, ``(B, H, W)``, from log-probabilities and given ones ``(B, K, H, W)``."""
    return functional.kl_div(logarithms, given, reduction="none").sum(1)
