"""A training whose numbers are not sound ends before a checkpoint is replaced, and says since when."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from helpers.checkpoints import SETTINGS
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from torch.utils.data import DataLoader

from lits_seg.common.errors import InputError
from lits_seg.training.finite import Finite
from lits_seg.training.module import LesionModule

pytestmark = pytest.mark.hostile


class Case(SimpleNamespace):
    """Four slices of a patient."""

    name = "p7"

    def __len__(self) -> int:
        return 4


class Slices(pl.LightningDataModule):
    """Two steps an epoch, and one patient to validate; ``odd``: the label in the third step and in validation."""

    odd, odd_truth = 2, 2

    def __init__(self) -> None:
        super().__init__()
        self.split = {"val": [Case()]}

    def label_counts(self) -> list[int]:
        return [90, 5, 5]

    def batch(self, label: int) -> dict[str, torch.Tensor]:
        labels = torch.zeros(2, 32, 32, dtype=torch.long)
        labels[0, :4, :4] = label
        return {"image": torch.rand(2, 1, 32, 32), "label": labels}

    def train_dataloader(self) -> DataLoader:
        first = self.odd if self.trainer.current_epoch else 2
        return DataLoader([self.batch(first), self.batch(2)], batch_size=None)

    def val_dataloader(self) -> DataLoader:
        case = torch.zeros(2, dtype=torch.long)
        slices = [torch.tensor([0, 1]), torch.tensor([2, 3])]
        batches = [
            {**self.batch(2), "case": case, "slice": numbers, "pixel_mm": torch.ones(2, 2)} for numbers in slices
        ]
        truth = [torch.full((2, 32, 32), label, dtype=torch.uint8) for label in (1, self.odd_truth)]
        parts = [{**batch, "truth": labels} for batch, labels in zip(batches, truth, strict=True)]
        return DataLoader(parts, batch_size=None)


class Spoil(Callback):
    """Do something when a step begins."""

    def __init__(self, step: int, change: Any) -> None:
        self.step, self.change = step, change

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step + 1 == self.step:
            self.change(pl_module, batch)


def fit(folder: Path, *callbacks: Callback, lr: float = 0.01, epochs: int = 3, slices: Slices | None = None) -> None:
    torch.manual_seed(0)
    module = LesionModule(**{**SETTINGS, "optimizer": {**SETTINGS["optimizer"], "lr": lr}})
    named = {"auto_insert_metric_name": False, "enable_version_counter": False}
    savers = [
        ModelCheckpoint(folder, "best", "val/dice", mode="max", **named),
        ModelCheckpoint(folder, "last", save_on_train_epoch_end=True, **named),
    ]
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0, "logger": False}
    callbacks = (Finite(), *savers, *callbacks)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=list(callbacks),
        **quiet,
        log_every_n_steps=50,
        reload_dataloaders_every_n_epochs=1,
    )
    trainer.fit(module, datamodule=slices or Slices())


def spoil_image(module: LesionModule, batch: dict[str, torch.Tensor]) -> None:
    batch["image"][0, 0, 0, 0] = torch.nan


def spoil_weight(module: LesionModule, batch: dict[str, torch.Tensor]) -> None:
    next(module.network.parameters()).data.fill_(torch.inf)


@pytest.mark.parametrize(
    ("callbacks", "settings", "told"),
    [
        ((Spoil(3, spoil_image),), {}, r"train/loss: expected finite values .*; found NaN or infinity since step 3"),
        ((Spoil(4, spoil_image),), {}, r"since step 4"),
        ((Spoil(4, spoil_weight),), {}, r"since step 4"),
        ((), {"lr": 1e30}, r"since step 2"),
        ((), {"lr": 1e38}, r"optimizer\.lr: expected a learning rate that gives finite weights"),
        ((), {"odd": 4}, r"step 3: expected labels 0, 1 and 2"),
        ((), {"odd": 255}, r"step 3: expected labels 0, 1 and 2"),
        ((), {"odd_truth": 7}, r"p7, slice 2: expected labels 0, 1 and 2"),
    ],
)
def test_unsound_numbers_end_a_training_with_the_step(
    callbacks: tuple[Callback, ...], settings: dict[str, Any], told: str, tmp_path: Path
) -> None:
    slices = Slices()
    lr = settings.pop("lr", 0.01)
    for name, value in settings.items():
        setattr(slices, name, value)
    with pytest.raises(InputError, match=told):
        fit(tmp_path, *callbacks, lr=lr, slices=slices)
    for path in tmp_path.glob("*.ckpt"):
        kept = torch.load(path, weights_only=True)
        assert kept["epoch"] == 0
        assert all(weights.isfinite().all() for weights in kept["state_dict"].values())


def test_weights_of_the_last_step_are_not_saved(tmp_path: Path) -> None:
    class After(Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
            if trainer.global_step == 2:
                spoil_weight(pl_module, {})

    with pytest.raises(InputError, match=r"network\..*: expected finite weights .*; found NaN or infinity at step 2"):
        fit(tmp_path, After())
    assert not list(tmp_path.glob("*.ckpt"))


def test_finite_weights_with_logits_that_are_not_are_not_scored(tmp_path: Path) -> None:
    class Large(Callback):
        def on_validation_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
            for weights in pl_module.network.parameters():
                weights.data.fill_(1e30)

    with pytest.raises(InputError, match=r"p7, slice 0: expected finite logits"):
        fit(tmp_path, Large())
    assert not list(tmp_path.glob("*.ckpt"))


def test_a_sound_training_ends_well(tmp_path: Path) -> None:
    fit(tmp_path, epochs=1)
    assert {path.name for path in tmp_path.iterdir()} == {"best.ckpt", "last.ckpt"}
