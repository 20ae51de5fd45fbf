"""End a training whose loss, weights or labels are not sound, before a checkpoint is replaced."""

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from lits_seg.common.errors import InputError
from lits_seg.data.sampling import LIVER_OR_LESION

NEVER = 2**62  # no step
REMEDY = "a lower optimizer.lr, or trainer.gradient_clip_val=1"


class Finite(Callback):
    """End a training whose loss or weights are not finite, or whose labels are not 0, 1 or 2.

    The first such step is kept on the device in every step. Its number is read only every ``log_every_n_steps`` steps
    and before validation and checkpoints, since reading makes a GPU wait.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin without an unsound step."""
        self._since = torch.full((2,), NEVER, device=pl_module.device)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note a step with an unsound loss or label; end the training at every logged step."""
        wrong = torch.stack([~outputs["loss"].isfinite(), (batch["label"] > LIVER_OR_LESION).any()])
        self._since = torch.minimum(self._since, torch.where(wrong, trainer.global_step, NEVER))
        if (batch_idx + 1) % (trainer.log_every_n_steps or 1) == 0:
            self._require_sound_steps(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Require sound steps and weights before they are scored."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._require_sound_steps(trainer)
            require_finite_weights(pl_module, trainer.global_step)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Require sound steps and weights before any checkpoint is written."""
        if trainer.state.fn == "fit":
            self._require_sound_steps(trainer)
        require_finite_weights(pl_module, trainer.global_step)

    def _require_sound_steps(self, trainer: pl.Trainer) -> None:
        # All ranks read here at the same time, so that none of them waits for a rank that has ended.
        loss, label = trainer.strategy.reduce(self._since, reduce_op="min").tolist()
        if label != NEVER:
            raise InputError(
                f"step {label}", "labels 0, 1 and 2 in the store (delete its folder; it is made anew)", "others"
            )
        if loss != NEVER:
            raise InputError("train/loss", f"finite values ({REMEDY})", f"NaN or infinity since step {loss}")


def require_finite_weights(module: torch.nn.Module, step: int) -> None:
    """Require finite weights.

    Args:
        module: the network.
        step: number of optimizer steps, for the error.

    Raises:
        InputError: if a weight is NaN or infinite; names the first.
    """
    for name, weights in module.state_dict().items():
        if not weights.isfinite().all():
            raise InputError(name, f"finite weights ({REMEDY})", f"NaN or infinity at step {step}")
