"""Whole test patients are assembled from batches of slices, scored, and drawn."""

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image

from lits_seg.data.datamodule import SliceDataModule
from lits_seg.data.preprocess import Preprocess
from lits_seg.metrics.case import score_case
from lits_seg.postprocess import Rules
from lits_seg.training.patient_scores import PatientScores

QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}


def prediction(truth: torch.Tensor, case: int) -> torch.Tensor:
    """The truth; of every second patient moved by two rows."""
    return truth.roll(2, dims=-2) if case % 2 else truth


class Copying(pl.LightningModule):
    """Predicts from the labels, without a network."""

    classes, structures = 3, ("lesion", "liver")

    def __init__(self, rules: Rules = Rules()) -> None:  # noqa: B008  # immutable
        super().__init__()
        self.rules = rules

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, torch.Tensor]:
        labels = prediction(batch["truth"], int(batch["case"][0]))
        return {"labels": labels, "probability": 0.75 * (labels == 2)}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def volumes(lits: Path, store: Path) -> SliceDataModule:
    settings = {"preprocess": Preprocess(size=32), "augment": None, "batch_size": 4, "workers": 0}
    return SliceDataModule(lits, store, test_root=lits, allow_overlap=True, eval_batch_size=3, **settings)


def scored(
    callback: PatientScores,
    volumes: SliceDataModule,
    rules: Any = Rules(),  # noqa: B008  # immutable
    **ranks: Any,
) -> PatientScores:
    settings = {"accelerator": "cpu", "devices": 1, **ranks, **QUIET}
    pl.Trainer(callbacks=[callback], **settings).test(Copying(rules), volumes, verbose=False)
    return callback


def test_scores_are_of_whole_patients_on_their_own_grid(volumes: SliceDataModule, tmp_path: Path) -> None:
    found = scored(PatientScores(tmp_path), volumes).cases
    cases = volumes.split["test"]
    assert [case.case for case in found] == [case.name for case in cases]
    assert len({case.shape for case in cases}) > 1
    for number, (case, scores) in enumerate(zip(cases, found, strict=True)):
        truth = np.stack([case.truth(i) for i in range(len(case))])
        predicted = prediction(torch.from_numpy(truth), number).numpy()
        probability = np.uint8(191) * (predicted == 2)  # 0.75
        expected = score_case(predicted, truth, case.spacing, case.name, case.voxel_ml, probability)
        assert scores.voxels == expected.voxels
        assert scores.lesion == expected.lesion
        assert scores.detection == expected.detection
        assert (scores.by_size, scores.froc) == (expected.by_size, expected.froc)
    with (tmp_path / "test_cases.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["lesion_dice"]) for row in rows] == [case.lesion.dice for case in found]


def test_the_rules_of_the_module_are_applied(volumes: SliceDataModule, tmp_path: Path) -> None:
    callback = PatientScores(tmp_path)
    trainer = pl.Trainer(accelerator="cpu", devices=1, callbacks=[callback], **QUIET)
    trainer.test(Copying(Rules(min_probability=0.9)), volumes, verbose=False)
    assert all(case.voxels.lesion[1] == 0 for case in callback.cases)
    assert float(trainer.callback_metrics["test/dice_global"]) == 0


def test_every_patient_has_a_picture_and_the_masks_are_gone(volumes: SliceDataModule, tmp_path: Path) -> None:
    scored(PatientScores(tmp_path, patients=2), volumes)
    names = [f"{case.name}.png" for case in volumes.split["test"]]
    assert sorted(path.name for path in (tmp_path / "overlays").iterdir()) == sorted(names)
    case = volumes.split["test"][0]
    with Image.open(tmp_path / "overlays" / names[0]) as picture:
        assert picture.size == (3 * case.shape[2], case.shape[1])  # image, truth, prediction
    assert {path.name for path in tmp_path.iterdir()} == {"overlays", "overlays.png", "test_cases.csv"}


@pytest.mark.hostile
def test_a_test_that_ends_early_leaves_no_masks(volumes: SliceDataModule, tmp_path: Path) -> None:
    class Failing(Copying):
        def test_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, torch.Tensor]:
            assert len(list((tmp_path / ".test_masks").iterdir())) == 2 * len(volumes.split["test"])
            raise RuntimeError("cut")

    trainer = pl.Trainer(accelerator="cpu", devices=1, callbacks=[PatientScores(tmp_path)], **QUIET)
    with pytest.raises(RuntimeError, match="cut"):
        trainer.test(Failing(), volumes, verbose=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.hostile
@pytest.mark.parametrize(("batches", "whole"), [(0, 0), (1, 0), (4, 1), (7, 1), (8, 2)])
def test_a_patient_that_was_not_seen_whole_has_no_score(
    batches: int, whole: int, volumes: SliceDataModule, tmp_path: Path
) -> None:
    callback = PatientScores(tmp_path)
    trainer = pl.Trainer(accelerator="cpu", devices=1, callbacks=[callback], limit_test_batches=batches, **QUIET)
    trainer.test(Copying(), volumes, verbose=False)
    expected = [case.name for case in volumes.split["test"][:whole]] if batches else []
    assert [case.case for case in callback.cases] == expected
    assert (tmp_path / "test_cases.csv").exists() == bool(whole)
    assert not (tmp_path / ".test_masks").exists()


class Noting:
    """Rules that change nothing, and note in a folder which process applies them."""

    crf = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *given: Any) -> None:
        (self.folder / f"{os.getpid()} {len(list(self.folder.glob(f'{os.getpid()} *')))}").touch()


@pytest.mark.skipif("torch.cuda.is_initialized()", reason="processes that use CUDA cannot be forked")
def test_ranks_share_the_patients_and_write_what_a_single_one_writes(
    volumes: SliceDataModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # forked processes cannot start more threads
    ranks = {"devices": 2, "strategy": "ddp_fork", "use_distributed_sampler": False}
    scored(PatientScores(tmp_path / "two", patients=3), volumes, Noting(tmp_path), **ranks)
    scored(PatientScores(tmp_path / "one", patients=3), volumes)
    processes = [path.name.split()[0] for path in tmp_path.iterdir() if path.is_file()]
    assert sorted(map(processes.count, set(processes))) == [4, 4]
    written = [
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("one", "two")
    ]
    assert len(written[0]) == 10
    assert written[0] == written[1]
