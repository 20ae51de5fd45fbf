"""Runs put together: folds and seeds of a variant pooled over patients, variants compared on the same patients."""

import functools
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lits_seg.common.errors import InputError
from lits_seg.comparison.folders import Run
from lits_seg.comparison.notes import baseline_notes, stand_in, unequal_notes
from lits_seg.comparison.variants import names
from lits_seg.metrics.statistics import compare_cases, summarise_cases

# What is reported, of all that summarise_cases and compare_cases give.
SCORES = {
    "lesion/dice_per_case": "Dice per case",
    "lesion/dice_global": "Dice global",
    "lesion/jaccard": "Jaccard",
    "lesion/paper_symbols": "precision (paper)",
    "detection/iou>0.5/precision": "lesions: precision",
    "detection/iou>0.5/recall": "lesions: recall",
}
DICE = "lesion/dice_per_case"


@dataclass(frozen=True)
class Variant:
    """A network with its settings: its runs over folds and seeds, and its patients.

    Args:
        name: model, decoder, and settings by which it differs from others.
        runs: by fold, seed and name.
        cases: by patient, ``score_case``'s values, averaged over seeds.
        scores: ``SCORES``, each with ``value`` and ``interval`` (95 %, over patients).
    """

    name: str
    runs: tuple[Run, ...]
    cases: dict[str, dict[str, Any]]
    scores: dict[str, dict[str, Any]]

    @property
    def model(self) -> str:
        """The model's name."""
        return str(self.runs[0].result["model"])

    @property
    def network(self) -> str:
        """Model and decoder, without settings."""
        return f"{self.model}, {self.runs[0].result['decoder']}"

    @property
    def upsampling(self) -> str:
        """What the name says beside the model: the decoder, and settings."""
        return self.name.removeprefix(f"{self.model}, ")

    def every(self, *keys: str) -> list[Any]:
        """The different values of the runs' results, sorted; by a path of keys."""
        return sorted(set(self._values(keys)) - {None})

    def median(self, *keys: str) -> float | None:
        """The median over runs of a result's number, an int where it is whole; None where no run has it."""
        known = [value for value in self._values(keys) if value is not None]
        middle = statistics.median(known) if known else None
        return int(middle) if middle is not None and middle == int(middle) else middle

    def _values(self, keys: Sequence[str]) -> list[Any]:
        return [functools.reduce(lambda value, key: value[key], keys, run.result) for run in self.runs]


@dataclass(frozen=True)
class Group:
    """Variants that were tested on the same data in the same way.

    Args:
        facts: what they have in common.
        variants: by number of parameters.
        baseline: the one that the others are compared with.
        notes: what a reader must know: of the choice of the baseline, and what is missing or does not compare.
        pairs: by name of the other variants, ``SCORES`` of both, on the patients that both have.
    """

    facts: dict[str, Any]
    variants: tuple[Variant, ...]
    baseline: Variant
    notes: tuple[str, ...]
    pairs: dict[str, dict[str, dict[str, Any]]]

    @property
    def title(self) -> str:
        """What was tested on."""
        facts = self.facts
        made = ", ".join(f"{key} {value}" for key, value in facts["generate"].items())
        kind = f" (synthetic CT{': ' * bool(made)}{made})" if facts["synthetic"] else ""
        selection = "; the same patients chose the checkpoint (optimistic)" if facts["selected_on_test"] else ""
        return (
            f"{facts['data']}{kind}, {facts['size']} px, {facts['folds']} folds (split seed {facts['split_seed']})"
            f"{selection}"
        )


def pool(runs: Sequence[Run], baseline: str) -> list[Group]:
    """Groups of variants, in whatever order the runs come.

    Raises ``InputError`` where a patient was tested twice by one variant and seed, or is not the same one in all runs.
    """
    tested: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: (run.result["fold"], run.result["seed"], run.name)):
        tested.setdefault(json.dumps(_facts(run), sort_keys=True), []).append(run)
    return [_group(tested[key], baseline) for key in sorted(tested)]


