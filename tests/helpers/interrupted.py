"""Runs that end early, within this process."""

from pathlib import Path

import pytest
import pytorch_lightning as pl
from omegaconf import OmegaConf

from helpers.commands import SMOKE, run_command

CUT = "+callbacks.cut={_target_:helpers.interrupted.Cut,epochs:%d}"


class Cut(pl.Callback):
    """End a training as a crash would, when some epochs have their checkpoints."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == self.epochs:
            raise RuntimeError("cut")


def interrupted_run(folder: Path, *arguments: str, epochs: int = 2) -> None:
    """Train until the process would have been killed. ``arguments`` name the run."""
    with pytest.raises(RuntimeError, match="cut"):
        run_command("train", *SMOKE, *arguments, CUT % epochs, cwd=folder)
    for path in folder.glob("runs/**/config.yaml"):  # as if the training had not had the callback that ended it
        config = OmegaConf.load(path)
        config.callbacks.pop("cut", None)
        OmegaConf.save(config, path)
