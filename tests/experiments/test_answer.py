"""The answer: the commands of its trainings, the page of its runs, and the rules of its verdicts."""

import csv
import functools
import json
import math
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.commands import run_command
from helpers.experiments import NARROW, failed_experiment, run_experiment
from helpers.run_folders import case, write_run
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.answer.figures import LOSS, curves_figure
from experiments.answer.gains import Gain, gain
from experiments.answer.protocol import Protocol, read_protocol
from experiments.answer.rows import AGAIN, GROUPS, NETWORKS, OF_DECODERS, PLANNED, Row
from experiments.answer.verdicts import (
    MARGIN,
    TOLERANCE,
    agreed,
    faster,
    faster_inference,
    fewer,
    higher,
    judge,
    more,
    no_worse,
)
from experiments.shared import named_runs
from experiments.shared.patients import PERSONS, by_person
from experiments.shared.trainings import SPLITS, Rate
from experiments.train_speed.measure import NETWORKS as MEASURED
from lits_seg.comparison.claims import CONFIRMED, NOT_CONFIRMED, UNDECIDED
from lits_seg.metrics.scores import CaseScores
from lits_seg.phantom.write import write_phantom

RATES = "network,parameters,macs,slices_per_second\n{}\n"
SIZES = {"unet": (31_030_723, 4.0), "dsc_unet": (2_246_398, 16.0), "vorontsov": (2_104_898, 32.0)}
# Tiny slices and networks: a training takes seconds.
TINY = ("augment.crop=64", "data.batch_size=4", "data.slices_per_epoch=16")


def write_rates(path: Path, names: tuple[str, ...] = (*NETWORKS, *OF_DECODERS)) -> None:
    rows = []
    for name in dict.fromkeys(names):
        parameters, rate = SIZES.get(name, (1_000_000, 64.0))
        rows.append(f"{name},{parameters},1170000000,{rate}")
    path.write_text(RATES.format("\n".join(rows)))


def plan(folder: Path, *arguments: str) -> list[str]:
    """Return the printed lines."""
    if not (folder / "train.csv").exists():
        write_rates(folder / "train.csv")
    return run_experiment("answer.plan", "rates=train.csv", "output=out", *arguments, cwd=folder).splitlines()


def names(lines: list[str]) -> list[str]:
    return [word.removeprefix("name=") for line in lines for word in shlex.split(line) if word.startswith("name=")]


def test_the_plan_has_every_network_seed_and_fold_the_cheapest_first(tmp_path: Path) -> None:
    lines = plan(tmp_path, "lits=LITS", "phantom=P", "runs=r")
    found = names(lines)
    assert len(found) == len(set(found)) == sum(group.folds * len(group.rows) for group in GROUPS)
    assert len(GROUPS[0].rows) == len(NETWORKS) + 1 + len(AGAIN)
    steps = [name for name in found if name.startswith("steps_lits_")]
    assert steps[:4] == [f"steps_lits_strided_unet-context5_f{fold}" for fold in range(4)]
    assert steps[-4:] == [f"steps_lits_unet_f{fold}" for fold in range(4)]
    assert "decoders_lits_dsc_unet-maxunpool_f3" in found
    (second,) = (line for line in lines if "name=steps_lits_dsc_unet-s1_f2 " in line)
    expected = "seed=1 trainer.max_steps=1500 runs=r name=steps_lits_dsc_unet-s1_f2 ckpt_path=last"
    assert second.endswith(f"data=lits data.root=LITS data.split=experiments/packaged/splits/2.json {expected}")
    (timed,) = (line for line in lines if "name=minutes_phantom_dsc_unet_f0 " in line)
    assert "data.root=P data.folds=4 data.fold=0 data.val_share=null data.preprocess.size=128" in timed
    assert "trainer.max_steps=1200 " in timed  # 20 minutes of one step a second
    (own,) = (line for line in lines if "name=steps_lits_vorontsov-own_f0 " in line)
    assert "loss=tandem_dice '~loss.balance' optimizer=rmsprop " in own
    headings = [line for line in lines if line.startswith("#")]
    assert [line.partition(":")[0] for line in headings] == [f"# {group.title}" for group in GROUPS]
    assert headings[1] == f"# Equal minutes, real patients: 52 trainings, {13 * 4 / 3:.1f} hours of one core"
    rows = list(csv.DictReader((tmp_path / "out/plan.csv").open()))
    assert len(rows) == sum(len(group.rows) for group in GROUPS)
    assert rows[-1]["steps"] == "1000"


