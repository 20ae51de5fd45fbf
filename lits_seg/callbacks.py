"""What a run leaves behind beside its weights: scores, curves, overlays."""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, ProgressBar, TQDMProgressBar
from pytorch_lightning.loggers import WandbLogger
from torch import Tensor

from lits_seg import figures, metrics
from lits_seg.runs import SPLIT, write_text
from lits_seg.tables import csv_text

CASES, CURVES, OVERLAYS = "test_cases.csv", "curves.png", "overlays.png"


class SplitFile(Callback):
    """Writes ``split.json``: the names of the patients that trained, chose the checkpoint, and test."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """As soon as the split is known."""
        if trainer.is_global_zero:
            split = {part: [case.name for case in cases] for part, cases in trainer.datamodule.split.items()}
            write_text(self.folder / SPLIT, json.dumps(split, indent=2))


class CaseScores(Callback):
    """Writes ``test_cases.csv``, a row a patient, after a test; to W&B as a table."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.rows: list[dict[str, Any]] = []

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Collects the scores on every rank; the first one writes."""
        self.rows = case_rows(trainer.datamodule.split["test"], pl_module.overlap.compute().cpu())
        if not trainer.is_global_zero:
            return
        write_text(self.folder / CASES, csv_text(self.rows))
        for logger in _wandb(trainer):
            logger.log_table("test/cases", columns=list(self.rows[0]), data=[list(row.values()) for row in self.rows])


def case_rows(cases: list, counts: Tensor) -> list[dict[str, Any]]:
    """Scores and lesion volumes (mL) of each patient, from counts ``(patients, structures, 3)``."""
    scores = metrics.case_scores(counts[:, 0])
    rows = []
    for number, case in enumerate(cases):
        voxel_ml = float(np.prod(case.spacing)) / 1000
        _, predicted, true = counts[number, 0].tolist()
        rows.append(
            {
                "case": case.name,
                "slices": len(case),
                "lesion_ml": round(true * voxel_ml, 4),
                "predicted_ml": round(predicted * voxel_ml, 4),
                **{name: float(values[number]) for name, values in scores.items()},
            }
        )
    return rows


class Curves(Callback):
    """Draws ``curves.png`` from the CSV logger's files when training ends (the paper's Fig. 2)."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Only after the loggers have written all."""
        histories = sorted(self.folder.glob("metrics/version_*/metrics.csv"), key=lambda path: path.stat().st_mtime)
        if trainer.is_global_zero and histories:
            figure = figures.curves(histories)
            figure.savefig(self.folder / CURVES, dpi=120)
            plt.close(figure)


class Overlays(Callback):
    """Draws ``overlays.png``: for some test patients the slice with most lesion: image, truth, prediction.

    The paper's Fig. 3. To W&B as images with masks. With several ranks: of the slices that the first one saw.

    Args:
        folder: where the picture goes.
        patients: at most so many rows, from the best to the worst Dice.
    """

    def __init__(self, folder: str | Path, patients: int = 5) -> None:
        self.folder, self.patients = Path(folder), patients
        self.slices: dict[int, dict[str, Any]] = {}

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets an earlier test."""
        self.slices = {}

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keeps a patient's slice with the most lesion, by the truth, else by the prediction."""
        area = (batch["truth"] == 2).sum(dim=(1, 2)) * 2**32 + (outputs == 2).sum(dim=(1, 2))
        i = int(area.argmax())
        patient = int(batch["case"][i])
        if area[i] >= self.slices.get(patient, {"area": 0})["area"]:
            self.slices[patient] = {
                "area": int(area[i]),
                "slice": int(batch["slice"][i]),
                "image": batch["image"][i, batch["image"].shape[1] // 2].cpu().numpy(),
                "truth": batch["truth"][i].cpu().numpy(),
                "predicted": outputs[i].cpu().numpy(),
            }

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draws."""
        dice = metrics.case_scores(pl_module.overlap.compute()[:, 0].cpu())["dice"]
        if not trainer.is_global_zero or not self.slices:
            return
        ranked = sorted(self.slices, key=lambda patient: -float(dice[patient]))
        chosen = sorted({ranked[int(i)] for i in np.linspace(0, len(ranked) - 1, self.patients)}, key=ranked.index)
        cases = trainer.datamodule.split["test"]
        rows = [
            {
                **self.slices[patient],
                "title": f"{cases[patient].name}, slice {self.slices[patient]['slice']}, Dice {dice[patient]:.2f}",
            }
            for patient in chosen
        ]
        figure = figures.overlays(rows)
        figure.savefig(self.folder / OVERLAYS, dpi=110)
        plt.close(figure)
        for logger in _wandb(trainer):
            logger.log_image(
                "test/overlays",
                [figures.on_grid(row["image"], *row["truth"].shape) for row in rows],
                caption=[row["title"] for row in rows],
                masks=[
                    {
                        part: {
                            "mask_data": row[part],
                            "class_labels": {0: "background", 1: "liver", 2: "lesion"},
                        }
                        for part in ("truth", "predicted")
                    }
                    for row in rows
                ],
            )


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


def _wandb(trainer: pl.Trainer) -> list[WandbLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]
