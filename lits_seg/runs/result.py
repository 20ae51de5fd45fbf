"""The result of a run: reading it, summing up a test, and a run's table."""

import json
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from lits_seg import RESEARCH_USE
from lits_seg.common.errors import InputError
from lits_seg.common.tables import markdown
from lits_seg.metrics import bootstrap_interval, case_scores, summarise

HEADER = (
    "network",
    "parameters",
    "GMAC",
    "Dice per case [95 %]",
    "Dice global",
    "Jaccard",
    "precision",
    "training",
)


# What a report needs of a result; one of an earlier version may lack some.
NEEDED = (
    *("model", "decoder", "data", "fold", "folds", "selected_on_test", "seed", "size", "parameters", "macs"),
    *("synthetic", "steps", "train_seconds", "device", "latency", "cases"),
)


def read_result(path: Path) -> dict[str, Any]:
    """A run's ``result.json``, NaN in ``cases`` where JSON has null.

    Raises ``InputError`` for a file that is damaged or lacks one of ``NEEDED``.
    """
    try:
        result = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(path, "a run's result (JSON)", error) from error
    lacking = [name for name in NEEDED if name not in result] if isinstance(result, dict) else NEEDED
    if lacking:
        raise InputError(path, "a result of this version", f"no {', '.join(lacking)}")
    if not result["cases"] or not all("detection" in case for case in result["cases"]):
        raise InputError(path, "all scores of each test patient (cases)", "cases without")
    return {**result, "cases": _with_nan(result["cases"])}


def summary(counts: ArrayLike) -> dict[str, Any]:
    """Means over patients, with the interval of the Dice, from counts ``(patients, 3)``."""
    dice = case_scores(counts)["dice"].tolist()
    return {**summarise(counts), "dice_interval": bootstrap_interval(dice), "patients": len(dice)}


def table(results: list[dict[str, Any]]) -> str:
    """Runs, and the baselines on the same patients, as a Markdown table; what they were tested on above it."""
    blocks = []
    groups: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        groups.setdefault(_tested_on(result), []).append(result)
    for title, group in groups.items():
        rows = [_row(result) for result in sorted(group, key=lambda result: result["parameters"])]
        baseline = next((result["baseline"] for result in group if "baseline" in result), None)
        if baseline:
            rows.append((baseline["name"], "–", "–", *_scores(baseline["scores"]), "–"))
        blocks.append(f"Lesions, {title}:\n\n{markdown(HEADER, rows)}")
    return "\n\n".join(blocks) + f"\n\n{RESEARCH_USE}"


def _tested_on(result: dict[str, Any]) -> str:
    kind = " (synthetic CT)" if result["synthetic"] else ""
    fold = f", fold {result['fold']} of {result['folds']}" if "fold" in result else ""
    selection = "; the same patients chose the checkpoint (optimistic)" if result["selected_on_test"] else ""
    return (
        f"{result['scores']['patients']} test patients of {result['data']}{kind}{fold}, {result['size']} px{selection}"
    )


def _row(result: dict[str, Any]) -> tuple[str, ...]:
    trained = f"{result['train_seconds'] / 60:.1f} min, {result['steps']} steps" if "steps" in result else "–"
    return (
        f"{result['model']}, {result['decoder']}",
        f"{result['parameters']:,}",
        f"{result['macs'] / 1e9:.2f}",
        *_scores(result["scores"]),
        trained,
    )


def _scores(scores: dict[str, Any]) -> tuple[str, ...]:
    interval = "[{:.3f}, {:.3f}]".format(*scores["dice_interval"]) if scores["dice_interval"] else "(one patient)"
    return (
        f"{scores['dice']:.3f} {interval}",
        f"{scores['dice_global']:.3f}",
        f"{scores['jaccard']:.3f}",
        f"{scores['paper_symbols']:.3f}",
    )


def _with_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_nan(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_with_nan(part) for part in value]
    return float("nan") if value is None else value
