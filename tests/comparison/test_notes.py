"""What a report warns of before variants are compared."""

from dataclasses import replace

import pytest
from helpers.run_folders import LIGHT, case, one_group, run

from lits_seg.comparison.finished_runs import Found, Run
from lits_seg.comparison.notes import folds_text, group_notes, run_notes
from lits_seg.runs.result import Latency


def runs(**second: object) -> list[Run]:
    """Two networks on the same patient; ``second``: the fields that differ in the second one's result."""
    one, other = run("a", [case("1")]), run("b", [case("1")], LIGHT)
    return [one, replace(other, result=replace(other.result, **second))]


@pytest.mark.parametrize(
    ("second", "named"),
    [
        ({"device": "a GPU"}, "(a GPU, cpu)"),
        ({"latency": Latency(cpu_ms=1.0, cpu_threads=8, gpu_ms=None, gpu=None)}, "(2, 8)"),
    ],
)
def test_machines_that_differ_are_named(second: dict, named: str) -> None:
    assert group_notes(one_group(runs())) == []
    (note,) = group_notes(one_group(runs(**second)))
    assert named in note


def test_folds_with_other_seeds_are_named() -> None:
    seeds = [run(f"{fold} {seed}", [case(str(fold))], fold=fold, seed=seed) for fold, seed in ((0, 0), (0, 1), (1, 0))]
    others = [run(f"l{fold}", [case(str(fold))], LIGHT, fold=fold) for fold in (0, 1)]
    (note,) = group_notes(one_group([*seeds, *others]))
    assert "fold 0: seed 0, 1; fold 1: seed 0" in note


def test_folds_are_all_or_listed() -> None:
    assert folds_text(one_group([run("a", [case("1")]), run("b", [case("2")], fold=1)]).variants[0]) == "all 2"
    assert folds_text(one_group([run("a", [case("1")], fold=1)]).variants[0]) == "1 of 2"


def test_other_code_and_runs_left_out_are_counted() -> None:
    def noted(*versions: dict, **others: object) -> list[str]:
        finished = [replace(one, versions=each) for one, each in zip(runs(), versions, strict=True)]
        return run_notes(replace(Found(finished, [], {}, {}), **others))

    same = {"git_commit": "a" * 40, "lits-seg": "1", "torch": "2", "git_dirty": False}
    assert noted(same, same) == []
    (note,) = noted(same, same, unfinished=["c"], failed={"d": "out of memory"})
    assert "2 of 4 runs" in note
    (note,) = noted(same, {**same, "torch": "3"})
    assert "versions of torch: 2, 3" in note
    (note,) = noted(same, {**same, "git_dirty": True})
    assert note.startswith("1 of 2 runs")
