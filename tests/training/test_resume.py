"""Resuming: settings are those of the command, paths those of the run's folder, patients those of the record."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.checkpoints import save_checkpoint
from helpers.commands import SMOKE, failed_command, run_command
from helpers.interrupted import interrupted_run

from lits_seg.data.split_record import SplitRecord
from lits_seg.runs.folder import read_config
from lits_seg.training.resume import recorded_patients

FOUR = (*SMOKE, "trainer.max_epochs=4")
FIRST = "ckpt_path=runs/first/checkpoints/last.ckpt"


def load(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with two of the four epochs of a run: constant learning rate, and one cycle."""
    folder = tmp_path_factory.mktemp("resume")
    interrupted_run(folder, "trainer.max_epochs=4", "name=first")
    interrupted_run(folder, "trainer.max_epochs=4", "scheduler=onecycle", "name=cycle", epochs=1)
    return folder


@pytest.fixture
def folder(place: Path, tmp_path: Path) -> Path:
    """The same for a single test."""
    shutil.copytree(place, tmp_path / "copy")
    return tmp_path / "copy"


def test_settings_of_the_command_are_used_and_recorded(place: Path) -> None:
    changed = ("optimizer.lr=1e-6", "optimizer.betas=[0.5,0.9]", "+optimizer.weight_decay=0.1", "loss.weights=[1,5]")
    run_command("train", *FOUR, FIRST, *changed, "name=changed", cwd=place)
    saved = load(place / "runs" / "changed" / "checkpoints" / "last.ckpt")
    used, asked = saved["optimizer_states"][0]["param_groups"][0], saved["hyper_parameters"]["optimizer"]
    assert (used["lr"], used["betas"], used["weight_decay"]) == (1e-6, (0.5, 0.9), 0.1)
    assert (asked["lr"], list(asked["betas"]), asked["weight_decay"]) == (1e-6, [0.5, 0.9], 0.1)
    assert saved["state_dict"]["loss.weights"].tolist() == [1, 5]
    assert saved["optimizer_states"][0]["state"][0]["step"] == saved["global_step"]  # the moments went on


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("source", "arguments", "peak"),
    [
        ("cycle", ("scheduler=onecycle", "optimizer.lr=0.01"), 0.01),
        ("first", ("scheduler=onecycle",), 0.001),
        ("cycle", (), None),
    ],
    ids=["higher peak", "from constant", "to constant"],
)
def test_a_schedule_is_that_of_the_command(
    source: str, arguments: tuple[str, ...], peak: float | None, place: Path
) -> None:
    name = f"{source}{peak}"
    checkpoint = f"ckpt_path=runs/{source}/checkpoints/last.ckpt"
    run_command("train", *SMOKE, *arguments, checkpoint, "trainer.max_epochs=3", f"name={name}", cwd=place)
    saved = load(place / "runs" / name / "checkpoints" / "last.ckpt")
    used = saved["optimizer_states"][0]["param_groups"][0]
    if peak is None:
        assert (used["lr"], used["betas"]) == (0.001, (0.9, 0.999))
        return
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    expected = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=saved["global_step"], pct_start=0.2)
    for _ in range(saved["global_step"]):
        optimizer.step()
        expected.step()
    assert used["lr"] == expected.get_last_lr()[0]
    assert used["betas"] == optimizer.param_groups[0]["betas"]


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("optimizer._target_=torch.optim.SGD", "~optimizer.betas"), "optimizer._target_ was torch.optim.Adam, now"),
        (("+optimizer.amsgrad=true",), "optimizer.amsgrad was None, now True"),
        (("scheduler=onecycle", "scheduler.total_steps=3"), "scheduler.total_steps: expected auto, or at least the 60"),
        (("loss.weights=[1,5,6]",), "loss.weights: expected 2 numbers"),
        (("data.fold=1",), "CTs on which this network was neither trained nor selected"),
    ],
)
def test_what_cannot_be_applied_is_refused(arguments: tuple[str, ...], told: str, place: Path) -> None:
    assert told in failed_command("train", *FOUR, FIRST, *arguments, "name=refused", cwd=place)
    assert not (place / "runs" / "refused" / "config.yaml").exists()


@pytest.mark.hostile
def test_a_moved_run_keeps_its_best_checkpoint(folder: Path) -> None:
    best = folder / "runs" / "first" / "checkpoints" / "best.ckpt"
    content = load(best)
    for saved in (best, best.with_name("last.ckpt")):
        stored = load(saved)
        (state,) = (one for key, one in stored["callbacks"].items() if "val/dice" in key)
        state["best_model_score"] = torch.tensor(0.99)
        state["best_k_models"] = {path: torch.tensor(0.99) for path in state["best_k_models"]}
        state["kth_value"] = torch.tensor(0.99)
        torch.save(stored, saved)
    (folder / "runs" / "first").rename(folder / "runs" / "moved")
    run_command("train", *FOUR, "name=moved", "ckpt_path=last", cwd=folder)
    result = json.loads((folder / "runs" / "moved" / "result.json").read_text())
    assert (result["val_dice"], result["best_checkpoint"]) == (pytest.approx(0.99), "checkpoints/best.ckpt")
    kept = load(folder / "runs" / "moved" / "checkpoints" / "best.ckpt")
    assert kept["epoch"] == content["epoch"] < 3
    assert not (folder / "runs" / "first").exists()


