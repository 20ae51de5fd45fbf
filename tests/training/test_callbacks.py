"""Callbacks of a training, run by a Trainer on a network of one layer."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.demos.boring_classes import BoringDataModule, BoringModel

from lits_seg.common.errors import InputError
from lits_seg.training.callbacks import EpochLines, SplitFile, progress

# a: the run trains on the same patient; d: two networks have seen the same patient
INHERITED = {
    "train of init_from": {"c": "voxels of a", "d": "voxels of d"},
    "val of init_from": {"a": "voxels of a"},
    "val of liver_ckpt": {"d": "voxels of d", "e": "voxels of e"},
}


class Logging(BoringModel):
    """Logs under the names of ``LesionModule``."""

    val_dice = "val/dice"

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        loss = self.step(batch)
        self.log("train/loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        self.log("val/loss", self.step(batch))
        self.log("val/dice", 0.25)


def fit(callback: pl.Callback, folder: Path, **settings: object) -> None:
    volumes = BoringDataModule()
    patients = [SimpleNamespace(name=name, fingerprint=f"voxels of {name}") for name in "ba"]
    volumes.split, volumes.inherited = {"train": patients, "val": [], "test": []}, INHERITED
    quiet = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    trainer = pl.Trainer(
        default_root_dir=folder, accelerator="cpu", callbacks=[callback], limit_train_batches=3, limit_val_batches=1,
        **quiet, **settings,
    )  # fmt: skip
    trainer.fit(Logging(), volumes)


def test_lines_tell_step_and_loss_and_new_scores_alone(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    fit(EpochLines(), tmp_path, max_epochs=3, check_val_every_n_epoch=2)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
    loss = r"train/loss_step \d+\.\d{4}"
    scores = r"  val/loss \d+\.\d{4}  val/dice 0\.2500"
    patterns = [f"1/3  step 3  {loss}", f"2/3  step 6  {loss}{scores}", f"3/3  step 9  {loss}"]
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.fullmatch(f"epoch {pattern}", line), line


def test_without_an_end_the_number_of_epochs_is_open(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    fit(EpochLines(), tmp_path, max_epochs=-1, max_steps=3)
    assert "epoch 1/?  step 3" in capsys.readouterr().out


def test_the_split_is_written_before_the_first_step(tmp_path: Path) -> None:
    fit(SplitFile(tmp_path), tmp_path, max_steps=0, enable_progress_bar=False)
    split = json.loads((tmp_path / "split.json").read_text())
    voxels = {"train": {"b": "voxels of b", "a": "voxels of a"}, "val": {}, "test": {}}
    inherited = {"train of init_from": {"d": "voxels of d"}, "val of liver_ckpt": {"e": "voxels of e"}}
    assert split == {"train": ["b", "a"], "val": [], "test": [], "voxels": voxels, "inherited": inherited}


@pytest.mark.hostile
@pytest.mark.parametrize("recorded", ['{"train": ["b"], "val": ["a"], "test": []}', "{}", "[]", "3", "{", ""])
def test_a_recorded_split_is_never_overwritten_by_another(recorded: str, tmp_path: Path) -> None:
    (tmp_path / "split.json").write_text(recorded)
    with pytest.raises(InputError, match=r"split\.json: expected"):
        fit(SplitFile(tmp_path), tmp_path, max_steps=0, enable_progress_bar=False)
    assert (tmp_path / "split.json").read_text() == recorded


def test_lines_instead_of_a_bar_if_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    for terminal in (False, True):
        monkeypatch.setattr("sys.stdout", SimpleNamespace(isatty=lambda terminal=terminal: terminal))
        assert isinstance(progress(), EpochLines) != terminal
