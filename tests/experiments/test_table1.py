"""The systems of Table I: the commands of their trainings, and the table of their runs."""

import csv
import shlex
import shutil
from pathlib import Path

import pytest
from helpers.commands import run_command
from helpers.experiments import NARROW, failed_experiment, run_experiment
from helpers.networks import NARROW_DETECTOR
from helpers.run_folders import case, write_run

from experiments.shared.networks import PUBLISHED
from experiments.shared.patients import SAME_PERSON
from experiments.table1.systems import SYSTEMS
from experiments.train_speed.measure import NETWORKS
from lits_seg.phantom.write import write_phantom

RATES = "network,parameters,macs,slices_per_second\n{}\n"
BUDGET = ("steps=12", "minutes=0.05", "output=out", "rates=train.csv")
# Tiny slices and networks: a training takes seconds.
TINY = ("data.preprocess.size=64", "augment.crop=32", "data.batch_size=4", "data.slices_per_epoch=16")


def plan(folder: Path, *arguments: str, rate: float = 16.0) -> list[list[str]]:
    """Return the words of each printed command, without comments."""
    rows = [f"{name},{2_000_000 if name == 'dsc_unet' else 30_000_000},1,{rate}" for name in NETWORKS]
    (folder / "train.csv").write_text(RATES.format("\n".join(rows)))
    out = run_experiment("table1.plan", *BUDGET, *arguments, cwd=folder)
    return [words for line in out.splitlines() if (words := shlex.split(line, comments=True))]


def value(words: list[str], key: str) -> str:
    (found,) = (word.partition("=")[2] for word in words if word.startswith(f"{key}="))
    return found


def test_stages_share_the_budget_and_follow_each_other(tmp_path: Path) -> None:
    lines = plan(tmp_path, "systems=[dsc_unet,christ,christ_crf]", "lits=LITS", "healthy=H/FOLD", "runs=r")
    names = [value(line, "name") for line in lines if line[1] == "train"]
    ours = [*(f"lits_dsc_unet_f{fold}" for fold in range(4)), "phantom_dsc_unet_f0"]
    assert names[:10] == [f"{regime}_{one}" for regime in ("steps", "minutes") for one in ours]
    assert ["root: H/2," in " ".join(line) for line in lines[:5]] == [False, False, True, False, False]
    assert names[10:12] == ["steps_lits_christ-liver_f0", "steps_lits_christ_f0"]
    assert value(lines[11], "liver_ckpt") == "r/steps_lits_christ-liver_f0/checkpoints/best.ckpt"
    assert [int(value(line, "trainer.max_steps")) for line in lines[10:18]] == [6, 6, 6, 6, 3, 2, 3, 2]
    assert value(lines[18], "ckpt") == "r/steps_lits_christ_f0/checkpoints/best.ckpt"
    assert value(lines[18], "output") == "r/steps_lits_christ_crf_f0"
    assert all(line[-1] == "ckpt_path=last" for line in lines if line[1] == "train")
    rows = list(csv.DictReader((tmp_path / "out/plan.csv").open()))
    assert [(row["system"], row["stage"], row["steps"], row["minutes"]) for row in rows] == [
        ("dsc_unet", "last", "12", "6"),
        ("christ", "liver", "6", "3"),
        ("christ", "last", "6", "2"),
    ]


def test_every_network_of_other_papers_has_a_row() -> None:
    assert {stage.network for system in SYSTEMS.values() for stage in system.stages} >= {*PUBLISHED}
    assert all(bool(system.stages) + bool(system.after) + bool(system.missing) == 1 for system in SYSTEMS.values())
    assert all(SYSTEMS[system.after].stages for system in SYSTEMS.values() if system.after)


