"""nnU-Net's own code accepts what is written for it, trains on our folds, and scores its masks as we do."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.commands import run_command

from lits_seg.data.data_sets import SplitSettings
from lits_seg.data.layouts import find_cases
from lits_seg.data.preprocess import Preprocess
from lits_seg.data.store import store_cases
from lits_seg.data.volumes import read_case

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(lits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose ``raw/Dataset003_LiTS`` has volumes in five orientations, and nnU-Net, told to work there."""
    pytest.importorskip("nnunetv2", reason="needs nnU-Net: the nnunet extra")
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    monkeypatch.setenv("nnUNet_compile", "f")
    monkeypatch.setenv("nnUNet_def_n_proc", "1")
    monkeypatch.setenv("nnUNet_n_proc_DA", "1")
    settings = ("data.preprocess.size=32", "store=store", "nnunet=raw/Dataset003_LiTS")
    run_command("prepare", f"data.root={lits}", *settings, cwd=tmp_path)
    return tmp_path


def test_nnunet_finds_no_fault_and_reads_our_slices(
    folder: Path, lits: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity
    from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json

    root = folder / "raw" / "Dataset003_LiTS"
    verify_dataset_integrity(str(root), num_processes=1)
    printed = capfd.readouterr().out
    assert "verify_dataset_integrity Done" in printed
    assert not {"Error", "Warning", "WARNING"} & set(printed.replace(":", " ").split())
    reader = determine_reader_writer_from_dataset_json(json.loads((root / "dataset.json").read_text()))()
    (folder / "masks").mkdir()
    for case in find_cases(root):
        image, label = read_case(case)
        read, _ = reader.read_images([str(case.image)])
        mask, properties = reader.read_seg(str(case.label))
        # nnU-Net's rows and columns start at the patient's back and left.
        np.testing.assert_array_equal(read[0, :, ::-1, ::-1], image.slices)
        np.testing.assert_array_equal(mask[0, :, ::-1, ::-1], label.slices)
        np.testing.assert_allclose(properties["spacing"], image.spacing[::-1], rtol=1e-5)
        reader.write_seg(mask[0], str(folder / "masks" / f"{case.name}.nii.gz"), properties)
    run_command("evaluate", "predictions=masks", f"references={lits}", cwd=folder)
    summary = json.loads((folder / "evaluation" / "evaluation.json").read_text())["summary"]
    assert summary["lesion"]["dice_per_case"]["value"] == summary["liver"]["dice_per_case"]["value"] == 1


def test_nnunet_trains_on_our_folds_and_scores_its_masks_as_we_do(
    folder: Path, lits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments, preprocess
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    class TwoEpochs(nnUNetTrainer):
        def __init__(self, plans: dict, configuration: str, fold: int, dataset_json: dict, device: Any) -> None:
            super().__init__(plans, configuration, fold, dataset_json, device)
            self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 2, 2, 1

    extract_fingerprints([3], num_processes=1)
    plan_experiments([3])
    preprocess([3], configurations=["2d"], num_processes=[1])
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    planned = folder / "preprocessed" / "Dataset003_LiTS"
    plans, description = (json.loads((planned / f"{name}.json").read_text()) for name in ("nnUNetPlans", "dataset"))
    trainer = TwoEpochs({**plans, "continue_training": False}, "2d", 1, description, torch.device("cpu"))
    trainer.run_training()
    trainer.perform_actual_validation()
    stored = store_cases(find_cases(lits), Preprocess(size=32), folder / "store")
    for fold in range(4):
        trainer.fold = fold
        split = SplitSettings("folds", 4, fold, 0.15, 0)(stored)
        train, val = ([case.name for part in parts for case in split[part]] for parts in (("train", "val"), ("test",)))
        assert trainer.do_split() == (train, val)
    masks = Path(trainer.output_folder) / "validation"
    split = "split=raw/Dataset003_LiTS/splits_final.json"
    run_command("evaluate", f"predictions={masks}", f"references={lits}", split, "fold=1", cwd=folder)
    ours = json.loads((folder / "evaluation" / "evaluation.json").read_text())["cases"]
    theirs = json.loads((masks / "summary.json").read_text())["metric_per_case"]
    by_name = {Path(case["prediction_file"]).name: case["metrics"]["2"]["Dice"] for case in theirs}
    assert len(ours) == len(by_name) == 2
    for case in ours:
        number = case["case"].removeprefix("segmentation-")
        assert case["lesion"]["dice"] == pytest.approx(by_name[f"{number}.nii.gz"])
