"""What a run leaves behind beside its weights and scores: its split, curves, progress."""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, ProgressBar, TQDMProgressBar
from pytorch_lightning.loggers import TensorBoardLogger

from lits_seg.common.files import write_text
from lits_seg.runs.folder import SPLIT
from lits_seg.training import pictures

CURVES = "curves.png"


class SplitFile(Callback):
    """Writes ``split.json``: the names of the patients that trained, chose the checkpoint, and test."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """As soon as the split is known."""
        if trainer.is_global_zero:
            split = {part: [case.name for case in cases] for part, cases in trainer.datamodule.split.items()}
            write_text(self.folder / SPLIT, json.dumps(split, indent=2))


class Curves(Callback):
    """Draws ``curves.png`` from the CSV logger's files when training ends (the paper's Fig. 2)."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Only after the loggers have written all."""
        histories = sorted(self.folder.glob("metrics/version_*/metrics.csv"), key=lambda path: path.stat().st_mtime)
        if trainer.is_global_zero and histories:
            figure = pictures.curves(histories)
            figure.savefig(self.folder / CURVES, dpi=120)
            plt.close(figure)


class HParams(Callback):
    """Fills TensorBoard's HParams page: a run's facts beside its test scores. Without scores it shows no run."""

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes both, as soon as the scores are known."""
        scores = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("test/")}
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(dict(logger.hparams), scores, trainer.global_step)


class EpochLines(ProgressBar):
    """One line an epoch: progress for logs and pipes, where a moving bar would be garbled."""

    validated = False

    def disable(self) -> None:
        """Called on the ranks that must not print; ``on_validation_end`` asks for the rank itself."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Notes that there are new scores."""
        self.validated = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints step and loss, and the scores where the epoch was validated."""
        names = ["train/loss_step"] + ["val/loss", "val/dice"] * self.validated
        self.validated = False
        if not trainer.is_global_zero:
            return
        logged = trainer.callback_metrics
        values = "  ".join(f"{name} {float(logged[name]):.4f}" for name in names if name in logged)
        epochs = trainer.max_epochs if trainer.max_epochs not in (None, -1) else "?"
        print(f"epoch {trainer.current_epoch + 1}/{epochs}  step {trainer.global_step}  {values}", flush=True)


def progress() -> ProgressBar:
    """A bar in a terminal, lines elsewhere."""
    return TQDMProgressBar() if sys.stdout.isatty() else EpochLines()
