"""hydra/sweeper=optuna: a quick task as its jobs, killed in earnest; and one real training."""

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from filelock import FileLock
from helpers.commands import ENVIRONMENT, SMOKE, failed_command, run_process
from helpers.searches import FROM_THIRD, SEARCH, WHOLE, quadratic, search, table
from omegaconf import DictConfig, OmegaConf

from lits_seg.cli import CONF
from lits_seg.common.errors import InputError


def proposals(rows: list[dict[str, str]]) -> list[tuple[str, ...]]:
    """What trials that ended by themselves were given and returned."""
    return [
        tuple(value for key, value in row.items() if key != "number") for row in rows if row["state"] != "interrupted"
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search of six trials that was never cut off: two random ones, four that the sampler proposed."""
    folder = tmp_path_factory.mktemp("whole")
    search(folder, *WHOLE)
    return folder


def test_table_and_best(whole: Path) -> None:
    rows = table(whole)
    assert [row["number"] for row in rows] == [str(number) for number in range(6)]
    for row in rows:
        assert row["state"] == "complete"
        assert 1e-4 <= float(row["optimizer.lr"]) <= 1e-2
        assert 0 <= float(row["model.dropout"]) <= 0.3
        job = OmegaConf.load(whole / row["number"] / ".hydra" / "config.yaml")
        assert job.optimizer.lr == float(row["optimizer.lr"])
        assert job.data.fold == 2
        assert float(row["value"]) == quadratic(job)
    assert {row["decoder"] for row in rows} == {"bilinear", "subpixel"}
    best = max(rows, key=lambda row: float(row["value"]))
    assert OmegaConf.load(whole / "best.yaml") == {
        "number": int(best["number"]),
        "value": float(best["value"]),
        "parameters": {
            "optimizer.lr": float(best["optimizer.lr"]),
            "model.dropout": float(best["model.dropout"]),
            "decoder": best["decoder"],
        },
    }
    assert OmegaConf.load(whole / "multirun.yaml").hydra.sweeper.n_trials == 6


@pytest.mark.parametrize("sampler", [["random"], ["gp", FROM_THIRD]], ids=lambda sampler: sampler[0])
def test_same_seed_same_proposals_and_another_seed_others(sampler: list[str], tmp_path: Path) -> None:
    arguments = (*SEARCH, f"hydra/sweeper/sampler={sampler[0]}", *sampler[1:], "hydra.sweeper.n_trials=3")
    one, again = (proposals(search(tmp_path / name, *arguments)) for name in ("one", "again"))
    assert one == again
    assert len(set(one)) == 3
    assert not set(one) & set(proposals(search(tmp_path / "other", *arguments, "hydra.sweeper.sampler.seed=1")))


def test_more_trials_go_on_with_a_finished_search(whole: Path, tmp_path: Path) -> None:
    for n_trials in (1, 4, 6):
        rows = search(tmp_path, *WHOLE, f"hydra.sweeper.n_trials={n_trials}")
        assert len(rows) == n_trials
    assert proposals(rows) == proposals(table(whole))
    # ckpt_path, and what else changes no result, may be another.
    assert search(tmp_path, *WHOLE, "ckpt_path=last", "hydra.sweeper.n_trials=5") == rows


def test_killed_search_goes_on_as_if_never_cut_off(whole: Path, tmp_path: Path) -> None:
    killed = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv.pop(1).split(os.pathsep)
from helpers.searches import WHOLE, quadratic, search

def task(cfg):
    if len(list(folder.glob("[0-9]*"))) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return quadratic(cfg)

folder = Path(sys.argv.pop(1))
search(folder, *WHOLE, task=task)
"""
    folder = tmp_path / "cut"
    ended = subprocess.run(
        [sys.executable, "-c", killed, os.pathsep.join(sys.path), str(folder)], env=ENVIRONMENT, timeout=120
    )
    assert ended.returncode == -signal.SIGKILL
    assert len(table(folder)) == 3  # written after every batch
    assert (folder / "best.yaml").exists()
    journal = folder / "search.journal"
    journal.write_bytes(journal.read_bytes() + b'{"op_co')  # the power went, too
    Path(f"{journal}.lock").symlink_to(journal)
    rows = search(folder, *WHOLE)
    cut, again = rows[3:5]
    assert (cut["state"], again["state"]) == ("interrupted", "complete")
    assert [cut[key] for key in ("optimizer.lr", "model.dropout", "decoder")] == [
        again[key] for key in ("optimizer.lr", "model.dropout", "decoder")
    ]
    assert proposals(rows) == proposals(table(whole))
    assert search(folder, *WHOLE) == rows


def test_batches_that_are_cut_off_are_done_again(tmp_path: Path) -> None:
    arguments = (*SEARCH, FROM_THIRD, "hydra.sweeper.n_trials=5", "hydra.sweeper.n_jobs=2")

    def third_is_cut_off(cfg: DictConfig) -> float:
        if (tmp_path / "cut" / "3").exists():
            raise KeyboardInterrupt
        return quadratic(cfg)

    for _ in range(2):  # and is cut off once more, at its first job
        with pytest.raises(KeyboardInterrupt):
            search(tmp_path / "cut", *arguments, task=third_is_cut_off)
    rows = search(tmp_path / "cut", *arguments)
    assert [row["state"] for row in rows] == ["complete"] * 2 + ["interrupted"] * 4 + ["complete"] * 3
    assert proposals(rows) == proposals(search(tmp_path / "whole", *arguments))


@pytest.mark.parametrize("value", [None, math.nan, InputError("here", "a file", "none"), RuntimeError("CUDA")])
def test_failed_trials_count_and_the_others_go_on(value: Any, tmp_path: Path, caplog: Any) -> None:
    def second_fails(cfg: DictConfig) -> Any:
        if cfg.seed != 2:
            return quadratic(cfg)
        if isinstance(value, Exception):
            raise value
        return value

    arguments = ("seed=range(1,4)", "hydra.sweeper.n_trials=6", "hydra.sweeper.n_jobs=3")
    rows = search(tmp_path, *arguments, task=second_fails)
    assert {(row["seed"], row["state"]) for row in rows} <= {("1", "complete"), ("2", "failed"), ("3", "complete")}
    assert len(rows) == 6
    assert any(row["state"] == "failed" for row in rows)
    assert OmegaConf.load(tmp_path / "best.yaml").parameters.seed != 2
    assert search(tmp_path, *arguments) == rows


def test_a_search_whose_trials_all_failed_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a trial that returns a value; found 2 failed"):
        search(tmp_path, *SEARCH, "hydra.sweeper.n_trials=2", task=lambda cfg: None)
    assert [row["state"] for row in table(tmp_path)] == ["failed"] * 2
    assert not (tmp_path / "best.yaml").exists()


def test_equal_trials_of_a_batch_are_one_job(tmp_path: Path) -> None:
    done = []
    rows = search(
        tmp_path, "seed=1,2", "hydra.sweeper.n_trials=6", "hydra.sweeper.n_jobs=6",
        task=lambda cfg: done.append(cfg.seed) or float(cfg.seed),
    )  # fmt: skip
    assert sorted(done) == [1, 2]
    assert [float(row["value"]) for row in rows] == [float(row["seed"]) for row in rows]


def test_minimum_and_steps(tmp_path: Path) -> None:
    arguments = ("model.dropout=range(0.1,0.5,0.1)", "hydra.sweeper.direction=minimize", "hydra.sweeper.n_trials=12")
    rows = search(tmp_path, *arguments, task=lambda cfg: cfg.model.dropout)
    assert {row["model.dropout"] for row in rows} <= {"0.1", "0.2", "0.3", "0.4"}
    best = OmegaConf.load(tmp_path / "best.yaml")
    assert best.value == best.parameters["model.dropout"] == min(float(row["value"]) for row in rows)


def test_folder_of_another_search_is_left_alone(whole: Path) -> None:
    before = {name: (whole / name).read_bytes() for name in ("search.csv", "best.yaml", "multirun.yaml")}
    for arguments, told in [
        (["data.fold=1"], "data.fold was 2, now 1"),
        (["seed=1,2"], "seed was None, now 1,2"),
        (["hydra.sweeper.direction=minimize"], "direction was maximize, now minimize"),
        (["hydra.sweeper.study_name=other"], "study_name=other; found search"),
    ]:
        with pytest.raises(InputError, match=told):
            search(whole, *WHOLE, *arguments)
    with FileLock(whole / ".search.journal.lock"), pytest.raises(InputError, match="another process"):
        search(whole, *WHOLE)
    search(whole, *WHOLE)
    assert {name: (whole / name).read_bytes() for name in before} == before


@pytest.mark.parametrize("content", ["a diary", "a diary\n", '{"op_code": 77}\n', '{"a": 1}\n'])
def test_a_journal_that_is_none_is_left_alone(content: str, tmp_path: Path) -> None:
    (tmp_path / "search.journal").write_text(content)
    with pytest.raises(InputError, match="the journal of a search"):
        search(tmp_path, *SEARCH)
    assert (tmp_path / "search.journal").read_text() == content


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["seed=1"], ["hydra/sweeper=optuna", "a value to search", "seed=1"]),
        (["model.dropout=tag(log,interval(0,1))"], ["model.dropout=tag(log,interval(0,1))", "low"]),
        (["model.dropout=interval(0,"], ["model.dropout=interval(0,"]),
        (["model.drpout=interval(0,1)"], ["drpout", "dropout"]),
        (["decoder=choice(bilinear,nope)"], ["decoder/nope", "subpixel"]),
        (["seed=1,2", "hydra.sweeper.n_trials=0"], ["n_trials", "found 0"]),
        (["seed=1,2", "hydra.sweeper.n_jobs=many"], ["n_jobs", "found many"]),
        (["seed=1,2", "hydra.sweeper.direction=up"], ["direction", "maximize or minimize", "found up"]),
        (["seed=1,2", "hydra.sweeper.sampler.seed=-1"], ["sampler.seed", "found -1"]),
        (["seed=1,2", "hydra.sweeper.sampler._target_=optuna.samplers.Nope"], ["optuna.samplers.Nope"]),
        (["seed=1,2", "hydra/sweeper/sampler=nope"], ["sampler/nope", "random", "tpe"]),
    ],
)
def test_wrong_searches_get_one_clear_error(arguments: list[str], told: list[str], tmp_path: Path) -> None:
    shown = failed_command("train", "-m", "hydra/sweeper=optuna", "hydra.sweep.dir=wrong", *arguments, cwd=tmp_path)
    assert shown.startswith("error: ")
    for word in told:
        assert word in shown
    assert not list(tmp_path.glob("wrong/*"))