def test_training_speed_measures_every_network_of_the_plan() -> None:
    assert {row.network for group in GROUPS for row in group.rows} <= MEASURED.keys()


def test_budgets_networks_and_groups_are_settings(tmp_path: Path) -> None:
    small = (
        "networks=[unet,dsc_unet]",
        "regimes=[minutes]",
        "minutes=1",
        "folds=1",
        "overrides=['trainer.precision=32']",
    )
    lines = plan(tmp_path, "phantom=P", *small)
    assert names(lines) == ["minutes_phantom_dsc_unet_f0", "minutes_phantom_unet_f0"]
    assert all("trainer.precision=32 trainer.max_steps=" in line for line in lines[1:])
    lines = plan(tmp_path, "phantom=P", "networks=[vorontsov-own]", "regimes=[minutes]")
    assert names(lines) == ["minutes_phantom_vorontsov-own_f0"]
    write_rates(tmp_path / "train.csv", ("unet",))
    lines = plan(tmp_path, "lits=L", "networks=[unet,segresnet]", "regimes=[steps,minutes]", "folds=1")
    assert "and those of segresnet, whose rate was not measured" in lines[0]
    assert names(lines) == ["steps_lits_unet_f0", "steps_lits_segresnet_f0", "minutes_lits_unet_f0"]
    assert "# segresnet: not in equal minutes, since train.csv lacks it" in lines


@functools.cache
def scores(missed: int) -> CaseScores:
    return case("", missed=missed)


def patient(name: str, missed: int) -> CaseScores:
    return replace(scores(missed), case=name)


def patients(missed: int, fold: int) -> list[CaseScores]:
    """Return the test patients of a fold of ``SPLITS``; from one to the next, a prediction misses one voxel more."""
    return [patient(name, missed + number % 3) for number, name in enumerate(names_in(fold))]


@functools.cache
def names_in(fold: int) -> list[str]:
    return json.loads((Path(__file__).parents[2] / SPLITS / f"{fold}.json").read_text())["test"]


def mean_dice(missed: int) -> float:
    dice = [one.lesion.dice for fold in range(4) for one in patients(missed, fold)]
    return sum(dice) / len(dice)


def write_plan(path: Path) -> None:
    lines = [f"{','.join(key)},1500,1" for key in PLANNED]
    path.write_text("\n".join(["regime,data,system,steps,minutes", *lines]))


def write_runs(folder: Path, **missed: int) -> None:
    """Write the runs of all folds by name."""
    for name, count in missed.items():
        for fold in range(4):
            run = folder / f"{name}_f{fold}"
            write_run(run, patients(count, fold), fold=fold, folds=4, steps=1500, synthetic="phantom" in name)
            with (run / "metrics/version_0/metrics.csv").open("w") as file:
                file.write(f"epoch,step,train/loss_epoch\n0,99,{1.0 + fold}\n1,199,0.5\n")


def table(text: str, title: str) -> dict[str, list[str]]:
    """Return the cells of the first table below a title, by first cell."""
    part = text.partition(f"## {title}\n")[2].lstrip().partition("\n\n")[0]
    rows = [[one.strip() for one in line.split("|")[1:-1]] for line in part.splitlines()]
    return {cells[0]: cells for cells in rows}


