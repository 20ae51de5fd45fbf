"""A calibrated checkpoint has rules and a temperature, which every command applies."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from helpers.checkpoints import save_checkpoint, with_model
from helpers.commands import failed_command, run_command
from omegaconf import OmegaConf

from lits_seg.data.datamodule import SliceDataModule
from lits_seg.data.volumes import read_labels, read_volume
from lits_seg.evaluation import calibration
from lits_seg.evaluation.calibration import Predicted, liver_sample
from lits_seg.postprocess.fitting import Patient
from lits_seg.training.checkpoints import load_module, read_checkpoint
from lits_seg.training.module import LesionModule


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, lits: Path) -> Path:
    """A checkpoint and its calibration on labelled volumes."""
    folder = tmp_path_factory.mktemp("calibrate")
    save_checkpoint(folder / "net.ckpt", settings=with_model(out_channels=3))
    (folder / "lits").symlink_to(lits)
    (folder / "out.txt").write_text(run_command("calibrate", "ckpt=net.ckpt", "references=lits", cwd=folder))
    return folder


def test_the_checkpoint_has_rules_and_temperature_and_the_same_weights(folder: Path) -> None:
    found = json.loads((folder / "net_calibrated.json").read_text())
    before, after = (load_module(folder / name) for name in ("net.ckpt", "net_calibrated.ckpt"))
    assert after.temperature == pytest.approx(found["temperature"])
    assert after.rules.largest_liver
    assert {name: value for name, value in found["rules"].items() if value} == {
        name: value for name, value in after.rules.plain().items() if value
    }
    assert found["best"]["dice"] >= max(trial["dice"] for trial in found["trials"]) - 0.005
    assert found["error_after"] <= found["error_before"] + 0.01
    for name, value in before.state_dict().items():
        assert torch.equal(value, after.state_dict()[name])
    assert (folder / "net_calibrated.png").read_bytes().startswith(b"\x89PNG")
    out = (folder / "out.txt").read_text()
    assert "rules: largest_liver=1" in out
    assert "Research use only." in out


def test_the_sample_for_the_temperature_has_its_size_even_if_the_liver_is_full_of_lesions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calibration, "SAMPLE", 4000)
    labels = np.full((2, 64, 64), 2, np.uint8)
    case = SimpleNamespace(labels=labels, liver_pixels=(4096, 4096), lesion_pixels=(4096, 4096))
    module = LesionModule(**with_model(out_channels=3))
    logits, classes = liver_sample([Predicted(module, case, np.zeros((2, 3, 64, 64), np.float16))])
    assert len(logits) == len(classes) == pytest.approx(4000, rel=0.05)


def test_scores_of_the_patients_that_fitted_the_rules_have_a_warning(folder: Path) -> None:
    told = run_command("evaluate", "ckpt=net_calibrated.ckpt", "references=lits", "output=fitted", cwd=folder)
    patients = json.loads((folder / "net_calibrated.json").read_text())["patients"]
    assert "were fitted on patients of the same name: " in told
    assert set(told.rpartition("same name: ")[2].splitlines()[0].split(", ")) == set(patients)


def test_evaluate_predict_and_export_apply_the_rules(folder: Path) -> None:
    settings = read_checkpoint(folder / "net_calibrated.ckpt")
    settings["hyper_parameters"]["rules"] = {"threshold": 0.996, "largest_liver": True}  # removes every lesion
    torch.save(settings, folder / "strict.ckpt")
    run_command("evaluate", "ckpt=strict.ckpt", "references=lits", "output=scores", cwd=folder)
    scores = json.loads((folder / "scores/evaluation.json").read_text())
    assert scores["rules"] == {"threshold": 0.996, "largest_liver": True}
    assert all(case["voxels"]["lesion"][1] == 0 for case in scores["cases"])
    case = scores["cases"][0]["case"]
    ct = next((folder / "lits").rglob(f"volume-{case}.nii*"))
    run_command("export", "ckpt=strict.ckpt", "references=lits", "slices=2", "patients=0", "threads=1", cwd=folder)
    for source in ("ckpt=strict.ckpt", "model=exported"):
        out = folder / source.replace("=", "_")
        run_command("predict", source, f"input={ct}", f"output={out}", "page=false", cwd=folder)
        report = json.loads(next(out.glob("*.json")).read_text())
        assert report["settings"]["rules"]["threshold"] == 0.996
        mask = read_labels(next(out.glob("*.nii.gz"))).slices
        assert not (np.asarray(mask) == 2).any()
    run_command("predict", "ckpt=strict.ckpt", "rules.own=false", f"input={ct}", "output=plain", cwd=folder)
    report = json.loads(next((folder / "plain").glob("*.json")).read_text())
    assert report["settings"]["rules"]["threshold"] is None


@pytest.mark.hostile
def test_what_cannot_calibrate_is_named(folder: Path) -> None:
    told = failed_command("calibrate", "ckpt=net.ckpt", cwd=folder)
    assert "net.ckpt: expected references=FOLDER, or a checkpoint within its run folder" in told
    (folder / "other_calibrated.ckpt").write_text("of somebody")
    (folder / "other.ckpt").write_bytes((folder / "net.ckpt").read_bytes())
    told = failed_command("calibrate", "ckpt=packaged", "references=lits", cwd=folder)
    assert "ckpt: expected a checkpoint in your own folder" in told
    assert "packaged (copy network.ckpt and split.json from" in told
    told = failed_command("calibrate", "ckpt=other.ckpt", "references=lits", cwd=folder)
    assert "other_calibrated.ckpt" in told
    assert (folder / "other_calibrated.ckpt").read_text() == "of somebody"


@pytest.mark.hostile
@pytest.mark.parametrize(
    "changes",
    [{"rules": {"threshold": 7}}, {"rules": {"no_rule": 1}}, {"rules": 3}, {"temperature": -1}, {"temperature": "1"}],
)
def test_damaged_rules_of_a_checkpoint_are_one_message(changes: dict, folder: Path) -> None:
    content = read_checkpoint(folder / "net.ckpt")
    content["hyper_parameters"] |= changes
    torch.save(content, folder / "damaged.ckpt")
    told = failed_command("predict", "ckpt=damaged.ckpt", "input=lits", cwd=folder)
    assert told.startswith("error: ")
    assert "damaged.ckpt" in told


def write_run(folder: Path, seed: int, train: str, val: str, test: str, **model: object) -> None:
    (folder / "checkpoints").mkdir(parents=True)
    save_checkpoint(folder / "checkpoints" / "net.ckpt", seed, settings=with_model(out_channels=3, **model))
    config = {"data": {"root": "lits", "store": "slices", "folds": 2, "fold": 0}}
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(config)))
    (folder / "split.json").write_text(json.dumps({"train": list(train), "val": list(val), "test": list(test)}))


ALL = ("calibrate", "ckpt=all/checkpoints/net.ckpt", "workers=0")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, lits: Path) -> Path:
    """Two folds, and a network that was trained on everybody."""
    folder = tmp_path_factory.mktemp("folds")
    (folder / "lits").symlink_to(lits)
    write_run(folder / "a", 1, "23456", "7", "01")
    write_run(folder / "b", 2, "01456", "7", "23")
    write_run(folder / "all", 3, "01234567", "", "")
    return folder


def test_a_network_that_was_trained_on_everybody_is_calibrated_by_folds(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}
    cropped = Patient.cropped

    def note(patient: Patient) -> Patient:
        seen.setdefault(patient.name, patient.probability)
        return cropped(patient)

    monkeypatch.setattr(Patient, "cropped", note)
    run_command(*ALL, "folds=[a/checkpoints/net.ckpt,b/checkpoints/net.ckpt]", cwd=runs)
    found = json.loads((runs / "all/checkpoints/net_calibrated.json").read_text())
    assert found["patients"] == ["0", "1", "2", "3"]
    assert found["folds"] == ["a/checkpoints/net.ckpt", "b/checkpoints/net.ckpt"]
    before, after = (load_module(runs / f"all/checkpoints/{name}.ckpt") for name in ("net", "net_calibrated"))
    assert after.temperature == pytest.approx(found["temperature"])
    for name, value in before.state_dict().items():
        assert torch.equal(value, after.state_dict()[name])
    for fold in ("a", "b"):  # whose scores show what the calibrated network does with unseen patients
        copy = load_module(runs / fold / "checkpoints/net_calibrated.ckpt")
        assert (copy.rules, copy.temperature) == (after.rules, after.temperature)
        assert read_checkpoint(runs / fold / "checkpoints/net_calibrated.ckpt")["fitted_on"] == found["patients"]
    # Each patient was predicted by the network of its fold: predict writes the same probabilities.
    for fold, patient in (("a", "1"), ("b", "2")):
        content = read_checkpoint(runs / fold / "checkpoints/net.ckpt")
        content["hyper_parameters"]["temperature"] = found["temperature"]
        torch.save(content, runs / "warm.ckpt")
        ct = next((runs / "lits").glob(f"volume-{patient}.nii*"))
        run_command("predict", "ckpt=warm.ckpt", f"input={ct}", "output=out", "probability=true", cwd=runs)
        written = 255 * read_volume(runs / f"out/probability/segmentation-{patient}.nii.gz").slices
        assert np.abs(written - seen[patient].astype(int)).max() < 1.5  # logits were stored in 16 bits
    assert not list((runs / "all/checkpoints").glob(".calibrate-*"))


def test_the_network_runs_once_on_each_batch(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    forward = LesionModule.forward
    monkeypatch.setattr(LesionModule, "forward", lambda module, x: (sizes.append(len(x)), forward(module, x))[1])
    run_command("calibrate", "ckpt=a/checkpoints/net.ckpt", "folds=[b/checkpoints/net.ckpt]", "batch_size=7", cwd=runs)
    # After the one slice on which load_module tries the network: patients of 10 and 40 slices.
    assert sizes == [1, 7, 3, 7, 7, 7, 7, 7, 5]


def test_the_network_and_the_images_are_on_the_device_that_lightning_chooses(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device is only named: the network predicts on the CPU."""
    gpu = torch.device("cuda", 0)
    asked, network, images = [], set(), set()

    def trainer(accelerator: str, **_: object) -> SimpleNamespace:
        asked.append(accelerator)
        return SimpleNamespace(strategy=SimpleNamespace(root_device=gpu))

    monkeypatch.setattr(pl, "Trainer", trainer)
    monkeypatch.setattr(LesionModule, "to", lambda module, device: (network.add(device), module)[1])
    monkeypatch.setattr(LesionModule, "device", gpu)
    monkeypatch.setattr(
        SliceDataModule, "transfer_batch_to_device", lambda volumes, batch, device, _: (images.add(device), batch)[1]
    )
    folds = "folds=[b/checkpoints/net.ckpt]"
    run_command("calibrate", "ckpt=a/checkpoints/net.ckpt", folds, "accelerator=gpu", "workers=0", cwd=runs)
    assert (asked, network, images) == (["gpu"], {gpu}, {gpu})


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "all/split.json: expected patients for validation (or references=FOLDER, or folds=[CKPT,…]"),
        (("folds=[]",), "folds: expected checkpoints of folds"),
        (("folds=[A,A]",), "folds: expected checkpoints of folds, each once"),
        (("folds=[A,all/checkpoints/net.ckpt]",), "folds: expected checkpoints of folds, each once and not all/"),
        (("folds=[A]", "references=lits"), "folds and references: expected one of them"),
        (("folds=[A,same/checkpoints/net.ckpt]",), "each patient tested by one fold; found more than one: 1"),
        (("folds=[A,other/checkpoints/net.ckpt]",), "other/checkpoints/net.ckpt: expected model as in all/"),
        (("folds=[A,twin.ckpt]",), "twin.ckpt: expected references=FOLDER, or a checkpoint within its run folder"),
        (("folds=[A,gone.ckpt]",), "gone.ckpt: expected"),
        (("folds=null",), "all/split.json: expected patients for validation"),
    ],
)
def test_folds_that_do_not_fit_are_named(arguments: tuple[str, ...], told: str, runs: Path) -> None:
    if not (runs / "same").exists():
        write_run(runs / "same", 4, "02", "7", "1")
        write_run(runs / "other", 5, "01", "7", "2", innermost_width=16)
        (runs / "twin.ckpt").write_bytes((runs / "a/checkpoints/net.ckpt").read_bytes())
    before = sorted((runs / "all").rglob("*"))
    given = [argument.replace("A", "a/checkpoints/net.ckpt") for argument in arguments]
    assert told in failed_command(*ALL, *given, cwd=runs)
    assert sorted((runs / "all").rglob("*")) == before
