"""The rule ``crf`` reads the CT: test, evaluate and predict agree, and wrong kernels are one message."""

import json
from pathlib import Path

import pytest
import torch
from helpers.checkpoints import save_checkpoint, with_model
from helpers.commands import failed_command, run_command

from lits_seg.data.volumes import read_labels
from lits_seg.exporters.metadata import describe_export
from lits_seg.inference.contract import read_metadata
from lits_seg.postprocess.crf import Crf
from lits_seg.postprocess.rules import Rules
from lits_seg.training.checkpoints import load_module, read_checkpoint

CRF = {"smoothness_weight": 1.0, "smoothness_mm": 2.0, "appearance_weight": 2.0, "appearance_mm": 5.0}
CRF |= {"appearance_hu": 30.0, "iterations": 3}
RULES = {"threshold": 0.3, "crf": CRF}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, lits: Path) -> Path:
    """Two checkpoints for three classes: without rules, and with a CRF."""
    folder = tmp_path_factory.mktemp("crf")
    save_checkpoint(folder / "net.ckpt", settings=with_model(out_channels=3))
    content = read_checkpoint(folder / "net.ckpt")
    content["hyper_parameters"]["rules"] = RULES
    torch.save(content, folder / "crf.ckpt")
    (folder / "lits").symlink_to(lits)
    return folder


def test_evaluate_and_predict_read_the_same_ct(folder: Path) -> None:
    run_command("evaluate", "ckpt=crf.ckpt", "references=lits", "output=scores", cwd=folder)
    scores = json.loads((folder / "scores/evaluation.json").read_text())
    assert scores["rules"] == RULES
    counts = {case["case"]: case["voxels"]["lesion"][1] for case in scores["cases"]}
    for output, change in (("masks", "rules.own=true"), ("plain", "rules.own=false")):
        choices = ("rules.threshold=0.3", change, "page=false")
        run_command("predict", "ckpt=crf.ckpt", "input=lits", f"output={output}", *choices, cwd=folder)
        masks = {path: read_labels(path).slices for path in (folder / output).glob("*.nii.gz")}
        found = {path.name.split("-")[1].split(".")[0]: int((mask == 2).sum()) for path, mask in masks.items()}
        assert (found == counts) == (output == "masks")
    report = json.loads(next((folder / "masks").glob("*.json")).read_text())
    assert report["settings"]["rules"]["crf"] == CRF


def test_an_exported_file_has_the_crf(folder: Path) -> None:
    metadata = describe_export(folder / "crf.ckpt", load_module(folder / "crf.ckpt"), "onnx", "fp32")
    assert read_metadata(metadata.to_json(), "file").rules == Rules(threshold=0.3, crf=Crf(**CRF))


@pytest.mark.slow
def test_calibrate_tries_a_crf_if_asked(folder: Path) -> None:
    run_command("calibrate", "ckpt=net.ckpt", "references=lits", "crf=true", cwd=folder)
    found = json.loads((folder / "net_calibrated.json").read_text())
    tried = [trial["rules"]["crf"] for trial in found["trials"]]
    assert None in tried
    assert any(tried)
    assert load_module(folder / "net_calibrated.ckpt").rules.plain().get("crf") == found["rules"]["crf"]


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("rules.crf=5", "rules.crf: expected a mapping, or null; found 5"),
        ("rules.crf={apearance_mm:4}", "rules.crf.apearance_mm: expected one of"),
        ("rules.crf={appearance_mm:0}", "rules.crf.appearance_mm: expected a number, at least 2, at most 100; found 0"),
        ("rules.crf={iterations:2.5}", "rules.crf.iterations: expected a whole number"),
        ("rules.crf={smoothness_weight:wide}", "rules.crf.smoothness_weight: expected a number"),
        ("rules.crf={}", "rules.crf: expected rules.threshold as well, such as 0.5; found none"),
    ],
)
def test_wrong_kernels_are_one_message(override: str, message: str, folder: Path) -> None:
    for command in (("predict", "input=lits"), ("evaluate", "references=lits")):
        assert message in failed_command(*command, "ckpt=net.ckpt", "output=wrong", override, cwd=folder)
        assert not (folder / "wrong").exists()


@pytest.mark.hostile
def test_a_crf_without_the_ct_is_one_message(folder: Path) -> None:
    told = failed_command("evaluate", "predictions=lits", "references=lits", "rules.crf={}", "output=no", cwd=folder)
    assert told.startswith("error: rules: expected ckpt=FILE")
    assert not (folder / "no").exists()


@pytest.mark.hostile
@pytest.mark.parametrize("crf", [{"appearance_mm": -1.0}, {"width": 3.0}, 5, "all", {"iterations": 10**9}])
def test_a_damaged_crf_of_a_checkpoint_is_one_message(crf: object, folder: Path) -> None:
    content = read_checkpoint(folder / "net.ckpt")
    content["hyper_parameters"]["rules"] = {"threshold": 0.5, "crf": crf}
    torch.save(content, folder / "damaged.ckpt")
    assert "damaged.ckpt" in failed_command("predict", "ckpt=damaged.ckpt", "input=lits", cwd=folder)
