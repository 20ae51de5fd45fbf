"""Resume a training from a checkpoint with the settings of the command, in the folder of the run."""

import logging
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint
from torch import nn

from lits_seg.common.errors import InputError
from lits_seg.data.datamodule import SliceDataModule
from lits_seg.data.splits import require_record
from lits_seg.runs.folder import SPLIT, differences, read_config, recorded_split
from lits_seg.training.module import LesionModule

log = logging.getLogger(__name__)

# Parts of a checkpoint that Lightning restores; checkpoints with weights only lack most of them.
STATE = ("state_dict", "optimizer_states", "callbacks", "loops", "pytorch-lightning_version")


class Resume(Callback):
    """Restore weights, moments of the optimizer and counters from a checkpoint, but no setting and no path.

    - The optimizer's settings are those of the command. The scheduler is built by the command's settings, and stepped
      to the step of the checkpoint.
    - The best checkpoint of a run is looked for in the folder of the run, which may have been moved. The best
      checkpoint of another run does not count.
    """

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Require test patients that the checkpoint's run has not trained on."""
        if trainer.ckpt_path:
            _require_unseen(Path(str(trainer.ckpt_path)), trainer.datamodule)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Replace settings and paths in the checkpoint, before Lightning restores the training's state."""
        fitting = trainer.state.fn == "fit"
        if fitting:
            optimizer = instantiate(pl_module.hparams["optimizer"], params=pl_module.network.parameters())
            checkpoint["optimizer_states"][0]["param_groups"] = optimizer.state_dict()["param_groups"]
            checkpoint["lr_schedulers"] = []  # see on_train_start
        states = checkpoint["callbacks"]
        for callback in trainer.callbacks:
            state = states.get(callback.state_key)
            if state and isinstance(callback, EarlyStopping):
                state["patience"] = callback.patience
            if state and isinstance(callback, ModelCheckpoint):
                placed = _in_folder(state, callback.dirpath, Path(str(trainer.ckpt_path))) if fitting else {}
                states[callback.state_key] = {**callback.state_dict(), **placed}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Step the scheduler to the step of the checkpoint."""
        if not trainer.global_step:
            return
        for config in trainer.lr_scheduler_configs:
            config.scheduler = pl_module.scheduler(trainer.optimizers[0])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # PyTorch: steps of a scheduler before the optimizer's
                for _ in range(trainer.global_step):
                    config.scheduler.step()


def _in_folder(state: Mapping[str, Any], folder: str, checkpoint: Path) -> dict[str, Any]:
    """Return the state of a ``ModelCheckpoint`` with its paths in a folder; empty if the state is of another run."""
    best = Path(folder, Path(state["best_model_path"]).name)
    run = Path(folder).parent
    if not state["best_model_path"] or not best.is_file() or run.resolve() not in checkpoint.resolve().parents:
        return {}
    placed: dict[str, Any] = {
        key: os.path.join(folder, Path(path).name) if path else path
        for key, path in state.items()
        if key.endswith("_model_path")
    }
    placed["best_k_models"] = {os.path.join(folder, Path(path).name): s for path, s in state["best_k_models"].items()}
    return {**state, **placed, "dirpath": folder}


def _require_unseen(checkpoint: Path, datamodule: SliceDataModule) -> None:
    run = checkpoint.resolve().parent.parent
    record = recorded_split(run)
    if record is None or getattr(datamodule, "allow_overlap", False):
        return
    require_record(record, one_set=False)
    tested = datamodule.test_root or datamodule.root
    if Path(read_config(run)["data"].get("root") or "").resolve() != tested.resolve():
        return
    seen = sorted({case.name for case in datamodule.split["test"]} & {*record["train"], *record["val"]})
    if seen:
        expected = "a checkpoint that was not trained or chosen on this run's test patients (data.fold, data.split_seed)"
        raise InputError(checkpoint, expected, f"{SPLIT} of its run with {', '.join(seen)}")


def require_training_state(path: str | Path, checkpoint: Mapping[str, Any], module: LesionModule) -> None:
    """Require that a training can resume from a checkpoint, and log the settings that differ from it.

    Args:
        path: the checkpoint.
        checkpoint: its content.
        module: the network of the command, which gets the weights.

    Raises:
        InputError: if a part of the state is missing, damaged, or does not fit the network or the optimizer.
    """
    expected = "a checkpoint that a training can resume from"
    missing = [key for key in STATE if not checkpoint.get(key)]
    if missing:
        raise InputError(path, expected, f"no {', '.join(missing)}")
    stored = checkpoint["hyper_parameters"]
    differing = differences(stored, {key: module.hparams[key] for key in stored})
    needed = _moments(module)
    try:
        module.load_state_dict(checkpoint["state_dict"])
        moments = {i: _shapes(state) for i, state in checkpoint["optimizer_states"][0]["state"].items()}
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.automatic_optimization.optim_progress"]
        counts = (checkpoint["global_step"], checkpoint["epoch"], progress["optimizer"]["step"]["total"]["completed"])
        sound = all(type(count) is int and count >= 0 for count in counts)
        sound &= all(isinstance(state, dict) for state in checkpoint["callbacks"].values())
        same_kind = all(moments[i].keys() == needed[i].keys() for i in moments) and bool(moments) == any(needed.values())
        sound &= not same_kind or all(moments[i] == needed[i] for i in moments)
    except Exception as error:  # a damaged file may raise anything
        raise InputError(path, expected, f"a damaged file ({type(error).__name__})") from error
    if not sound:
        raise InputError(path, expected, "a damaged file (counters, or moments of other weights)")
    if not same_kind:
        found = f"moments of another optimizer ({'; '.join(differing)})"
        raise InputError(path, "moments that this optimizer can go on with", found)
    if differing:
        log.info("%s: the training goes on with other settings: %s", path, "; ".join(differing))


def _moments(module: LesionModule) -> dict[int, dict[str, Any]]:
    """Return the shapes of the moments that the module's optimizer keeps for each weight, found by a step of zeros."""
    weights = [nn.Parameter(torch.zeros_like(weight)) for weight in module.network.parameters()]
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    optimizer = instantiate(module.hparams["optimizer"], params=weights)
    optimizer.step(lambda: torch.zeros(()))
    return {i: _shapes(optimizer.state[weight]) for i, weight in enumerate(weights)}


def _shapes(state: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value.shape if isinstance(value, torch.Tensor) else type(value) for key, value in state.items()}