def test_a_rate_that_was_not_measured_is_told(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(RATES.format("unet,1,1,2.0"))
    out = run_experiment("table1.plan", *BUDGET, "systems=[han]", cwd=tmp_path)
    assert "# han: not in equal minutes, since train.csv lacks han" in out
    assert "name=steps_phantom_han_f0" in out


@pytest.mark.slow  # every command of the plan is composed
def test_every_command_composes(tmp_path: Path) -> None:
    for words in plan(tmp_path, "lits=LITS", "healthy=H", "regimes=[steps]"):
        if "steps_lits" in words[-2] and "_f0" in words[-2]:
            run_command(words[1], *words[2:], "--cfg", "job", cwd=tmp_path)


@pytest.mark.slow  # three trainings
def test_the_runs_of_a_plan_become_a_table(tmp_path: Path) -> None:
    systems = "systems=[dsc_unet,christ,christ_crf]"
    write_phantom(tmp_path / "phantom", cases=8, size=64, slices=8)
    for words in plan(tmp_path, systems, "regimes=[steps]", "phantom=phantom", "runs=runs"):
        tiny = (*TINY, *NARROW) if words[1] == "train" else ("accelerator=cpu", "workers=0")
        run_command(words[1], *words[2:], *tiny, cwd=tmp_path)
    shown = run_experiment("table1.__main__", "runs=runs", "speed=null", "output=table", cwd=tmp_path)
    rows = {line.split("|")[1].strip(): line for line in shown.splitlines() if line.startswith("| `")}
    assert "not run" not in "".join(rows[f"`{name}`"] for name in ("dsc_unet", "christ", "christ_crf"))
    assert (tmp_path / "table/systems.png").exists()


@pytest.mark.slow  # three trainings
def test_a_detector_is_the_last_of_three_stages(tmp_path: Path) -> None:
    write_phantom(tmp_path / "phantom", cases=8, size=64, slices=8)
    lines = plan(tmp_path, "systems=[bellver_detector]", "regimes=[steps]", "phantom=phantom", "runs=runs")
    for words in lines:
        own = NARROW_DETECTOR if "model=detector" in words else ("model.widths=[8,8,16,16,32]", "model.side_width=4")
        crop = [] if "model=detector" in words else ["augment.crop=32"]
        kept = [word for word in TINY if not word.startswith("augment")]
        run_command(*words[1:], *kept, *crop, *own, cwd=tmp_path)
    assert (tmp_path / "runs/steps_phantom_bellver_detector_f0/result.json").exists()


def test_systems_are_compared_with_the_papers_network(tmp_path: Path) -> None:
    for name, missed in (("dsc_unet", 10), ("han", 5), ("han-liver", 5)):
        for fold in (0, 1):
            cases = [case(f"p{fold}{number}", missed=missed + number) for number in range(3)]
            write_run(tmp_path / "runs" / f"steps_phantom_{name}_f{fold}", cases, fold=fold, steps=100 + missed * fold)
    write_run(tmp_path / "runs" / "of another kind", [case("q")])
    (tmp_path / "speed.csv").write_text(
        "network,engine,threads,milliseconds_per_slice\nhan,ONNX Runtime,1,12.34\nhan,ONNX Runtime,2,1\n"
    )
    shutil.make_archive(str(tmp_path / "runs"), "xztar", tmp_path / "runs")
    shown = run_experiment("table1.__main__", "runs=runs.tar.xz", "speed=speed.csv", "output=out", cwd=tmp_path)
    assert (tmp_path / "out/table1.md").read_text() in shown
    table = shown.partition("## Equal steps, synthetic patients")[2].partition("##")[0]
    cells = [[one.strip() for one in line.split("|")] for line in table.splitlines() if line.startswith("| `")]
    rows = {line[1]: line for line in cells}
    assert list(rows) == [f"`{name}`" for name in SYSTEMS]
    assert rows["`han`"][4:6] == ["12.3", "100, 105"]
    dice = [sum(2 * (20 - m - n) / (40 - m - n) for n in range(3)) / 3 for m in (10, 5)]
    assert rows["`dsc_unet`"][7].startswith(f"{dice[0]:.3f} [")
    assert rows["`dsc_unet`"][8] == "–"
    assert rows["`han`"][8].startswith(f"+{dice[1] - dice[0]:.3f} [")
    assert rows["`segnet`"][2] == "not run"
    assert rows["`unet_3d`"][2].startswith("not built: ")
    assert rows["`vorontsov`"][-2] == "0.66"
    assert "0.645, ISBI 2017 test set" in shown
    assert SAME_PERSON in shown
    assert "Runs of no system: of another kind." in shown
    assert len(list(csv.DictReader((tmp_path / "out/patients.csv").open()))) == 12
    assert [row["steps"] for row in csv.DictReader((tmp_path / "out/runs.csv").open())] == ["100", "110", "100", "105"]
    assert (tmp_path / "out/systems.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.hostile
def test_wrong_inputs_are_named(tmp_path: Path) -> None:
    def told(name: str, *arguments: str) -> str:
        return failed_experiment(f"table1.{name}", *arguments, cwd=tmp_path)

    (tmp_path / "train.csv").write_text("network,parameters,slices_per_second\nhan,many,2\n")
    assert told("plan", *BUDGET).startswith("error: train.csv: expected train.csv of python -m experiments.train_speed")
    assert "no such file" in told("plan", "rates=none.csv").lower()
    (tmp_path / "train.csv").write_text(RATES.format("unet,1,1,2.0"))
    assert told("plan", *BUDGET, "systems=[resnet]").startswith("error: systems: expected some of dsc_unet, ")
    write_run(tmp_path / "runs" / "another", [case("q")])
    expected = (
        "error: runs: expected finished runs that are named as by python -m experiments.table1.plan; found another"
    )
    assert told("__main__", "runs=runs", "output=out") == expected
    for fold in (0, 1):
        write_run(tmp_path / "twice" / f"steps_lits_han_f{fold}", [case("q")])
    assert told("__main__", "runs=twice", "output=out").endswith("each patient in one fold; found q")
    assert not (tmp_path / "out").exists()
