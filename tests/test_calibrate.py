"""A calibrated checkpoint has rules and a temperature, which every command applies."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.checkpoints import save_checkpoint, with_model
from helpers.commands import failed_command, run_command

from lits_seg.data.volumes import read_labels
from lits_seg.training.checkpoints import load_module, read_checkpoint


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
    run_command("export", "ckpt=strict.ckpt", "references=lits", "slices=2", "patients=0", "calibration=4", cwd=folder)
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