@pytest.mark.hostile
def test_the_best_checkpoint_of_another_run_does_not_count(place: Path) -> None:
    before = (place / "runs" / "first" / "checkpoints" / "best.ckpt").read_bytes()
    others = ("data.fold=1", "data.allow_overlap=true")
    run_command("train", *SMOKE, FIRST, "trainer.max_epochs=2", *others, "name=no_more", cwd=place)  # no more steps
    run_command("train", *SMOKE, FIRST, "trainer.max_epochs=3", "name=branch", cwd=place)
    assert (place / "runs" / "first" / "checkpoints" / "best.ckpt").read_bytes() == before
    for name in ("no_more", "branch"):
        assert (place / "runs" / name / "checkpoints" / "best.ckpt").exists()
        assert (place / "runs" / name / "result.json").exists()
    first, other = (json.loads((place / "runs" / name / "split.json").read_text()) for name in ("first", "no_more"))
    seen = {name for texts in other["inherited"].values() for name in texts}
    assert seen == {*first["train"], *first["val"]} - {*other["train"], *other["val"]} != set()


@pytest.mark.hostile
def test_patients_are_those_of_the_record_even_if_the_data_grew(folder: Path) -> None:
    before = json.loads((folder / "runs" / "first" / "split.json").read_text())
    for kind in ("volume", "segmentation"):
        shutil.copy(folder / "data" / "smoke" / f"{kind}-0.nii.gz", folder / "data" / "smoke" / f"{kind}-90.nii.gz")
    run_command("train", *FOUR, "name=first", "ckpt_path=last", cwd=folder)
    assert json.loads((folder / "runs" / "first" / "split.json").read_text()) == before
    result = json.loads((folder / "runs" / "first" / "result.json").read_text())
    assert [case["case"] for case in result["cases"]] == before["test"]


@pytest.mark.hostile
def test_patients_are_those_of_the_record_also_from_slurms_checkpoint(folder: Path) -> None:
    run = folder / "runs" / "first"
    shutil.copy(run / "checkpoints" / "last.ckpt", run / "hpc_ckpt_1.ckpt")
    data, wanted = read_config(run)["data"], SplitRecord.read(run / "split.json")
    assert recorded_patients(folder / "runs" / "second", run / "hpc_ckpt_1.ckpt", data) == wanted
    assert recorded_patients(folder / "runs" / "second", run / "hpc_ckpt_1.ckpt", {**data, "fold": 1}) is None


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without(key: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        torch.save({name: part for name, part in load(path).items() if name != key}, path)

    return damage


def other(key: str, value: object) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        torch.save({**load(path), key: value}, path)

    return damage


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *[
            (name, damage)
            for name in ("checkpoints/last.ckpt", "config.yaml", "split.json")
            for damage in (
                cut_off,
                lambda path: path.write_bytes(b""),
                lambda path: path.write_bytes(bytes(range(256))),
            )
        ],
        ("checkpoints/best.ckpt", cut_off),
        *[("checkpoints/last.ckpt", without(key)) for key in ("optimizer_states", "loops", "callbacks", "state_dict")],
        *[
            ("checkpoints/last.ckpt", other(key, value))
            for key, value in (
                ("optimizer_states", [{}]),
                ("optimizer_states", [{"state": {0: {"step": 1}}, "param_groups": []}]),
                ("loops", {"fit_loop": []}),
                ("callbacks", {"Timer": 3}),
                ("callbacks", {"Timer": {"time_elapsed": "long"}}),
                ("global_step", "many"),
                ("pytorch-lightning_version", None),
                ("state_dict", {"network.x": torch.zeros(1)}),
            )
        ],
        ("checkpoints/last.ckpt", lambda path: save_checkpoint(path)),
        ("config.yaml", lambda path: path.write_text("[1, 2]")),
        ("split.json", lambda path: path.write_text('{"train": 3}')),
        ("split.json", lambda path: path.write_text("[]")),
    ],
)
def test_a_damaged_file_of_the_run_is_named(name: str, damage: Callable[[Path], None], folder: Path) -> None:
    run = folder / "runs" / "first"
    damage(run / name)
    kept = {path: path.read_bytes() for path in run.rglob("*.*") if path.is_file() and ".hydra" not in path.parts}
    told = failed_command("train", *FOUR, "name=first", "ckpt_path=last", cwd=folder)
    assert told.startswith("error: ")
    assert Path(name).name in told
    assert {path: path.read_bytes() for path in kept} == kept


@pytest.mark.hostile
def test_damaged_curves_do_not_end_a_training(folder: Path) -> None:
    (metrics,) = (folder / "runs" / "first").glob("metrics/*/metrics.csv")
    metrics.write_bytes(b"\xff\xfe,,step\n1,2,3,4\n")
    run_command("train", *FOUR, "name=first", "ckpt_path=last", cwd=folder)
    assert (folder / "runs" / "first" / "result.json").exists()
