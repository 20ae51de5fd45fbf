"""Recipes compared by their runs."""

import csv
from pathlib import Path

from helpers.experiments import failed_experiment, run_experiment
from helpers.run_folders import case, write_run


def test_recipes_are_compared_patient_by_patient(tmp_path: Path) -> None:
    for recipe, missed in (("plain", 10), ("better", 5)):
        for fold in (0, 1):
            cases = [case(f"p{fold}{number}", missed=missed + number) for number in range(3)]
            write_run(tmp_path / "runs" / f"{recipe}_100_f{fold}", cases, fold=fold, train_seconds=120.0)
    write_run(tmp_path / "runs" / "of another kind", [case("q")])
    shown = run_experiment("recipe.__main__", "runs=runs", "base=plain", "output=out", cwd=tmp_path)
    assert (tmp_path / "out/recipe.md").read_text() in shown
    rows = {
        line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")]
        for line in shown.splitlines()
        if line.startswith("| `")
    }
    dice = [[2 * (20 - m - n) / (40 - m - n) for n in range(3)] for m in (10, 5)]
    plain, better = (sum(values) / 3 for values in dice)
    assert rows["`plain`"][4].startswith(f"{plain:.3f} [")
    assert rows["`better`"][4].startswith(f"{better:.3f} [")
    assert rows["`better`"][5].startswith(f"+{better - plain:.3f} [")
    assert rows["`better`"][5].endswith("(6)")
    assert rows["`plain`"][5] == "–"
    table = list(csv.DictReader((tmp_path / "out/patients.csv").open()))
    assert len(table) == 12
    assert {row["recipe"] for row in table} == {"plain", "better"}


def test_a_base_without_runs_is_named(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "plain_100_f0", [case("p")])
    shown = failed_experiment("recipe.__main__", "runs=runs", "base=other", "output=out", cwd=tmp_path)
    assert shown == "error: runs: expected finished runs of the recipe other, named other_STEPS_fFOLD; found plain"
