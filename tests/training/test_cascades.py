"""A cascade of two checkpoints, as predict, evaluate, train and export use it."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import nibabel as nib
import numpy as np
import pytest
import torch
from helpers.checkpoints import SETTINGS, save_checkpoint, with_model
from helpers.commands import SMOKE, failed_command, run_command
from helpers.networks import NARROW_DETECTOR
from helpers.steps import training_loss, validation_loss

from experiments.shared.checkpoints import module_of, write_checkpoint
from experiments.shared.command import train_config
from lits_seg.common.errors import InputError
from lits_seg.data.ct import open_ct
from lits_seg.models import Cascade, DetectorCascade
from lits_seg.packaged.card import CHECKPOINT, FOLDER
from lits_seg.training.cascades import cascade_settings, load_cascade
from lits_seg.training.checkpoints import fill_weights, load_module
from lits_seg.training.deep_supervision import DeepSupervision
from lits_seg.training.module import LesionModule
from lits_seg.training.resume import require_training_state

LIVER = {**SETTINGS, "foreground": "liver"}
LESION = {**SETTINGS, "foreground": "lesion", "loss_region": "all"}
PREPROCESS = SETTINGS["preprocess"]
DETECTOR = {
    "_target_": "lits_seg.models.Detector",
    **{"out_channels": 2, "cell": 8, "around": 3, "margin": 2, "liver_pixels": 8, "layers": [1] * 4, "widths": [4] * 4},
}
TRAIN_DETECTOR = ("model=detector", *NARROW_DETECTOR, *(one for one in SMOKE if not one.startswith("model.")))


def varied(path: Path, seed: int, settings: dict) -> LesionModule:
    """A checkpoint whose network finds its foreground in half of the pixels of a random image."""
    module = save_checkpoint(path, seed, settings)
    with torch.no_grad():
        torch.manual_seed(0)
        module.network.train()(torch.rand(4, module.context, 32, 32))  # moves the norms' statistics
        module.eval()
        logits = module(torch.rand(4, module.context, 32, 32))
        bias = module.network.logits.bias
        bias[-1] -= (logits[:, -1] - logits[:, :-1].amax(1)).median()
    torch.save({"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams)}, path)
    return module


def cascade(liver: LesionModule, lesion: LesionModule) -> LesionModule:
    """A module of both networks, as a training makes it."""
    module = LesionModule(**cascade_settings(lesion.hparams, liver, "liver.ckpt"))
    module.network.liver.load_state_dict(liver.network.state_dict())
    module.network.lesion.load_state_dict(lesion.network.state_dict())
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, lits: Path) -> Path:
    folder = tmp_path_factory.mktemp("cascade")
    varied(folder / "liver.ckpt", 1, LIVER)
    varied(folder / "lesion.ckpt", 2, with_model(in_channels=3))
    (folder / "lits").mkdir()
    for path in sorted(lits.glob("*-[01].nii*")):
        (folder / "lits" / path.name).symlink_to(path)
    return folder


def test_a_cascade_has_the_labels_of_both_networks(folder: Path) -> None:
    module = load_cascade(folder / "lesion.ckpt", folder / "liver.ckpt")
    assert (module.classes, module.context, module.structures) == (3, 3, ("lesion", "liver"))
    images = torch.rand(2, 3, 32, 32)
    found = module.labels(module(images), 32, 32)[0]
    liver, lesion = (load_cascade(folder / name, None) for name in ("liver.ckpt", "lesion.ckpt"))
    inside = liver.labels(liver(images[:, 1:2]), 32, 32)[0]
    expected = torch.where(inside == 1, lesion.labels(lesion(images), 32, 32)[0].clamp(min=1), 0)
    assert torch.equal(found, expected)
    assert {0, 1, 2} == set(found.unique().tolist())


def test_predict_and_evaluate_agree(folder: Path) -> None:
    both = ("ckpt=lesion.ckpt", "liver_ckpt=liver.ckpt")
    run_command("predict", *both, "input=lits", "output=out", "device=cpu", "page=false", cwd=folder)
    report = json.loads((folder / "out" / "segmentation-0.json").read_text())
    assert [Path(file["path"]).name for file in report["model"]["checkpoints"]] == ["lesion.ckpt", "liver.ckpt"]
    assert report["liver_ml"] > report["lesion_ml"] > 0
    run_command("evaluate", "predictions=out", "references=lits", "output=masks", "workers=0", cwd=folder)
    arguments = ("references=lits", "output=networks", "accelerator=cpu", "workers=0")
    run_command("evaluate", *both, *arguments, cwd=folder)
    masks, networks = (json.loads((folder / name / "evaluation.json").read_text()) for name in ("masks", "networks"))
    assert [case["voxels"] for case in masks["cases"]] == [case["voxels"] for case in networks["cases"]]
    assert networks["liver_checkpoint"]["path"] == "liver.ckpt"
    assert networks["network"] == "Cascade"


def test_a_training_keeps_the_rules_of_the_liver_network() -> None:
    liver = LesionModule(**{**LIVER, "rules": {"largest_liver": True, "min_lesion_ml": 1.0}})
    own = {"largest_liver": False, "fill_liver": False, "threshold": None, "min_lesion_ml": 0.1}  # as conf/train.yaml
    settings = cascade_settings({**LESION, "rules": own}, liver, "liver.ckpt")
    assert settings["rules"] == {"largest_liver": True, "min_lesion_ml": 0.1}


@pytest.mark.parametrize(
    ("given", "rules"),
    [
        ((), {"largest_liver": True, "fill_liver": True}),
        (("rules.largest_liver=false", "rules.min_lesion_ml=0.1"), {"fill_liver": True, "min_lesion_ml": 0.1}),
        (("rules.fill_liver=true", "+rules.own=false"), {"fill_liver": True}),
    ],
)
def test_rules_that_a_training_sets_replace_those_of_the_liver_network(
    given: tuple[str, ...], rules: dict, tmp_path: Path
) -> None:
    images = {**PREPROCESS, "size": 64, "equalize": True}
    settings = {**LIVER, "preprocess": images, "rules": {"largest_liver": True, "fill_liver": True}}
    save_checkpoint(tmp_path / "liver.ckpt", 1, settings)
    config = train_config(*SMOKE, f"liver_ckpt={tmp_path / 'liver.ckpt'}", *given)
    cascade = module_of(config)
    assert cascade.hparams["rules"] == cascade.rules.plain() == rules
    config.liver_ckpt = None
    alone = module_of(config)
    assert alone.hparams["rules"] == {rule: value for rule, value in rules.items() if f"rules.{rule}=" in str(given)}


@pytest.mark.parametrize("source", ["cascade", "lesion"])
def test_fine_tuning_starts_the_lesion_stage_and_leaves_the_liver_network(
    source: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other, lesion = (save_checkpoint(tmp_path / f"{seed}.ckpt", seed, one) for seed, one in ((1, LIVER), (2, LESION)))
    start = cascade(other, lesion)
    write_checkpoint(start if source == "cascade" else lesion, tmp_path / "start.ckpt")
    liver, new = (LesionModule(**one) for one in (LIVER, LESION))
    tuned = cascade(liver, new)
    count = len(lesion.network.state_dict())
    assert fill_weights(tuned, tmp_path / "start.ckpt").endswith(f"{count} of {count} weights are the network's start")
    for found, expected in ((tuned.network.liver, liver.network), (tuned.network.lesion, lesion.network)):
        assert all(torch.equal(value, expected.state_dict()[name]) for name, value in found.state_dict().items())
    assert fill_weights(new, tmp_path / "start.ckpt").endswith(f"{count} of {count} weights are the network's start")
    assert "learned with" not in caplog.text


@pytest.mark.parametrize("margin", [None, 0])
def test_no_loss_sees_what_is_outside_of_the_predicted_liver(margin: int | None, folder: Path) -> None:
    liver = load_cascade(folder / "liver.ckpt", None)
    settings = cascade_settings({**LESION, "rules": None}, liver, "liver.ckpt")
    settings["model"]["margin"] = margin
    module = LesionModule(**{**settings, "loss_region": "predicted_liver"})
    module.network.liver.load_state_dict(liver.network.state_dict())
    DeepSupervision([0.5], ["lesion.decoder.2"]).setup(SimpleNamespace(), module, "fit")
    images, label = torch.rand(2, 1, 32, 32), torch.randint(3, (2, 32, 32))
    inside = module.network.liver_logit(images) > 0
    labels = (label, torch.where(inside, label, (label + 1) % 3), torch.where(inside, (label + 1) % 3, label))
    for step in (validation_loss, training_loss):
        first, outside, within = (step(module, {"image": images, "label": one}) for one in labels)
        assert outside == first != within
        with mock.patch.object(module.network.liver, "forward", side_effect=module.network.liver.forward) as found:
            step(module, {"image": images, "label": label})
        assert found.call_count == 1


@pytest.mark.hostile
def test_a_training_does_not_resume_with_another_liver_network(tmp_path: Path) -> None:
    liver, other, lesion = (LesionModule(**one) for one in (LIVER, LIVER, LESION))
    write_checkpoint(cascade(liver, lesion), tmp_path / "a.ckpt")
    state = {"optimizer_states": [{}], "callbacks": {"a": 1}, "loops": {"a": 1}, "pytorch-lightning_version": "2"}
    torch.save({**torch.load(tmp_path / "a.ckpt", weights_only=True), **state}, tmp_path / "a.ckpt")
    for given, told in ((other, "^liver_ckpt: expected the liver network in .*a.ckpt"), (liver, "a damaged file")):
        with pytest.raises(InputError, match=told):
            require_training_state(tmp_path / "a.ckpt", cascade(given, lesion))


def test_the_packaged_network_finds_the_liver_of_any_cascade(folder: Path) -> None:
    network = load_module(FOLDER / CHECKPOINT)
    varied(folder / "lesion256.ckpt", 2, {**LESION, "preprocess": network.hparams["preprocess"]})
    arguments = ("ckpt=lesion256.ckpt", "liver_ckpt=packaged", "input=lits/volume-0.nii.gz", "output=packaged")
    run_command("predict", *arguments, "device=cpu", "page=false", cwd=folder)
    report = json.loads((folder / "packaged" / "segmentation-0.json").read_text())
    assert [Path(one["path"]).name for one in report["model"]["checkpoints"]] == ["lesion256.ckpt", CHECKPOINT]
    images = ("data.preprocess.size=256", "data.preprocess.equalize=false", "data.context=5")
    cascade = module_of(train_config(*SMOKE, "liver_ckpt=packaged", *images))
    assert cascade.hparams["model"]["liver"] == network.hparams["model"]


def test_a_liver_network_predicts_livers_alone(folder: Path) -> None:
    run_command("predict", "ckpt=liver.ckpt", "input=lits", "output=livers", "device=cpu", "page=false", cwd=folder)
    mask = np.asanyarray(nib.load(folder / "livers" / "segmentation-0.nii.gz").dataobj)
    assert np.unique(mask).tolist() == [0, 1]
    out = run_command(
        "evaluate", "ckpt=liver.ckpt", "references=lits", "output=scores", "accelerator=cpu", "workers=0", cwd=folder
    )
    assert "Livers, 2 test patients" in out
    evaluation = json.loads((folder / "scores" / "evaluation.json").read_text())
    dice = [case["liver"]["dice"] for case in evaluation["cases"]]
    assert evaluation["scores"]["dice"] == pytest.approx(np.mean(dice))
    assert evaluation["structure"] == "liver"


@pytest.fixture(scope="module")
def detected(folder: Path) -> Path:
    """A checkpoint whose detector confirms about half of the windows of a CT; ``both.ckpt`` is without the detector."""
    both = varied(folder / "both.ckpt", 3, with_model(out_channels=3))
    module = LesionModule(**cascade_settings({**both.hparams, "model": DETECTOR}, both, "both.ckpt")).eval()
    module.network.liver.load_state_dict(both.network.state_dict())
    scores: list[torch.Tensor] = []
    hook = module.network.lesion.score.register_forward_hook(lambda layer, inputs, output: scores.append(output))
    with open_ct(next((folder / "lits").glob("volume-0.nii*")), folder) as ct, torch.no_grad():
        images = torch.from_numpy(module.preprocess.images(ct.slices(0, len(ct)), ct.pixel_mm))
        module(images[:, None].float() / 255)
        hook.remove()
        module.network.lesion.score.bias -= (
            scores[0].sort(0).values[len(scores[0]) // 2 :][:2].mean() - module.network.lesion.least_logit
        )
    return write_checkpoint(module, folder / "detected.ckpt")


def test_a_detector_removes_lesions_in_predict_and_evaluate_alike(folder: Path, detected: Path) -> None:
    scores = {}
    for name in ("both", "detected"):
        arguments = (f"ckpt={name}.ckpt", "references=lits", f"output=by_{name}", "accelerator=cpu", "workers=0")
        run_command("evaluate", *arguments, cwd=folder)
        scores[name] = json.loads((folder / f"by_{name}" / "evaluation.json").read_text())
    run_command("predict", "ckpt=detected.ckpt", "input=lits", "output=d", "device=cpu", "page=false", cwd=folder)
    run_command("evaluate", "predictions=d", "references=lits", "output=by_masks", "workers=0", cwd=folder)
    masks = json.loads((folder / "by_masks" / "evaluation.json").read_text())
    assert scores["detected"]["network"] == "DetectorCascade"
    assert [case["voxels"] for case in masks["cases"]] == [case["voxels"] for case in scores["detected"]["cases"]]
    first, kept = (scores[name]["cases"][0]["voxels"] for name in ("both", "detected"))
    assert kept["liver"] == first["liver"]  # removed lesions are liver
    assert kept["lesion"] != first["lesion"]
    report = json.loads((folder / "d" / "segmentation-0.json").read_text())
    assert report["lesion_ml"] > 0


@pytest.mark.slow
def test_a_training_of_a_detector_writes_all_three_networks(folder: Path) -> None:
    settings = {**with_model(out_channels=3), "preprocess": {**PREPROCESS, "size": 64, "equalize": True}}
    both = varied(folder / "both64.ckpt", 3, settings)
    run_command("train", *TRAIN_DETECTOR, "liver_ckpt=both64.ckpt", "name=detector", cwd=folder)
    run = folder / "runs" / "detector"
    result = json.loads((run / "result.json").read_text())
    assert (result["network"], result["structure"]) == ("DetectorCascade", "lesion")
    network = load_cascade(run / "checkpoints" / "last.ckpt", None).network
    assert isinstance(network, DetectorCascade)
    assert network.lesion.trunk.bn1.running_mean.abs().max() > 1  # of grey values: it has seen windows
    for name, weight in both.network.state_dict().items():
        assert torch.equal(network.liver.state_dict()[name], weight), name
    arguments = ("ckpt=runs/detector/checkpoints/best.ckpt", "output=detector", "accelerator=cpu")
    run_command("evaluate", *arguments, cwd=folder)
    assert json.loads((folder / "detector" / "evaluation.json").read_text())["cases"] == result["cases"]


@pytest.mark.slow
def test_a_detector_is_in_the_exported_file(folder: Path, detected: Path) -> None:
    arguments = ("references=lits", "threads=1", "slices=4", "calibration=4", "patients=0", "output=detector_file")
    run_command("export", "ckpt=detected.ckpt", *arguments, "format=[onnx,openvino]", "precision=[fp32]", cwd=folder)
    for source, name in (("model=detector_file/lits_seg_fp32.onnx", "e"), ("ckpt=detected.ckpt", "f")):
        run_command("predict", source, "input=lits", f"output={name}", "page=false", cwd=folder)
    one, other = (np.asanyarray(nib.load(folder / name / "segmentation-1.nii.gz").dataobj) for name in ("e", "f"))
    assert (one == other).mean() > 0.999


@pytest.mark.slow
def test_both_stages_are_in_one_exported_file(folder: Path) -> None:
    export = ("references=lits", "threads=1", "slices=4", "calibration=4", "patients=0")
    formats = ("format=[onnx,openvino]", "precision=[fp32,int8]")
    run_command("export", "ckpt=lesion.ckpt", "liver_ckpt=liver.ckpt", *export, *formats, "output=files", cwd=folder)
    assert len(list((folder / "files").glob("lits_seg_*"))) == 4
    for source, name in (("model=files/lits_seg_fp32.onnx", "a"), ("ckpt=lesion.ckpt", "b")):
        more = () if name == "a" else ("liver_ckpt=liver.ckpt", "device=cpu")
        run_command("predict", source, *more, "input=lits", f"output={name}", "page=false", cwd=folder)
    one, other = (np.asanyarray(nib.load(folder / name / "segmentation-1.nii.gz").dataobj) for name in ("a", "b"))
    assert (one == other).mean() > 0.9999
    run_command("export", "ckpt=liver.ckpt", *export, "output=liver_alone", cwd=folder)
    run_command("predict", "model=liver_alone/lits_seg_fp32.onnx", "input=lits", "output=c", "page=false", cwd=folder)
    assert json.loads((folder / "c" / "segmentation-1.json").read_text())["liver_ml"] > 0


@pytest.mark.slow
def test_a_training_of_the_lesion_stage_writes_the_whole_cascade(folder: Path) -> None:
    settings = {**LIVER, "preprocess": {**PREPROCESS, "size": 64, "equalize": True}}
    liver = varied(folder / "liver64.ckpt", 1, settings)
    train = (
        *SMOKE, "trainer.max_epochs=2", "liver_ckpt=liver64.ckpt", "loss_region=predicted_liver", "liver_margin=4",
        "callbacks=[default,ema]", "name=two",
    )  # fmt: skip
    run_command("train", *train, cwd=folder)
    run = folder / "runs" / "two"
    result = json.loads((run / "result.json").read_text())
    assert (result["network"], result["structure"]) == ("Cascade", "lesion")
    module = load_cascade(run / "checkpoints" / "best.ckpt", None)
    assert isinstance(module.network, Cascade)
    for name, weight in liver.network.state_dict().items():  # neither trained, nor are its norms estimated again
        assert torch.equal(module.network.liver.state_dict()[name], weight), name
    run_command("evaluate", "ckpt=runs/two/checkpoints/best.ckpt", "output=again", "accelerator=cpu", cwd=folder)
    assert json.loads((folder / "again" / "evaluation.json").read_text())["cases"] == result["cases"]
    (run / "result.json").unlink()
    run_command("train", *train, "ckpt_path=last", cwd=folder)  # resumed at its end
    assert json.loads((run / "result.json").read_text())["cases"] == result["cases"]
    told = failed_command(
        "train", *train, "name=three", "liver_ckpt=runs/two/checkpoints/best.ckpt",
        "data.fold=1", cwd=folder,
    )  # fmt: skip
    assert "CTs on which this network was neither trained nor selected" in told


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("liver", "message"),
    [
        ({**LIVER, "preprocess": {**PREPROCESS, "window": [-150, 250]}}, r"window .*-100.*found window .*-150"),
        ({**LIVER, "preprocess": {**PREPROCESS, "size": 64}}, "expected the pre-processing .*size 32.*; found size 64"),
        (SETTINGS, "expected a network that finds the liver .*; found lesions"),
    ],
)
def test_stages_that_do_not_fit(folder: Path, tmp_path: Path, liver: dict, message: str) -> None:
    save_checkpoint(tmp_path / "other.ckpt", settings=liver)
    with pytest.raises(InputError, match=rf"(?s)other\.ckpt: .*{message}"):
        load_cascade(folder / "lesion.ckpt", tmp_path / "other.ckpt")


@pytest.mark.hostile
def test_wrong_uses_end_with_one_message(folder: Path) -> None:
    images = {**PREPROCESS, "size": 64, "equalize": True}
    save_checkpoint(folder / "liver64.ckpt", settings={**LIVER, "preprocess": images})
    save_checkpoint(folder / "both64.ckpt", settings={**with_model(out_channels=3), "preprocess": images})
    expected = {
        "livers only": ("predict", "ckpt=liver.ckpt", "liver_ckpt=liver.ckpt", "input=lits", "output=bad"),
        "no such file": ("predict", "ckpt=lesion.ckpt", "liver_ckpt=none.ckpt", "input=lits", "output=bad"),
        "liver_ckpt: expected the lesion stage": ("evaluate", "liver_ckpt=liver.ckpt", "references=lits", "output=bad"),
        "settings that apply to exported models": ("predict", "model=x.onnx", "liver_ckpt=liver.ckpt", "input=lits"),
        "loss_region: expected all or liver": ("train", *SMOKE, "loss_region=predicted_liver", "name=bad"),
        "liver.ckpt: expected the pre-processing": ("train", *SMOKE, "liver_ckpt=liver.ckpt", "name=bad"),
        "liver_ckpt: expected a checkpoint that finds livers and lesions, which the detector confirms; found null": (
            "train", *TRAIN_DETECTOR, "name=bad",
        ),
        "liver64.ckpt: expected a checkpoint that finds livers and lesions": (
            "train", *TRAIN_DETECTOR, "liver_ckpt=liver64.ckpt", "name=bad",
        ),
        "liver_margin: expected liver_ckpt": ("train", *SMOKE, "liver_margin=0", "name=bad"),
        "liver_margin: expected null with model=detector, which learns from windows": (
            "train", *TRAIN_DETECTOR, "liver_ckpt=both64.ckpt", "liver_margin=3", "name=bad",
        ),
        "callbacks.best.monitor: expected a score of the liver": ("train", *SMOKE, "foreground=liver", "name=bad"),
        "data.label_context: expected 1, the number of slices": (
            "train", *SMOKE, "data.context=3", "data.label_context=3", "name=bad",
        ),
        "augment.lesions: expected null": (
            "train", *SMOKE, "data.context=3", "data.label_context=3", "augment=scanner_lesions", "name=bad",
        ),
        "a network that finds lesions; found a network that finds livers": (
            "calibrate", "ckpt=liver.ckpt", "references=lits", "workers=0",
        ),
    }  # fmt: skip
    for message, command in expected.items():
        assert message in failed_command(*command, cwd=folder)
    assert not (folder / "bad").exists()
    assert not (folder / "runs" / "bad").exists()


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("loss_region=predicted_liver", "loss_region: expected all with model=detector"),
        ("callbacks=[default,ema]", "callbacks: expected neither ema nor further losses .*; found ema"),
        ("model.cell=60", r"model\.cell: expected windows that fit into images of \(64, 64\) pixels; found 72"),
    ],
)
def test_settings_that_a_detector_cannot_take(folder: Path, setting: str, message: str) -> None:
    images = {**PREPROCESS, "size": 64, "equalize": True}
    save_checkpoint(folder / "both64.ckpt", settings={**with_model(out_channels=3), "preprocess": images})
    command = ("train", *TRAIN_DETECTOR, "liver_ckpt=both64.ckpt", "debug=fast", "name=refused", setting)
    assert re.search(message, failed_command(*command, cwd=folder))
