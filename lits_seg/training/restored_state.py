"""Restore the state of a training with the settings of the command, in the folder of the run."""

import logging
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint

from lits_seg.runs.folder import in_run
from lits_seg.training.resume import inherit_patients

log = logging.getLogger(__name__)


class RestoredState(Callback):
    """Restore weights, moments of the optimizer and counters from a checkpoint, but no setting and no path.

    - The optimizer's settings are those of the command. The scheduler is built by the command's settings, and stepped
      to the step of the checkpoint.
    - The best checkpoint of a run is looked for in the folder of the run, which may have been moved. The best
      checkpoint of another run does not count.
    - After a checkpoint of an epoch's end, the next epoch begins. With ``max_steps``, Lightning would repeat the end
      without batches, and the run would then draw other slices than an uninterrupted one.
    """

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Replace settings and paths in the checkpoint, before Lightning restores the training's state.

        Raises:
            InputError: if patients are split anew, and the checkpoint's run has trained on a test patient.
        """
        fitting = trainer.state.fn == "fit"
        if fitting and trainer.datamodule.recorded is None:
            inherit_patients("ckpt_path", Path(str(trainer.ckpt_path)), trainer.datamodule)
        if fitting:
            groups = pl_module.new_optimizer().state_dict()["param_groups"]
            checkpoint["optimizer_states"][0]["param_groups"] = groups
            checkpoint["lr_schedulers"] = []  # see on_train_start
            for epochs in checkpoint["loops"]["fit_loop"]["epoch_progress"].values():
                epochs["completed"] = epochs["processed"]  # Lightning counts the end after it has saved
        elif "current_model_state" in checkpoint:
            # An average of the weights is what was validated and is saved. Lightning would test the last weights.
            checkpoint["current_model_state"] = checkpoint["state_dict"]
        states = checkpoint["callbacks"]
        for callback in trainer.callbacks:
            state = states.get(callback.state_key)
            if state and isinstance(callback, EarlyStopping):
                state["patience"] = callback.patience
            if state and isinstance(callback, ModelCheckpoint):
                placed = _in_folder(state, callback.dirpath, Path(str(trainer.ckpt_path))) if fitting else {}
                states[callback.state_key] = {**callback.state_dict(), **placed}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin an epoch if the checkpoint has ended one, and step the scheduler to the step of the checkpoint."""
        if not trainer.global_step:
            return
        epochs = trainer.fit_loop.epoch_progress.current
        if epochs.processed == epochs.ready:
            trainer.fit_loop.epoch_loop.restarting = False
        for config in trainer.lr_scheduler_configs:
            config.scheduler = pl_module.scheduler(trainer.optimizers[0])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # PyTorch: steps of a scheduler before the optimizer's
                # A damaged checkpoint may state any step.
                for _ in range(min(trainer.global_step, int(min(trainer.estimated_stepping_batches, 10**7)))):
                    config.scheduler.step()


def _in_folder(state: Mapping[str, Any], folder: str, checkpoint: Path) -> dict[str, Any]:
    """Return the state of a ``ModelCheckpoint`` with its paths in a folder; empty if the state is of another run."""

    def moved(path: str) -> str:
        return os.path.join(folder, Path(path).name) if path else path

    best = state.get("best_model_path")
    if not best or not in_run(Path(folder).parent, checkpoint):
        return {}
    if not Path(moved(best)).is_file():
        log.warning("%s is missing: the next validation makes a new best checkpoint", moved(best))
        return {}
    paths: dict[str, Any] = {key: moved(path) for key, path in state.items() if key.endswith("_model_path")}
    return {
        **state,
        **paths,
        "best_k_models": {moved(k): v for k, v in state["best_k_models"].items()},
        "dirpath": folder,
    }
