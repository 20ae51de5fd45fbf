"""Callbacks that write a run's split, learning curves and hyper-parameters, and show progress."""

import json
import logging
import sys
from pathlib import Path
from typing import Annotated

import matplotlib.pyplot as plt
import pytorch_lightning as pl
from annotated_types import Gt, Le
from pytorch_lightning.callbacks import Callback, ProgressBar, Timer, TQDMProgressBar
from pytorch_lightning.loggers import TensorBoardLogger

from lits_seg.common.errors import InputError
from lits_seg.common.files import write_text
from lits_seg.common.records import as_plain
from lits_seg.data.split_record import SplitRecord
from lits_seg.data.splits import PARTS
from lits_seg.runs.folder import CURVES, SPLIT
from lits_seg.training import pictures

log = logging.getLogger(__name__)


class SplitFile(Callback):
    """Write ``split.json`` once in a run: the patients for training, validation and test, and hashes of their voxels.

    The file also has the patients that other networks of the training have seen, see ``SplitRecord``.

    Args:
        folder: the run's folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the file as soon as the split is known; a recorded split must be the same.

        Raises:
            InputError: if the recorded split is another one.
        """
        data, path = trainer.datamodule, self.folder / SPLIT
        record = SplitRecord.of(data.split, data.inherited)
        if not path.exists():
            if trainer.is_global_zero:
                write_text(path, json.dumps(as_plain(record), indent=2))
            return
        before = SplitRecord.read(path)
        if any(before.names(part) != record.names(part) for part in PARTS):
            raise InputError(path, f"this run's split, {json.dumps(as_plain(record))}", json.dumps(as_plain(before)))


class Curves(Callback):
    """Draw ``curves.png`` from the CSV logger's files when training ends (the paper's Fig. 2).

    Args:
        folder: the run's folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw after the loggers have written all values."""
        if not trainer.is_global_zero:
            return
        try:
            values = pictures.history(self.folder)
        except InputError as error:  # the test and the result must not depend on an earlier start's file
            log.warning("no %s: %s", CURVES, error)
            return
        if not values:
            return
        figure = pictures.curves(values, pl_module.val_dice)
        figure.savefig(self.folder / CURVES, dpi=120)
        plt.close(figure)


def timer(minutes: Annotated[float, Gt(0), Le(1_000_000)] | None = None) -> Timer:
    """Return a callback that measures the training time and, if a budget is given, ends the training after it.

    Args:
        minutes: budget in minutes of training, over all parts of a resumed run; None: no budget.
    """
    return Timer(None if minutes is None else {"minutes": minutes})


class HParams(Callback):
    """Log a run's facts and test scores to TensorBoard's HParams page, which hides runs without scores."""

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write facts and scores as soon as the scores are known."""
        scores = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("test/")}
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(dict(logger.hparams), scores, trainer.global_step)


class EpochLines(ProgressBar):
    """Print one line per epoch, since a progress bar would garble log files and pipes."""

    validated = False
    line = ""

    def disable(self) -> None:
        """Do nothing: lines are noted on the first rank only."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember that this epoch has validation scores."""
        self.validated = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note step and loss and, if this epoch was validated, the validation scores."""
        logged = trainer.callback_metrics
        names = ["train/loss_step", *(["val/loss", pl_module.val_dice] if self.validated else [])]
        self.validated = False
        if not trainer.is_global_zero:
            return
        values = "  ".join(f"{name} {float(logged[name]):.4f}" for name in names if name in logged)
        epochs = trainer.max_epochs if trainer.max_epochs not in (None, -1) else "?"
        self.line = f"epoch {trainer.current_epoch + 1}/{epochs}  step {trainer.global_step}  {values}"

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the line of the epoch before, whose checkpoint is written by now: a kill cannot lose the epoch."""
        self._print()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the line of the last epoch."""
        self._print()

    def _print(self) -> None:
        if self.line:
            print(self.line, flush=True)
        self.line = ""


def progress() -> ProgressBar:
    """Return a progress bar if stdout is a terminal; otherwise print a line per epoch."""
    return TQDMProgressBar() if sys.stdout.isatty() else EpochLines()