def test_the_page_compares_networks_and_decides_the_claims(tmp_path: Path) -> None:
    write_rates(tmp_path / "train.csv")
    write_plan(tmp_path / "plan.csv")
    write_runs(tmp_path / "runs", steps_lits_unet=10, steps_lits_dsc_unet=5)
    write_runs(tmp_path / "runs", minutes_phantom_unet=10, minutes_phantom_strided_unet=5)
    write_runs(
        tmp_path / "runs", **{"steps_lits_dsc_unet-s1": 6, "steps_lits_vorontsov-own": 8, "steps_phantom_unet": 3}
    )
    header = "network,engine,threads,milliseconds_per_slice\n"
    pytorch = 'dsc_unet/subpixel,"PyTorch, contiguous",1,9\ndsc_unet/subpixel,"PyTorch, contiguous",2,1\n'
    onnx = "unet/deconv,ONNX Runtime,1,40\ndsc_unet/subpixel,ONNX Runtime,1,10\n"
    (tmp_path / "speed.csv").write_text(header + onnx + pytorch)
    (tmp_path / "browser.csv").write_text(f"{header}unet/deconv,WebAssembly,1,50\ndsc_unet/subpixel,WebAssembly,1,20\n")
    shutil.make_archive(str(tmp_path / "runs"), "xztar", tmp_path / "runs")
    arguments = ("runs=runs.tar.xz", "plan=plan.csv", "rates=train.csv", "speed=[speed.csv,browser.csv]", "output=out")
    shown = run_experiment("answer.__main__", *arguments, cwd=tmp_path)
    assert (tmp_path / "out/answer.md").read_text() in shown
    verdicts = {name: cells[1:] for name, cells in table(shown, "Verdicts").items()}
    assert verdicts["13.8 × fewer parameters"] == ["13.81 ×", CONFIRMED]
    assert verdicts["2 × faster to train"] == ["4.00 ×", CONFIRMED]
    assert verdicts["faster inference"] == ["4.00 × in ONNX Runtime, 2.50 × in WebAssembly", CONFIRMED]
    assert verdicts["Dice no worse, equal steps"][1] == CONFIRMED
    assert verdicts["Dice no worse, equal steps"][0].count(" over 16 persons") == 2  # two seeds
    assert verdicts["Dice no worse, equal minutes"] == ["seed 0: not run", UNDECIDED]
    assert verdicts["vorontsov: higher Dice, equal steps"][1] == NOT_CONFIRMED
    assert verdicts["vorontsov: more parameters"] == ["2,104,898 to 2,246,398", NOT_CONFIRMED]
    steps = table(shown, GROUPS[0].title)
    dice = {missed: mean_dice(missed) for missed in (5, 6, 10)}
    assert steps["`dsc_unet`"][1:5] == ["1,500", f"{1500 * 16 / 16 / 60:.1f}", "4", "21"]
    assert steps["`dsc_unet`"][5].startswith(f"+{dice[5] - dice[10]:.3f} [")
    assert steps["`dsc_unet`, seed 1"][6].startswith(f"{dice[6]:.3f} [")
    assert steps["`unet`"][5] == "–"
    assert steps["`segresnet`"][1] == "not run"
    assert steps["`vorontsov-own`"][1] == "1,500"
    assert len(steps) == 2 + len(GROUPS[0].rows)
    assert table(shown, GROUPS[3].title)["`dsc_unet/espcn`"][1] == "not run"
    costs = table(shown, "Costs")
    assert costs["`dsc_unet`"] == ["`dsc_unet`", "2,246,398", "1.17", "9.0", "10.0", "–", "20.0", "16.0"]
    assert "By the size of lesions:" in shown
    assert "aaaaaaaaaaaa" in shown
    assert "Runs of no group: steps_phantom_unet_f0, " in shown
    assert "other steps than planned" not in shown
    assert "Slices have 256 px, crops 128 px" not in shown  # not those of synthetic patients
    assert len(list(csv.DictReader((tmp_path / "out/patients.csv").open()))) == 6 * 21
    runs = list(csv.DictReader((tmp_path / "out/runs.csv").open()))
    assert len(runs) == 6 * 4
    assert {row["commit"] for row in runs} == {"a" * 40}
    for name in ("pareto.png", "curves.png", "patient.png"):
        assert f"]({name})" in shown
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")


def test_curves_have_whole_epochs_alone() -> None:
    """A resumed run of an earlier version has an epoch without batches, and a budget may cut the last one."""
    row = Row("dsc_unet")
    curves = [{99: 3.0, 100: math.nan, 200: 2.0, 300: 1.0, 301: 9.0}, {99: 3.0, 199: 2.0, 299: 1.0, 300: 9.0}]
    figure = curves_figure({GROUPS[0]: {row: [SimpleNamespace(curves={LOSS: curve}) for curve in curves]}}, {})
    assert figure is not None
    (line,) = figure.axes[0].lines
    assert np.isfinite(line.get_ydata()).all()
    assert max(line.get_xdata()) == 299
    assert line.get_ydata()[-1] == pytest.approx(1, abs=0.01)