def compare(variant: Variant, other: Variant) -> dict[str, dict[str, Any]] | None:
    """``SCORES`` of both (a: the variant) on the patients that both have, as ``compare_cases`` gives them; or None."""
    patients = sorted(variant.cases.keys() & other.cases.keys())
    if not patients:
        return None
    a, b = ([one.cases[patient] for patient in patients] for one in (variant, other))
    compared = compare_cases(a, b)
    return {score: compared[score] for score in SCORES}


def find_variant(variants: Sequence[Variant], name: str) -> list[Variant]:
    """The variant of that name, else those of that model and decoder, whatever their settings."""
    return [variant for variant in variants if variant.name == name] or [
        variant for variant in variants if variant.network == name
    ]


def _facts(run: Run) -> dict[str, Any]:
    data = run.config["data"]
    made = data.get("generate") or {}
    return {
        **{key: run.result[key] for key in ("data", "synthetic", "size", "folds", "selected_on_test")},
        "split_seed": data.get("split_seed"),
        "elsewhere": data.get("test_root") is not None,
        "generate": {key: made[key] for key in sorted(made) if key[0] != "_" and key != "workers"},
    }


def _group(runs: list[Run], wanted: str) -> Group:
    facts = _facts(runs[0])
    _require_same_references(runs)
    named: dict[str, list[Run]] = {}
    for run, name in zip(runs, names(runs), strict=True):
        named.setdefault(name, []).append(run)
    variants = sorted(
        (_variant(name, members, facts["elsewhere"]) for name, members in named.items()),
        key=lambda variant: (variant.runs[0].result["parameters"], variant.name),
    )
    chosen = find_variant(variants, wanted)
    baseline = chosen[0] if chosen else stand_in(variants)
    compared = {variant.name: compare(variant, baseline) for variant in variants if variant is not baseline}
    pairs = {name: pair for name, pair in compared.items() if pair is not None}
    notes = (*baseline_notes(variants, chosen, wanted), *unequal_notes(variants, baseline))
    return Group(facts, tuple(variants), baseline, notes, pairs)


def _variant(name: str, runs: list[Run], elsewhere: bool) -> Variant:
    rows: dict[str, list[dict[str, Any]]] = {}
    tested_by: dict[tuple, Run] = {}
    for run in runs:
        # On volumes from elsewhere every fold's network is tested on all of them: folds repeat as seeds do.
        repeat = (run.result["seed"], run.result["fold"] if elsewhere else None)
        for case in run.result["cases"]:
            other = tested_by.get((repeat, case["case"]))
            if other is not None:
                raise InputError(
                    f"{other.name} and {run.name} ({name})",
                    f"each patient tested once with seed {run.result['seed']} (report on one sweep, or move a run)",
                    f"patient {case['case']} in both",
                )
            tested_by[repeat, case["case"]] = run
            rows.setdefault(case["case"], []).append(case)
    cases = {patient: _mean(rows[patient]) for patient in sorted(rows)}
    summary = summarise_cases(list(cases.values()))
    return Variant(name, tuple(runs), cases, {score: summary[score] for score in SCORES})


def _mean(rows: list[Any]) -> Any:
    """One patient over seeds: numbers averaged (counts, too: pooled figures are ratios of their sums)."""
    first = rows[0]
    if len(rows) == 1 or isinstance(first, str):
        return first
    if isinstance(first, dict):
        return {
            key: [part for row in rows for part in row[key]] if key == "lesions" else _mean([row[key] for row in rows])
            for key in first
        }
    if isinstance(first, (list, tuple)):
        return [_mean(list(parts)) for parts in zip(*rows, strict=True)]
    return float(np.mean(rows))


def _require_same_references(runs: Sequence[Run]) -> None:
    seen: dict[str, tuple[int, Run]] = {}
    for run in runs:
        for case in run.result["cases"]:
            voxels = case["voxels"]["lesion"][2]
            before, other = seen.setdefault(case["case"], (voxels, run))
            if voxels != before:
                raise InputError(
                    f"{other.name} and {run.name}",
                    f"the same data: {case['case']} with {before} lesion voxels in both references",
                    f"{voxels} in the second",
                )
