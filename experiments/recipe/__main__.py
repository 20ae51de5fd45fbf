"""``python -m experiments.recipe``: compare training recipes by their runs on the folds of real patients."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.shared.command import PUBLISHED, command, publish
from experiments.shared.patients import SCORES, patient_cells, score_cells, with_lesions
from lits_seg.common.errors import InputError
from lits_seg.common.files import write_text
from lits_seg.common.ownership import table_file
from lits_seg.common.settings import Place
from lits_seg.common.tables import csv_text, markdown
from lits_seg.metrics.scores import CaseScores
from lits_seg.runs.folder import RESULT
from lits_seg.runs.result import RunResult, read_result

NAME = re.compile(r"(?P<recipe>.+)_(?P<steps>\d+)_f(?P<fold>\d+)")
HEADER = ["recipe", "steps", *SCORES, "training, min"]

Runs = dict[int, RunResult]  # by fold


@dataclass(frozen=True)
class Settings:
    """The settings in ``settings.yaml``."""

    runs: Place
    base: Place
    output: Place


@command("recipe/settings", Settings, {"recipe.md": PUBLISHED, "patients.csv": table_file("recipe,steps,fold,")})
def main(cfg: Settings) -> None:
    """Read the runs, print the table, and write the table and the scores of all patients into ``output``."""
    recipes = find_recipes(Path(cfg.runs))
    bases = {steps: runs for (recipe, steps), runs in recipes.items() if recipe == cfg.base}
    if not bases:
        found = ", ".join(sorted({recipe for recipe, _ in recipes})) or "none"
        raise InputError(cfg.runs, f"finished runs of the recipe {cfg.base}, named {cfg.base}_STEPS_fFOLD", found)
    rows = [row(recipe, steps, runs, bases.get(steps)) for (recipe, steps), runs in sorted(recipes.items())]
    publish(f"{markdown(HEADER, rows)}\n\n{explanation(cfg.base)}", Path(cfg.output) / "recipe.md")
    write_text(Path(cfg.output) / "patients.csv", csv_text(list(patient_rows(recipes))))


def find_recipes(folder: Path) -> Mapping[tuple[str, int], Runs]:
    """Return the finished runs below a folder by recipe and steps."""
    recipes: dict[tuple[str, int], Runs] = defaultdict(dict)
    for path in sorted(folder.rglob(RESULT)):
        if name := NAME.fullmatch(path.parent.name):
            recipes[name["recipe"], int(name["steps"])][int(name["fold"])] = read_result(path)
    return recipes


def row(recipe: str, steps: int, runs: Runs, base: Runs | None) -> list[str]:
    """Return the table's row of a recipe.

    Args:
        recipe: name of the recipe.
        steps: number of training steps.
        runs: the runs by fold.
        base: runs of the base with the same number of steps, if any.
    """
    compared = tested(base) if base and base is not runs else None
    minutes = sum(run.train_seconds for run in runs.values()) / 60 / len(runs)
    return [f"`{recipe}`", f"{steps:,}", *score_cells(tested(runs), compared), f"{minutes:.0f}"]


def tested(runs: Runs) -> list[CaseScores]:
    """Return the tested patients of all folds that have lesions."""
    return with_lesions(case for _, run in sorted(runs.items()) for case in run.cases)


def patient_rows(recipes: Mapping[tuple[str, int], Runs]) -> Iterator[dict[str, Any]]:
    """Yield a row per recipe and tested patient."""
    for (recipe, steps), runs in sorted(recipes.items()):
        for fold, run in sorted(runs.items()):
            for case in run.cases:
                yield {"recipe": recipe, "steps": steps, "fold": fold, **patient_cells(case)}


def explanation(base: str) -> str:
    """Return the text below the table."""
    return (
        f"Difference from `{base}` with the same number of steps, patient by patient (in brackets: the patients of "
        "both). Intervals: 95 %, bootstrap over patients. A lesion is found if it touches a predicted lesion. Times "
        "are of a machine with other work.\n\n"
        "Written by `python -m experiments.recipe`. Research use only."
    )


if __name__ == "__main__":
    main()