def test_one_run_of_one_network_is_a_page_without_verdict_on_dice(tmp_path: Path) -> None:
    write_plan(tmp_path / "plan.csv")
    write_run(tmp_path / "runs/steps_lits_unet_f0", patients(5, 0), steps=300)
    write_run(tmp_path / "runs/steps_lits_dsc_unet_f0", patients(5, 0), steps=1500)
    arguments = ("runs=runs", "plan=plan.csv", "rates=null", "speed=[]", "output=out")
    shown = run_experiment("answer.__main__", *arguments, cwd=tmp_path)
    verdicts = table(shown, "Verdicts")
    assert verdicts["Dice no worse, equal steps"][1].endswith("over 5 persons, not as planned; seed 1: not run")
    assert all(cells[2] == UNDECIDED for name, cells in list(verdicts.items())[2:])
    assert "Equal steps, real patients: **other steps than planned** in `unet`." in shown
    assert "pareto.png" not in shown  # no costs
    assert not (tmp_path / "out/patient.png").exists()  # no picture of a patient that is not certainly synthetic


@pytest.mark.slow  # two trainings
def test_the_runs_of_a_plan_become_a_page(tmp_path: Path) -> None:
    write_phantom(tmp_path / "phantom", cases=8, size=64, slices=8)
    small = (
        "networks=[dsc_unet,unet]",
        "regimes=[minutes]",
        "minutes=0.1",
        "folds=1",
        "phantom=phantom",
        "phantom_size=64",
    )
    for words in map(shlex.split, plan(tmp_path, *small, "runs=runs")[1:]):
        run_command(words[1], *words[2:], *TINY, *NARROW, cwd=tmp_path)
    arguments = ("runs=runs", "plan=out/plan.csv", "rates=train.csv", "speed=[]", "output=out")
    shown = run_experiment("answer.__main__", *arguments, cwd=tmp_path)
    rows = table(shown, GROUPS[2].title)
    assert [rows[name][1] for name in ("`dsc_unet`", "`unet`")] == ["6", "1"]
    assert rows["`dsc_unet`"][5].endswith("(2)")
    assert all((tmp_path / "out" / name).exists() for name in ("pareto.png", "curves.png", "patient.png"))


@pytest.mark.slow  # a command for each network and group is composed
def test_every_command_composes(tmp_path: Path) -> None:
    for line in plan(tmp_path, "lits=LITS", "phantom=P", "folds=1"):
        if words := shlex.split(line, comments=True):
            run_command(words[1], *words[2:], "--cfg", "job", cwd=tmp_path)


@pytest.mark.hostile
def test_wrong_inputs_are_named(tmp_path: Path) -> None:
    def told(name: str, *arguments: str) -> str:
        return failed_experiment(f"answer.{name}", *arguments, "output=out", cwd=tmp_path)

    write_rates(tmp_path / "train.csv")
    assert told("plan", "rates=train.csv").startswith("error: lits, phantom: expected at least one folder")
    unknown = told("plan", "rates=train.csv", "lits=L", "networks=[resnet]")
    assert unknown.startswith("error: networks: expected some of strided_unet/context5, ")
    assert unknown.endswith("found resnet")
    assert "no such file" in told("plan", "rates=none.csv", "lits=L").lower()
    assert told("plan", "rates=train.csv", "lits=L", "folds=5").startswith("error: folds: ")
    write_run(tmp_path / "runs/table_f0", [case("q")])
    write_plan(tmp_path / "plan.csv")
    expected = (
        "error: runs: expected finished runs that are named as by python -m experiments.answer.plan; found table_f0"
    )
    page = ("__main__", "runs=runs", "rates=train.csv")
    assert told(*page) == expected
    write_run(tmp_path / "runs/steps_lits_unet_f0", [case("q")])
    assert told(*page, "plan=train.csv").startswith("error: train.csv: expected plan.csv of python -m experiments.")
    assert "inference.csv" in told(*page, "plan=plan.csv", "speed=[train.csv]")
    (tmp_path / "runs/steps_lits_unet_f0/versions.json").write_text("[")
    assert told(*page, "plan=plan.csv", "speed=[]").startswith("error: runs/steps_lits_unet_f0/versions.json: ")
    shutil.make_archive(str(tmp_path / "packed"), "tar", tmp_path / "runs")
    packed = told("__main__", "runs=packed.tar", "rates=train.csv", "plan=plan.csv", "speed=[]")
    assert packed.startswith("error: packed.tar/steps_lits_unet_f0/versions.json: ")
    write_run(tmp_path / "runs/steps_lits_unet_f1", [case("q")])
    assert told(*page).endswith("each patient in one fold; found q")
    write_run(tmp_path / "runs/copies/steps_lits_unet_f0", [case("q")])
    again = "runs/steps_lits_unet_f0: expected one run of this name; found another in runs/copies/steps_lits_unet_f0"
    assert told(*page) == f"error: {again}"
    assert not (tmp_path / "out").exists()


