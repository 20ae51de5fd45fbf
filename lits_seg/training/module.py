"""The LightningModule: trains any network that maps images to logits, and scores whole volumes."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MeanMetric

from lits_seg import metrics
from lits_seg.common.errors import InputError
from lits_seg.data.preprocess import PixelSize
from lits_seg.data.sampling import LIVER_OR_LESION
from lits_seg.metrics.counts import VolumeOverlap
from lits_seg.models import Cascade, DetectorCascade
from lits_seg.postprocess import Rules
from lits_seg.training.loss_terms import SideOutputs
from lits_seg.training.losses import set_counts
from lits_seg.training.malloc import keep_freed_memory
from lits_seg.training.rates import Rates, optimizer_of
from lits_seg.training.schedules import Decay, progress, scheduler_of
from lits_seg.training.seen_volumes import SeenVolumes
from lits_seg.training.targets import Foreground, LossRegion, Targets, by_slice, merged, middle

# Called with the batch after augmentation, as ``SliceDataModule`` returns it, and logits (B, K, H, W).
AuxiliaryLoss = Callable[[Mapping[str, Tensor], Tensor], Tensor]
AUXILIARY = "auxiliary."  # start of the names of weights of modules that callbacks add


class LesionModule(pl.LightningModule):
    """A LightningModule that trains a network on slices and scores the network on volumes.

    All settings are plain containers as in ``conf/`` and name their classes by ``_target_``. A checkpoint therefore
    describes its own content and loads without unpickling any code.

    Args:
        model: config of the network, which maps ``(B, context, size, size)`` to ``(B, K, size, size)``. K is 2
            (``foreground`` or not) or 3 (LiTS labels). In training, the network may return a tuple: its logits, and
            those of side outputs. If it has ``out_slices``, its logits in training are ``(B, K, out_slices, H, W)``.
        loss: config of the loss.
        optimizer: config of the optimizer.
        scheduler: config of the learning rate's scheduler, which is stepped every batch. The value ``auto`` is replaced
            by the number of steps of the run. None: a constant learning rate.
        preprocess: config of the pre-processing from HU to images, which the network depends on.
        seed: seed of dropout.
        rules: arguments of ``Rules``, which turn the labels of a whole CT into its mask.
        temperature: divisor of the logits that calibrates the probabilities; it changes no label.
        foreground: the structure of a network with two classes: ``lesion``, or ``liver`` (with its lesions).
        loss_region: pixels that the loss sees: ``all``; those of the reference ``liver``; or, if the network is a
            ``models.Cascade``, those of the ``predicted_liver``. The others count as correct.
        rates: factors of the learning rate by parts of the weights' names, see ``rates.factors``; None: one rate.

    Attributes:
        auxiliary: modules that callbacks add for the training only, such as those of ``DeepSupervision``.
        auxiliary_losses: losses that callbacks add to the training loss.
        val_dice: name of the logged validation Dice: of the lesions, or of the liver if the network finds no lesions.

    Raises:
        InputError: if the number of classes is neither 2 nor 3, if the temperature is not positive, or if classes,
            ``foreground`` and ``loss_region`` do not fit each other.
    """

    def __init__(
        self,
        model: Mapping[str, Any],
        loss: Mapping[str, Any],
        optimizer: Mapping[str, Any],
        scheduler: Mapping[str, Any] | None,
        preprocess: Mapping[str, Any],
        seed: int = 0,
        rules: Mapping[str, Any] | None = None,
        temperature: float = 1.0,
        foreground: Foreground = "lesion",
        loss_region: LossRegion = "all",
        rates: Rates | None = None,
    ) -> None:
        super().__init__()
        # Only for the checkpoint: in loggers, these names would overwrite the run's facts, which train.py logs.
        self.save_hyperparameters(logger=False)
        self.network = instantiate(model).to(memory_format=torch.channels_last)
        self.loss = instantiate(loss)
        self.preprocess = instantiate(preprocess)
        self.context = int(model.get("in_channels", 1))
        self.classes = int(model["out_channels"])
        self.targets = Targets(self.classes, foreground, loss_region)
        # A cascade segments the liver, too, but learns lesions.
        self.learned = replace(self.targets, classes=getattr(self.network, "trained_classes", self.classes))
        self.out_slices = int(getattr(self.network, "out_slices", 1))
        if loss_region == "predicted_liver" and not isinstance(self.network, Cascade):
            raise InputError("loss_region", "all or liver, without a liver network (liver_ckpt=…)", loss_region)
        # The weights of the classes have their shape from the start, as averages of all weights need.
        set_counts(self.loss, [1] * self.learned.classes)
        self.structures = self.targets.structures
        self.val_dice = "val/dice" if "lesion" in self.structures else "val/liver/dice"
        self.rates = rates or {}
        self.rules = Rules(**(rules or {}))
        if not 0 < temperature < math.inf:
            raise InputError("module.temperature", "a number greater than 0", temperature)
        self.temperature = temperature
        self.seen: SeenVolumes  # of a validation or test
        self.train_overlap = VolumeOverlap(1, self.structures)
        self.train_loss = MeanMetric(nan_strategy="disable")  # callbacks.Finite reports NaN
        self.auxiliary = nn.ModuleDict()
        self.auxiliary_losses: list[AuxiliaryLoss] = []
        self.keep_freed_memory = True  # while training on a CPU, see training.malloc

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(B, context, H, W)`` in [0, 1] to logits ``(B, K, H, W)``."""
        return self.network(images.contiguous(memory_format=torch.channels_last))

    def labels(
        self, logits: Tensor, height: int, width: int, pixel_mm: PixelSize | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return LiTS labels and the lesion's probability at the slices' own resolution.

        Validation, test, prediction and the check of exported files all call this method. Only the exported graph has
        an implementation of its own (``exporters.graph.Restore``), since ``argmax`` is slow in some runtimes.

        Args:
            logits: ``(B, K, size, size)``, divided by the temperature. Log-probabilities differ by a constant per pixel
                and give the same result.
            height: rows of the slices, in pixels.
            width: columns of the slices, in pixels.
            pixel_mm: size of the slices' pixels in mm, see ``Preprocess.restore``.

        Returns:
            Labels uint8 and probability in [0, 1], both ``(B, height, width)``; 0 if the network finds livers only.
        """
        # Prediction is here outside of autocast; in 16 bits, products of matrices would give others near a border.
        with torch.autocast(logits.device.type, enabled=False):
            restored = self.preprocess.restore(logits, height, width, pixel_mm)
        labels, lesion = self.targets.lits(_classes(restored)).byte(), restored.softmax(dim=1)[:, -1]
        return labels, lesion if "lesion" in self.structures else torch.zeros_like(lesion)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Require the layers that callbacks have added to this training, before Lightning restores the weights.

        Raises:
            InputError: if the checkpoint has others; names them.
        """
        added = {name: tuple(value.shape) for name, value in self.state_dict().items() if name.startswith(AUXILIARY)}
        stored = checkpoint["state_dict"]
        found = {name: tuple(stored[name].shape) for name in stored if name.startswith(AUXILIARY)}
        if added != found:
            expected = f"a checkpoint with the layers of this training's callbacks: {_names(added)} (or init_from=…)"
            raise InputError("ckpt_path", expected, _names(found))

    def on_fit_start(self) -> None:
        """Set the loss's class weights from the training set's label counts; on a CPU, keep freed memory.

        Raises:
            InputError: if a callback needs the slices in the training of a detector, which sees windows.
        """
        averaged = any(isinstance(callback, WeightAveraging) for callback in self.trainer.callbacks)
        if isinstance(self.network, DetectorCascade) and (averaged or self.auxiliary_losses):
            expected = "neither ema nor further losses with model=detector, which learns from windows of the slices"
            raise InputError("callbacks", expected, "ema" if averaged else "a further loss")
        if self.device.type == "cpu":
            keep_freed_memory(self.keep_freed_memory)
        set_counts(self.loss, self.learned.counts(*self.trainer.datamodule.label_counts()))

    def on_train_batch_start(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Seed dropout by the step, so that a resumed run draws the same numbers as an uninterrupted run."""
        of_step = batch_idx % self.trainer.accumulate_grad_batches  # several batches may make a step
        place = 8_191 * self.global_step + 131 * self.global_rank + 65_537 * of_step
        torch.manual_seed(1_000_003 * self.hparams.seed + place)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of a batch and count its voxels."""
        if isinstance(self.network, DetectorCascade):
            windows, label = self.network.lesion.draw(batch["image"], batch["label"])
            batch = {**batch, "image": windows, "label": label}
        outputs = self(batch["image"])
        # On a CPU, losses sum over classes and pixels faster in PyTorch's default memory format.
        logits, *sides = (one.float().contiguous() for one in (outputs if isinstance(outputs, tuple) else (outputs,)))
        label, slices = self._seen_label(batch, logits), self.out_slices
        losses = [self.known_loss(by_slice(one, slices, True), by_slice(label, slices)) for one in (logits, *sides)]
        side_weight = self.loss.side_weight(self.progress()) if isinstance(self.loss, SideOutputs) else 1.0
        loss = losses[0] + side_weight * torch.stack(losses[1:]).sum() if sides else losses[0]
        shown, truth = {**batch, "label": middle(label, slices)}, middle(batch["label"], slices)
        logits = middle(logits, slices, True)
        for auxiliary in self.auxiliary_losses:
            loss = loss + auxiliary(shown, logits)
        self.log("train/loss_step", loss)
        self.train_loss.update(loss.detach())
        everyone = torch.zeros(len(logits), dtype=torch.long, device=self.device)
        truth = truth.where(truth < LIVER_OR_LESION, 1)
        self.train_overlap.update(self.learned.lits(_classes(logits.detach())), truth, everyone)
        return loss

    def known_loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the loss of the pixels whose labels are known, see ``Targets.known``."""
        return self.loss(*self.learned.known(logits, label))

    def _seen_label(self, batch: Mapping[str, Tensor], logits: Tensor) -> Tensor:
        """Return the labels; outside of the middle slice's predicted liver, if it is ``loss_region``, none is known."""
        label = batch["label"]
        if self.targets.region != "predicted_liver":
            return label
        outside = self.network.outside_liver(batch["image"], logits)
        return label.masked_fill(outside if label.dim() == 3 else outside[:, None], LIVER_OR_LESION)

    def on_train_epoch_end(self) -> None:
        """Log the mean loss of the epoch's steps, and the Dice of its augmented training slices together."""
        dice = metrics.global_dice(self.train_overlap.compute()[:, 0].cpu())
        # Lightning's own mean would be synchronized earlier on the first rank, which shows progress.
        self.log_dict({"train/loss_epoch": self.train_loss.compute(), "train/dice_global": dice}, sync_dist=True)
        self.train_loss.reset()
        self.train_overlap.reset()

    def on_validation_epoch_start(self) -> None:
        """Begin to count voxels."""
        self.seen = SeenVolumes(self.trainer, "val", self.structures, self.device)

    def on_test_epoch_start(self) -> None:
        """Begin to count slices."""
        self.seen = SeenVolumes(self.trainer, "test", self.structures, self.device)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Count the voxels of a batch."""
        self._evaluate(batch)

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Count the voxels of a batch; return LiTS labels and the lesion's probability, ``(B, H, W)``, to callbacks."""
        return self._evaluate(batch)

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the validation volumes, before any rules."""
        # The counts are already summed over ranks, so sync_dist averages equal values.
        for name, value in self.seen.scores().items():
            self.log(f"val/{name}", value, sync_dist=True, prog_bar=name in ("dice", "liver/dice"))

    def on_test_epoch_end(self) -> None:
        """Require slices without errors; ``PatientScores`` scores the test volumes."""
        self.seen.require_sound()

    def _evaluate(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        logits = self(batch["image"]).float()
        if self.seen.part == "val":
            loss = self.known_loss(merged(logits, self.learned.classes), self._seen_label(batch, logits))
            self.log("val/loss", loss, sync_dist=True, batch_size=len(logits))
        else:
            self.seen.require_finite(logits, batch)
        height, width = batch["truth"].shape[-2:]
        predicted, probability = self.labels(logits / self.temperature, height, width, batch["pixel_mm"])
        self.seen.update(logits, predicted, batch)
        return {"labels": predicted, "probability": probability}

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Update the weights; a step that is too large for any float is an error of the user's."""
        try:
            super().optimizer_step(*args, **kwargs)
        except RuntimeError as error:
            if "overflow" not in str(error):
                raise
            raise InputError("optimizer.lr", "a learning rate that gives finite weights", error) from error

    def configure_optimizers(self) -> dict[str, Any]:
        """Return the optimizer and, if there is a config for one, the scheduler."""
        optimizer = self.new_optimizer()
        scheduler = self.scheduler(optimizer)
        if scheduler is None:
            return {"optimizer": optimizer}
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def new_optimizer(self) -> Optimizer:
        """Return an optimizer of the weights of the network and of the modules that callbacks added."""
        return optimizer_of(self.hparams.optimizer, self.network, self.auxiliary, self.rates)

    def scheduler(self, optimizer: Optimizer) -> LRScheduler | None:
        """Return a scheduler at its first step; None: a constant learning rate."""
        config = self.hparams.scheduler
        return None if config is None else scheduler_of(config, optimizer, self.trainer)

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Set the learning rate after a step; ``Decay`` follows the progress of the run."""
        if isinstance(scheduler, Decay):
            scheduler.progress = self.progress()
        super().lr_scheduler_step(scheduler, metric)

    def progress(self) -> float:
        """Return the share of the training that is done, by steps or by time, in [0, 1]."""
        return progress(self.trainer)


def _classes(logits: Tensor) -> Tensor:
    """Return the class of the largest logit, the first of equal ones; on a CPU, up to ten times as fast as argmax."""
    return logits.max(dim=1).indices


def _names(layers: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in layers.items()) or "none"