def test_without_optuna_the_extra_is_named_and_hydra_starts_all_the_same(tmp_path: Path) -> None:
    with mock.patch.dict(sys.modules, {"optuna": None}):
        shown = failed_command("train", "-m", "hydra/sweeper=optuna", *SEARCH, cwd=tmp_path)
        assert "pip install -c constraints.txt '.[sweep]' in the project's folder" in shown
    started = "import sys, hydra.core.plugins as p; p.Plugins.instance(); print('optuna' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", started], capture_output=True, text=True, check=True, cwd=CONF.parent)
    assert shown.stdout == "False\n"


@pytest.mark.slow
def test_a_real_training(tmp_path: Path) -> None:
    arguments = (
        "-m", "hydra/sweeper=optuna", *SMOKE, "trainer.max_epochs=1", *SEARCH,
        "hydra.sweep.dir=runs/found", "hydra.sweeper.n_trials=2",
    )  # fmt: skip
    shown = run_process("train", *arguments, cwd=tmp_path)
    assert "2 trials, 0 failed; best: trial" in shown
    rows = table(tmp_path / "runs" / "found")
    results = [json.loads(path.read_text()) for path in (tmp_path / "runs" / "found").glob("**/result.json")]
    assert sorted(float(row["value"]) for row in rows) == sorted(result["val_dice"] for result in results)
    assert run_process("train", *arguments, cwd=tmp_path).count("Launching") == 0
    assert table(tmp_path / "runs" / "found") == rows