# The rules of the verdicts.

RATIOS = st.floats(0.01, 100)
GAINS = st.builds(
    lambda low, width, base: Gain(low + width / 2, (low, low + width), 16, base, True),
    st.floats(-1, 1),
    st.floats(0, 1),
    st.floats(0, 1),
)
ORDER = (NOT_CONFIRMED, UNDECIDED, CONFIRMED)


def moved(one: Gain, by: float) -> Gain:
    assert one.interval is not None
    low, high = one.interval
    return Gain(one.mean + by, (low + by, high + by), one.persons, one.base, one.whole)


def incomplete(one: Gain) -> Gain:
    return Gain(one.mean, one.interval, one.persons, one.base, False)


def trained(rate: float, unet: float) -> dict[str, Rate]:
    return {"dsc_unet": Rate(1, 1, rate), "unet": Rate(1, 1, unet)}


@given(GAINS, st.floats(0, 0.5))
def test_a_better_difference_never_has_a_worse_verdict(one: Gain, by: float) -> None:
    before, after = (no_worse("", [each], MARGIN).verdict for each in (one, moved(one, by)))
    assert ORDER.index(before) <= ORDER.index(after)
    before, after = (higher("", each, None).verdict for each in (one, moved(one, by)))
    assert ORDER.index(before) <= ORDER.index(after)


@given(GAINS)
def test_an_interval_around_the_bound_decides_nothing(one: Gain) -> None:
    low, high = one.interval or (0, 0)
    found = no_worse("", [one], MARGIN).verdict
    assert (found == UNDECIDED) == (low < -MARGIN <= high or one.base <= MARGIN)
    learned = one.base + max(one.mean, 0) > MARGIN
    assert (higher("", one, None).verdict == UNDECIDED) == (low <= 0 < high or not learned)


@given(GAINS, GAINS)
def test_seeds_must_agree_and_runs_must_be_complete(one: Gain, other: Gain) -> None:
    alone = [no_worse("", [each], MARGIN).verdict for each in (one, other)]
    assert no_worse("", [one, other], MARGIN).verdict == no_worse("", [other, one], MARGIN).verdict == agreed(alone)
    assert no_worse("", [one, None], MARGIN).verdict == UNDECIDED
    assert no_worse("", [one, incomplete(other)], MARGIN).verdict == UNDECIDED
    assert higher("", incomplete(one), other).verdict == higher("", None, other).verdict == UNDECIDED


@given(RATIOS, RATIOS, st.floats(0.1, 10))
def test_only_the_ratio_of_rates_counts(ours: float, theirs: float, scale: float) -> None:
    ratio = ours / theirs
    found = faster(trained(ours, theirs), TOLERANCE)
    if abs(ratio / 2 - 1) > TOLERANCE + 0.01:
        assert found.verdict == (CONFIRMED if ratio > 2 else NOT_CONFIRMED)
        assert faster(trained(ours * scale, theirs * scale), TOLERANCE).verdict == found.verdict
    elif abs(ratio / 2 - 1) < TOLERANCE - 0.02:
        assert found.verdict == UNDECIDED


@given(st.lists(RATIOS, min_size=1, max_size=4))
def test_inference_is_faster_if_every_engine_agrees(ratios: list[float]) -> None:
    times = {str(i): {"unet": ratio, "dsc_unet": 1.0} for i, ratio in enumerate(ratios)}
    found = faster_inference(times, TOLERANCE).verdict
    assert (found == CONFIRMED) == all(ratio / (1 + TOLERANCE) >= 1 for ratio in ratios)
    assert (found == NOT_CONFIRMED) == all(ratio * (1 + TOLERANCE) < 1 for ratio in ratios)
    assert faster_inference({**times, "one": {"unet": 1.0}}, TOLERANCE).verdict == found  # not measured there


