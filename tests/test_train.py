"""The train command, as a user runs it: real processes, tiny synthetic volumes."""

import csv
import json
import math
import os
import re
import signal
from pathlib import Path
from typing import get_args

import pytest
import torch
from helpers.checkpoints import SETTINGS, save_checkpoint, with_model
from helpers.commands import SMOKE, failed_command, run_command, run_lits_seg, start_command
from helpers.networks import NARROW_DETECTOR, NARROW_OWN
from helpers.volumes import anatomy, write_case
from omegaconf import OmegaConf

from lits_seg.cli import CONF
from lits_seg.common.settings import Precision
from lits_seg.training.pictures import history

EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]


def equal_weights(one: Path, other: Path) -> bool:
    a, b = weights(one), weights(other)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.fixture(scope="module")
def smoke_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder; the first run makes the tiny volumes in it."""
    return tmp_path_factory.mktemp("smoke")


@pytest.fixture(scope="module")
def finished(smoke_folder: Path) -> Path:
    """A finished run of two epochs."""
    run_command("train", *SMOKE, "name=finished", "baseline=true", cwd=smoke_folder)
    return smoke_folder / "runs" / "finished"


def test_run_folder_tells_what_was_done(finished: Path) -> None:
    config = OmegaConf.load(finished / "config.yaml")
    assert config.data.fold == 0
    assert config.module.model.upsample == ["bilinear", "bilinear", "bilinear", "subpixel"]  # resolved
    versions = json.loads((finished / "versions.json").read_text())
    assert versions["torch"] == torch.__version__
    assert re.fullmatch(r"[0-9a-f]{40}", versions["git_commit"] or "0" * 40)
    split = json.loads((finished / "split.json").read_text())
    patients = [name for part in ("train", "val", "test") for name in split[part]]
    assert sorted(patients) == sorted(set(patients))
    assert len(patients) == 8
    for name in ("curves.png", "overlays.png", *(f"overlays/{case}.png" for case in split["test"])):
        assert (finished / name).read_bytes().startswith(b"\x89PNG")
    for name in ("best.ckpt", "last.ckpt"):
        assert weights(finished / "checkpoints" / name)


def test_scores_per_case_and_their_summary(finished: Path) -> None:
    result = json.loads((finished / "result.json").read_text())
    with (finished / "test_cases.csv").open() as file:
        rows = list(csv.DictReader(file))
    split = json.loads((finished / "split.json").read_text())
    assert [row["case"] for row in rows] == split["test"]
    mean = sum(float(row["lesion_dice"]) for row in rows) / len(rows)
    assert result["scores"]["dice"] == pytest.approx(mean)
    assert result["scores"]["dice_interval"][0] <= mean <= result["scores"]["dice_interval"][1]
    assert result["synthetic"] is True
    assert not result["selected_on_test"]
    assert 0 < result["baseline"]["scores"]["dice"] < 1


def test_score_of_the_saved_checkpoint_equals_the_logged_one(finished: Path, smoke_folder: Path) -> None:
    run_command(
        "evaluate", "ckpt=runs/finished/checkpoints/best.ckpt", "output=evaluated", "accelerator=cpu", cwd=smoke_folder
    )
    again = json.loads((smoke_folder / "evaluated" / "evaluation.json").read_text())
    result = json.loads((finished / "result.json").read_text())
    assert again["scores"] == result["scores"]
    assert again["cases"] == result["cases"]
    assert again["summary"]["lesion"]["dice_per_case"]["interval"] == result["scores"]["dice_interval"]
    logged = [
        row
        for path in finished.glob("metrics/*/metrics.csv")
        for row in csv.DictReader(path.open())
        if row["test/dice"]
    ]
    assert float(logged[0]["test/dice"]) == pytest.approx(result["scores"]["dice"], abs=1e-6)


@pytest.mark.hostile
def test_an_average_of_supervised_weights_is_resumed_and_tested_as_it_is_saved(smoke_folder: Path) -> None:
    plain = ("experiment=smoke", "model=strided_unet")
    recipe = (*plain, "callbacks=[default,ema,deep_supervision]")
    run_command("train", *recipe, "name=averaged", "trainer.max_epochs=1", cwd=smoke_folder)
    last = "ckpt_path=runs/averaged/checkpoints/last.ckpt"
    run_command("train", *recipe, "name=resumed", "trainer.max_epochs=2", last, cwd=smoke_folder)
    best = "ckpt=runs/resumed/checkpoints/best.ckpt"
    run_command("evaluate", best, "output=average", "accelerator=cpu", cwd=smoke_folder)
    again = json.loads((smoke_folder / "average" / "evaluation.json").read_text())
    result = json.loads((smoke_folder / "runs" / "resumed" / "result.json").read_text())
    assert again["scores"] == result["scores"]
    plain = (*plain, "name=plain", "trainer.max_epochs=2")
    error = failed_command("train", *plain, last, cwd=smoke_folder)
    assert "with the layers of this training's callbacks: none" in error
    assert "auxiliary.decoder_2.weight" in error
    run_command("train", *plain, cwd=smoke_folder)
    error = failed_command(
        "train", *recipe, "name=more", "ckpt_path=runs/plain/checkpoints/last.ckpt", cwd=smoke_folder
    )
    assert "auxiliary.decoder_2.weight" in error
    assert "found none" in error


def test_finished_run_is_not_done_again(finished: Path, smoke_folder: Path) -> None:
    before = (finished / "result.json").stat().st_mtime_ns
    arguments = (*SMOKE, "name=finished", "baseline=true")
    shown = run_command("train", *arguments, cwd=smoke_folder)
    assert "finished" in shown
    assert "dsc_unet, subpixel" in shown
    assert (finished / "result.json").stat().st_mtime_ns == before
    assert "seed was 0, now 7" in failed_command("train", *arguments, "seed=7", cwd=smoke_folder)


# Lightning counts the epochs of a resumed run in another way if there is a budget of steps.
@pytest.mark.parametrize("steps", [1000, pytest.param(-1, marks=pytest.mark.slow)])
def test_killed_run_resumes_to_the_same_weights(steps: int, smoke_folder: Path) -> None:
    settings = ("trainer.max_epochs=4", f"trainer.max_steps={steps}", "scheduler=onecycle", "model.dropout=0.3")
    arguments = (*SMOKE, *settings)
    run_command("train", *arguments, f"name=whole{steps}", cwd=smoke_folder)
    process = start_command("train", *arguments, f"runs=cut{steps}", cwd=smoke_folder)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch 3/4"):
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (folder,) = (path.parent.parent for path in (smoke_folder / f"cut{steps}").glob("**/last.ckpt"))
    assert not (folder / "result.json").exists()
    run_command("train", *arguments, f"runs=cut{steps}", "ckpt_path=last", cwd=smoke_folder)
    assert (folder / "result.json").exists()
    whole = smoke_folder / "runs" / f"whole{steps}"
    assert equal_weights(whole / "checkpoints" / "last.ckpt", folder / "checkpoints" / "last.ckpt")
    assert len(list(folder.glob("metrics/version_*"))) == 2
    assert history(whole) == history(folder)
    configs = {path.parent for path in (smoke_folder / f"cut{steps}").glob("**/config.yaml")}
    assert len(configs - {folder / ".hydra"}) == 1


def test_a_run_that_is_told_to_end_does_not_end_as_if_all_were_well(smoke_folder: Path) -> None:
    process = start_command("train", *SMOKE, "trainer.max_epochs=400", "name=told", cwd=smoke_folder)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch 2/"):
            break
    process.terminate()
    process.communicate(timeout=100)
    assert process.returncode == 128 + signal.SIGTERM
    assert not (smoke_folder / "runs" / "told" / "result.json").exists()


def test_same_seed_same_weights_and_another_seed_other_weights(smoke_folder: Path) -> None:
    for name, seed in (("one", 3), ("two", 3), ("other", 4)):
        run_command("train", *SMOKE, "trainer.max_epochs=1", f"seed={seed}", f"name={name}", cwd=smoke_folder)
    last = [smoke_folder / "runs" / name / "checkpoints" / "last.ckpt" for name in ("one", "two", "other")]
    assert equal_weights(last[0], last[1])
    assert not equal_weights(last[0], last[2])


def test_two_ranks_score_every_volume_once(smoke_folder: Path) -> None:
    """The console script starts both ranks as its command."""
    ranks = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.max_epochs=1", "name=ranks")
    settings = ("data.preprocess.spacing=4", "trainer.log_every_n_steps=1")
    status, out, err = run_lits_seg("train", *SMOKE, *ranks, *settings, door="script", cwd=smoke_folder)
    assert status == 0, err
    assert (out + err).count("CTs are cropped") == 1
    result = json.loads((smoke_folder / "runs" / "ranks" / "result.json").read_text())
    run_command(
        "evaluate", "ckpt=runs/ranks/checkpoints/best.ckpt", "output=one_rank", "accelerator=cpu", cwd=smoke_folder
    )
    alone = json.loads((smoke_folder / "one_rank" / "evaluation.json").read_text())
    assert alone["cases"] == result["cases"]
    assert alone["scores"] == result["scores"]
    assert result["device"] == "2 x cpu"
    assert result["precision"] == "32-true"
    assert not list((smoke_folder / "runs" / "ranks").glob(".test_masks"))
    (metrics,) = (smoke_folder / "runs" / "ranks").glob("metrics/*/metrics.csv")
    with metrics.open() as file:
        rows = list(csv.DictReader(file))
    first, (both,) = ([float(row[key]) for row in rows if row[key]] for key in ("train/loss_step", "train/loss_epoch"))
    assert abs(both - sum(first) / len(first)) > 1e-5  # a step's loss is that of the first rank


# Others have the same parts: in an ordinary run, these stand for them.
SLOW = {"bellver_baseline", "christ_liver", "denseunet_161", "drozdzal_2016", "drozdzal_2018", "fcn8s", "han"}
SLOW |= {"decoder_ablation", "mobilenet_v1", "segnet"}


@pytest.mark.parametrize(
    "experiment", [pytest.param(each, marks=[pytest.mark.slow] * (each in SLOW)) for each in EXPERIMENTS]
)
def test_every_experiment_runs(experiment: str, smoke_folder: Path) -> None:
    small = [override for override in SMOKE if not override.startswith(("trainer=", "trainer.max_epochs=", "model."))]
    driu = (*NARROW_OWN["driu"], "data.preprocess.size=64")
    crops = "augment.crop=32"
    own = {
        **NARROW_OWN,
        "demo_strided": (crops,),
        "finetune": (crops,),
        "packaged": ("~data.sources", crops),
    }  # sources: the user's folders
    own |= {name: (*NARROW_OWN[name], "data.preprocess.size=64") for name in ("drozdzal_2016", "drozdzal_2018")}
    own |= {name: (*NARROW_OWN[name], "data.preprocess.size=64", crops) for name in ("denseunet_161", "han")}
    own |= {"bellver_baseline": driu, "bellver_liver": driu, "bellver_lesion": (*driu, "liver_ckpt=bellver.ckpt")}
    unet = ("data.preprocess.size=64", *(override for override in SMOKE if override.startswith("model.")))
    own |= {"common": (*unet, crops), "christ_liver": unet, "christ_lesion": (*unet, "liver_ckpt=christ.ckpt")}
    own |= {"bellver_detector": (*NARROW_DETECTOR, "data.preprocess.size=64", "liver_ckpt=confirmed.ckpt")}
    for name, window in (("bellver", [-150, 250]), ("christ", [-100, 400]), ("confirmed", [-150, 250])):
        images = {**SETTINGS["preprocess"], "window": window, "size": 64, "equalize": False}
        kind = with_model(out_channels=3) if name == "confirmed" else {**SETTINGS, "foreground": "liver"}
        settings = {**kind, "preprocess": images}
        save_checkpoint(smoke_folder / f"{name}.ckpt", settings=settings)
    narrow = own.get(experiment, [override for override in SMOKE if override.startswith("model.")])
    run_command(
        "train", f"experiment={experiment}", *small, *narrow, "debug=fast", "trainer.accelerator=cpu",
        f"name={experiment}", cwd=smoke_folder,
    )  # fmt: skip


def test_fine_tuning_starts_from_every_weight_of_the_packaged_network(smoke_folder: Path) -> None:
    small = [override for override in SMOKE if not override.startswith(("trainer=", "model."))]
    arguments = ("experiment=finetune", "debug=fast", "trainer.accelerator=cpu", "augment.crop=32")
    run_command("train", *small, *arguments, "name=tuned_packaged", cwd=smoke_folder)
    logged = (smoke_folder / "runs" / "tuned_packaged" / "train.log").read_text()
    fitting, weights = map(int, re.search(r"(\d+) of (\d+) weights are the network's start\n", logged).groups())
    assert fitting == weights > 0
    assert "learned with" not in logged


def test_tests_on_volumes_from_elsewhere(finished: Path, smoke_folder: Path) -> None:
    arguments = ("trainer.max_epochs=1", "data.test_root=data/smoke", "data.allow_overlap=true", "name=elsewhere")
    run_command("train", *SMOKE, *arguments, f"init_from={finished}/checkpoints/best.ckpt", cwd=smoke_folder)
    warnings = re.findall("WARNING.*: (.*)", (smoke_folder / "runs" / "elsewhere" / "train.log").read_text())
    assert sum("(tested now)" in warning for warning in warnings) == 1  # the patients of init_from
    assert len(set(warnings)) == len(warnings)
    result = json.loads((smoke_folder / "runs" / "elsewhere" / "result.json").read_text())
    assert result["scores"]["patients"] == 8
    assert math.isfinite(result["scores"]["dice"])


def test_a_training_that_fails_on_its_data_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "runs" / "noted").mkdir(parents=True)
    (tmp_path / "runs" / "noted" / "notes.txt").touch()
    for name in ("name=mine", "name=noted", "seed=1"):
        told = failed_command("train", "data=lits", "data.root=none", "trainer=cpu", name, cwd=tmp_path)
        assert told.startswith("error: none: expected volume-N")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["none", "runs"]
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["noted"]
    assert (tmp_path / "runs" / "noted" / "notes.txt").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["name=../evil"], ["name: expected a folder name below runs", "found ../evil"]),
        (["name=/evil"], ["name: expected a folder name below runs", "found /evil"]),
        (["model=nope"], ["model/nope", "dsc_unet", "unet"]),
        (["model.widht=3"], ["widht", "encoder_widths"]),
        (["decoder.levels=[bilinear,bilinear,bilinear,cubic]"], ["cubic", "bicubic", "espcn"]),
        (["data=lits"], ["data.root"]),
        (["data=lits", "data.root=nowhere"], ["nowhere", "expected", "found"]),
        (["data.fold=4"], ["data.fold", "0 to 3", "4"]),
        (["data.slices=kidney"], ["all, liver, lesion", "kidney"]),
        (["ckpt_path=nothing.ckpt"], ["nothing.ckpt", "no such file"]),
        (["ckpt_path=last", "runs=empty"], ["empty", "ckpt_path=last"]),
        (["loss.weights=heavy"], ["auto", "heavy"]),
        (["runs=data/smoke/phantom.json"], ["data/smoke/phantom.json"]),
        *((["trainer.precision=" + each], ["trainer.precision: expected", each]) for each in ("bf16-true", "64")),
    ],
)
def test_wrong_settings_get_one_clear_error(
    arguments: list[str], told: list[str], finished: Path, smoke_folder: Path
) -> None:
    assert finished.exists()  # after a training, there is a phantom
    shown = failed_command("train", *SMOKE, *arguments, cwd=smoke_folder)
    assert shown.startswith("error: ")
    for word in told:
        assert word in shown


def test_a_network_that_cannot_see_the_crops_is_refused_before_the_training(tmp_path: Path) -> None:
    network = ("model=nnunet_2d", "model.filters=[4,4,4,4,4,4,4]", "data.preprocess.size=256")
    told = failed_command("train", "data=smoke", *network, "augment=scanner_crops", "name=crops", cwd=tmp_path)
    assert told.startswith("error: model, for 1 x 64 x 64 pixels: expected settings with which")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("precision", get_args(Precision))
def test_every_precision_trains(precision: str | int, smoke_folder: Path) -> None:
    run_command("train", *SMOKE, "debug=fast", f"trainer.precision={precision}", f"name={precision}", cwd=smoke_folder)


@pytest.mark.parametrize(("model", "network"), [("segresnet", "SegResNet"), ("strided_unet", "StridedUNet")])
def test_decoder_of_a_network_that_has_its_own_is_refused(model: str, network: str, smoke_folder: Path) -> None:
    shown = failed_command("train", "data=smoke", "trainer=cpu", f"model={model}", "decoder=deconv", cwd=smoke_folder)
    assert f"found {network}, which has a fixed decoder: decoder= does not apply to that model" in shown


@pytest.mark.parametrize(
    ("arguments", "decoder", "levels"),
    [
        ((*SMOKE, "decoder.levels=[bilinear,bilinear,deconv,subpixel]"), "bilinear-bilinear-deconv-subpixel", 4),
        (("data=smoke", "trainer=cpu", "model=segresnet", "model.init_filters=8"), "own", 0),
    ],
)
def test_decoder_is_named_by_the_network(
    arguments: tuple[str, ...], decoder: str, levels: int, smoke_folder: Path
) -> None:
    shown = run_command("train", *arguments, f"name={decoder}", "trainer.max_epochs=1", cwd=smoke_folder)
    result = json.loads((smoke_folder / "runs" / decoder / "result.json").read_text())
    assert result["decoder"] == decoder
    assert len(result["levels"]) == levels
    assert f", {decoder} " in shown


def test_checkpoint_of_another_architecture(finished: Path, smoke_folder: Path) -> None:
    shown = failed_command(
        "train", *SMOKE, "decoder=deconv", f"ckpt_path={finished}/checkpoints/last.ckpt", cwd=smoke_folder
    )
    assert "last.ckpt: expected a checkpoint of this model (upsample=['deconv'" in shown


def test_errors_in_a_shell(smoke_folder: Path) -> None:
    process = start_command("train", *SMOKE, "data.fold=4", cwd=smoke_folder)
    _, err = process.communicate()
    assert process.returncode == 1
    assert "error: data.fold: expected one of 0 to 3 (data.folds=4); found 4" in err
    assert "Traceback" not in err


def test_steps_that_end_before_the_first_validation_are_scored_all_the_same(smoke_folder: Path) -> None:
    run_command("train", *SMOKE, "trainer.max_steps=2", "name=short", cwd=smoke_folder)
    result = json.loads((smoke_folder / "runs" / "short" / "result.json").read_text())
    assert result["steps"] == 2
    assert result["best_checkpoint"] == "checkpoints/best.ckpt"
    assert equal_weights(
        *(smoke_folder / "runs" / "short" / "checkpoints" / f"{name}.ckpt" for name in ("best", "last"))
    )


@pytest.mark.hostile
def test_weights_that_have_seen_test_patients_are_no_start(finished: Path, smoke_folder: Path) -> None:
    start = f"init_from={finished}/checkpoints/best.ckpt"
    alone = smoke_folder / "alone"  # with its split next to it, as the packaged network
    alone.mkdir()
    for file in ("checkpoints/best.ckpt", "split.json"):
        (alone / Path(file).name).write_bytes((finished / file).read_bytes())
    for one in (start, f"init_from={alone}/best.ckpt"):
        error = failed_command("train", *SMOKE, one, "data.fold=1", "name=leaking", cwd=smoke_folder)
        assert "expected CTs on which this network was neither trained nor selected" in error
    run_command("train", *SMOKE, start, "debug=fast", "name=tuned", cwd=smoke_folder)  # the same split
    assert json.loads((smoke_folder / "runs" / "tuned" / "split.json").read_text())["inherited"] == {}


@pytest.mark.hostile
def test_what_a_network_has_seen_before_its_run_is_no_test_either(finished: Path, smoke_folder: Path) -> None:
    first, others = finished / "checkpoints" / "best.ckpt", ("data.root=data/others", "data.generate.seed=5")
    run_command("train", *SMOKE, *others, f"init_from={first}", "debug=fast", "name=second", cwd=smoke_folder)
    second = smoke_folder / "runs" / "second" / "checkpoints" / "best.ckpt"
    second.parent.mkdir(exist_ok=True)
    second.write_bytes(first.read_bytes())  # debug=fast keeps no checkpoint
    before, after = (json.loads((path.parent.parent / "split.json").read_text()) for path in (first, second))
    parts = ("train", "val")
    assert after["inherited"] == {f"{part} of init_from": before["voxels"][part] for part in parts}
    told = failed_command("evaluate", f"ckpt={second}", "references=data/smoke", "accelerator=cpu", cwd=smoke_folder)
    assert "CTs on which this network was neither trained nor selected" in told
    for part in parts:
        assert f" and {before[part][0]} ({part} of init_from)" in told
    third = (*SMOKE, "data.root=data/third", "data.generate.seed=6", "data.test_root=data/smoke", "name=third")
    told = failed_command("train", *third, f"init_from={second}", "debug=fast", cwd=smoke_folder)
    assert f" and {before['train'][0]} (train of init_from)" in told


@pytest.mark.hostile
def test_a_run_that_is_chosen_by_the_loss_of_test_patients_says_so_and_has_their_dice(
    finished: Path, smoke_folder: Path
) -> None:
    names = [str(number) for number in range(8)]
    (smoke_folder / "same.json").write_text(json.dumps({"train": names[:6], "val": names[6:], "test": names[6:]}))
    more = smoke_folder / "more"
    for number in (20, 21):
        write_case(more, str(number), *anatomy(number))
    (more / "volume-30.nii.gz").write_bytes((more / "volume-20.nii.gz").read_bytes())  # without labels
    run_command(
        "train", *SMOKE, "data.split=same.json", "callbacks.best.monitor=val/loss", "callbacks.best.mode=min",
        "baseline=true", "trainer.max_epochs=1", "data.on_error=skip", "name=same",
        "data.sources={more: {_target_: lits_seg.data.sources.Source, root: more, share: 0.2}}", cwd=smoke_folder,
    )  # fmt: skip
    result = json.loads((smoke_folder / "runs" / "same" / "result.json").read_text())
    assert result["selected_on_test"]
    assert result["val_dice"] == pytest.approx(result["scores"]["dice"], abs=1e-6)
    assert result["baseline"]["scores"]["patients"] == 2


@pytest.mark.hostile
def test_the_corrected_command_of_the_same_name_is_accepted(smoke_folder: Path) -> None:
    for wrong, told in (
        (("data.fold=9",), "data.fold: expected one of 0 to 3"),
        (("optimizer=sgd", "optimizer.lr=10"), "found NaN or infinity since step"),
        (("+trainer.limit_test_batches=0",), "trainer.limit_test_batches: expected all slices of at least one patient"),
        (("+trainer.limit_val_batches=0",), "trainer.limit_val_batches: expected"),
        (("+trainer.overfit_batches=1",), "trainer.overfit_batches: expected 0"),
    ):
        assert told in failed_command("train", *SMOKE, *wrong, "name=mended", cwd=smoke_folder)
        assert not (smoke_folder / "runs" / "mended" / "config.yaml").exists()
        assert not list((smoke_folder / "runs" / "mended").glob("checkpoints/*"))
    run_command("train", *SMOKE, "trainer.max_epochs=1", "name=mended", cwd=smoke_folder)
    assert (smoke_folder / "runs" / "mended" / "result.json").exists()


@pytest.mark.hostile
def test_a_patient_that_was_not_seen_whole_is_in_no_score(smoke_folder: Path) -> None:
    limits = ("+trainer.limit_test_batches=1", "trainer.max_epochs=1")
    run_command("train", *SMOKE, *limits, "name=part", "baseline=true", cwd=smoke_folder)
    run = smoke_folder / "runs" / "part"
    result = json.loads((run / "result.json").read_text())
    first, _ = json.loads((run / "split.json").read_text())["test"]
    assert [case["case"] for case in result["cases"]] == [first]
    assert result["scores"]["patients"] == result["baseline"]["scores"]["patients"] == 1
    assert result["scores"]["dice"] == result["cases"][0]["lesion"]["dice"]


@pytest.mark.hostile
@pytest.mark.parametrize("content", ["", "{", "[]", '{"scores": 3}'])
def test_a_damaged_result_is_named_with_what_to_do(content: str, finished: Path, smoke_folder: Path) -> None:
    whole = (finished / "result.json").read_text()
    (finished / "result.json").write_text(content)
    told = failed_command("train", *SMOKE, "name=finished", "baseline=true", cwd=smoke_folder)
    (finished / "result.json").write_text(whole)
    assert "result.json: expected a readable result (move the file away, and ckpt_path=last tests" in told
