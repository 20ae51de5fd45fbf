"""Average the weights of a training, with statistics of batch norm that fit the average."""

from collections import deque
from contextlib import ExitStack
from typing import Annotated, Any

import pytorch_lightning as pl
import torch
from annotated_types import Ge, Gt, Le, Lt
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn, update_bn

from lits_seg.models import Cascade

STATISTICS = ("running_mean", "running_var")


class AveragedWeights(WeightAveraging):
    """An exponential moving average of the weights, which is validated, tested and saved.

    Batch norm normalizes by the mean and the variance of its inputs. These do not fit the averaged weights, since they
    were gathered with other weights. Before each validation and each checkpoint, they are estimated again by the
    averaged network, from the last training batches of the epoch. Networks without batch norm are only averaged.
    Lightning's ``EMAWeightAveraging`` updates one tensor at a time, which takes four times as long on a CPU.

    Args:
        decay: share of the old average that remains after each step, in [0, 1).
        batches: number of batches for the statistics, whose images are kept on the device.
    """

    def __init__(
        self, decay: Annotated[float, Ge(0), Lt(1)] = 0.998, batches: Annotated[int, Gt(0), Le(1000)] = 20
    ) -> None:
        super().__init__(multi_avg_fn=get_ema_multi_avg_fn(decay))
        self._images: deque[Tensor] = deque(maxlen=batches)
        self._estimated = -1  # the step whose average has its statistics

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Move the average to the device of the training; Lightning copies the network before it is moved there."""
        if self._average_model is not None:
            self._average_model.to(pl_module.device)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget the batches of the epoch before, which a resumed run has not seen."""
        self._images.clear()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep the images of a batch."""
        self._images.append(batch["image"])

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Estimate the statistics of the average, which is validated."""
        self._estimate(trainer)
        super().on_validation_epoch_start(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Estimate the statistics of the average, which is saved."""
        self._estimate(trainer)
        super().on_save_checkpoint(trainer, pl_module, checkpoint)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Estimate the statistics of the average, which replaces the weights."""
        self._estimate(trainer)
        super().on_train_end(trainer, pl_module)

    def _estimate(self, trainer: pl.Trainer) -> None:
        if self._average_model is None or not self._images or self._estimated == trainer.global_step:
            return
        self._estimated = trainer.global_step
        torch.manual_seed(trainer.global_step)  # for dropout, so that a resumed run draws the same numbers
        cascades = [part for part in self._average_model.modules() if isinstance(part, Cascade)]
        with trainer.precision_plugin.forward_context(), ExitStack() as fixed:
            for cascade in cascades:
                fixed.enter_context(cascade.hidden_liver())
            update_bn(self._images, self._average_model.module)
        for name, values in self._average_model.module.named_buffers():
            if name.endswith(STATISTICS):  # each rank has seen batches of its own
                values.copy_(trainer.strategy.reduce(values, reduce_op="mean"))