@given(st.integers(1, 10**9), st.integers(1, 10**9))
def test_parameters_are_counted(light: int, heavy: int) -> None:
    rates = {"dsc_unet": Rate(light, 1, 1.0), "unet": Rate(heavy, 1, 1.0), "vorontsov": Rate(heavy, 1, 1.0)}
    assert (fewer(rates).verdict == CONFIRMED) == (heavy / light >= 13.8)
    assert (more(rates).verdict == CONFIRMED) == (heavy > light)


@given(st.lists(st.integers(0, 20), min_size=7, max_size=7))
@settings(max_examples=20, deadline=None)
def test_a_person_with_many_scans_weighs_no_more_than_another(missed: list[int]) -> None:
    scans = ["6", "7", "8", "9", "10", "0", "2"]
    found = [patient(name, count) for name, count in zip(scans, missed, strict=True)]
    single = [one.lesion.dice for one in found]
    assert by_person(found, ()) == single
    assert by_person(found, PERSONS) == pytest.approx([sum(single[:5]) / 5, *single[5:]])


def folds_of(missed: int, count: int = 4, steps: int = 1500) -> named_runs.Folds:
    def one(fold: int) -> named_runs.Tested:
        cases = tuple(patients(missed, fold))
        facts = {"steps": steps, "decoder": "", "model": "", "data": "", "selected_on_test": False, "synthetic": False}
        return named_runs.Tested(cases=cases, parameters=1, macs=1, size=256, **facts)

    return {fold: (Path(), one(fold)) for fold in range(count)}


def test_equal_networks_are_no_worse_and_not_higher() -> None:
    same = gain(folds_of(5), folds_of(5), PERSONS, whole=True)
    assert same is not None
    assert (same.mean, same.interval, same.persons, same.whole) == (0, (0, 0), 16, True)
    assert no_worse("", [same], MARGIN).verdict == CONFIRMED
    assert higher("", same, None).verdict == NOT_CONFIRMED


def test_only_runs_as_planned_decide(tmp_path: Path) -> None:
    write_plan(tmp_path / "plan.csv")
    protocol, key = read_protocol(tmp_path / "plan.csv"), ("steps", "lits", "unet")
    assert len(protocol.patients) == 21
    assert protocol.kept(key, folds_of(5))
    assert not protocol.kept(key, None)
    assert not protocol.kept(key, folds_of(5, 3))
    assert not protocol.kept(key, folds_of(5, steps=10))
    assert not protocol.kept(key, {**folds_of(5), 3: folds_of(5, steps=10)[3]})
    assert not protocol.kept(("minutes", "lits", "another"), folds_of(5))
    fewer_patients = {fold: (path, replace(one, cases=one.cases[1:])) for fold, (path, one) in folds_of(5).items()}
    assert not protocol.kept(key, fewer_patients)


def test_runs_of_other_steps_than_planned_decide_nothing() -> None:
    runs = {"unet": folds_of(5), "dsc_unet": folds_of(5), "dsc_unet-s1": folds_of(5), "vorontsov-own": folds_of(5)}
    everyone = {name for fold in range(4) for name in names_in(fold)}
    for steps, expected in ((1500, {CONFIRMED, NOT_CONFIRMED}), (1501, {UNDECIDED})):
        claims = judge({}, {}, {("steps", "lits"): runs}, Protocol(dict.fromkeys(PLANNED, steps), everyone))
        assert {claim.verdict for claim in claims if claim.claim.endswith("equal steps")} == expected


def test_patients_of_one_network_alone_are_not_compared() -> None:
    partial = gain(folds_of(5, 3), folds_of(5), PERSONS, whole=False)
    assert partial is not None
    assert partial.persons == 11  # those of the third fold are one person
    assert gain(None, folds_of(5), PERSONS, whole=False) is None


def test_every_claim_has_a_rule_and_no_verdict_without_measurements() -> None:
    claims = judge({}, {}, {}, Protocol({}, ()))
    assert len(claims) == 8
    assert all(claim.rule and claim.verdict == UNDECIDED for claim in claims)
