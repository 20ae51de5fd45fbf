"""Pool the folds and seeds of each variant over patients, and compare variants on the same patients."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from operator import attrgetter
from typing import Any

import numpy as np

from lits_seg.comparison.finished_runs import Run
from lits_seg.comparison.variants import FOLDS, names, split_of
from lits_seg.metrics.scores import CaseScores, VoxelCounts
from lits_seg.metrics.statistics import Difference, Estimate, FrocPoint, compare_cases, froc_points, summarise_cases

# The scores in the report: a selection of those that summarise_cases and compare_cases return.
SCORES = {
    "lesion/dice_per_case": "Dice per case",
    "lesion/dice_global": "Dice global",
    "lesion/jaccard": "Jaccard",
    "lesion/paper_symbols": "precision (paper)",
    "detection/iou>0.5/precision": "lesions: precision",
    "detection/iou>0.5/recall": "lesions: recall",
}
DICE = "lesion/dice_per_case"
DETECTION = ("detection/", "froc/")  # starts of the names of further scores: by size, and FROC


@dataclass(frozen=True)
class Variant:
    """A network with its settings, its runs over folds and seeds, and the scores of its patients.

    Args:
        name: model, decoder, and the settings that differ between variants.
        runs: the runs, sorted by fold, seed and name.
        cases: scores of each patient by name; scores and counts are means over seeds.
        scores: ``SCORES``, detection by size and FROC with intervals over patients.
        froc: points of the FROC curves; none if a run has no probabilities.
    """

    name: str
    runs: tuple[Run, ...]
    cases: dict[str, CaseScores]
    scores: dict[str, Estimate]
    froc: list[FrocPoint]

    @property
    def model(self) -> str:
        """The model's name."""
        return self.runs[0].result.model

    @property
    def decoder(self) -> str:
        """The decoder's name."""
        return self.runs[0].result.decoder

    @property
    def network(self) -> str:
        """Model and decoder, without settings."""
        return f"{self.model}, {self.decoder}"

    @property
    def upsampling(self) -> str:
        """The variant's name without the model: decoder and settings."""
        return self.name.removeprefix(f"{self.model}, ")

    def every(self, name: str) -> list[Any]:
        """Return the distinct values of a result's field, such as ``latency.gpu``, sorted and without None."""
        return sorted(set(self._known(name)))

    def median(self, name: str) -> float | None:
        """Return the median of a result's field over runs: an int if whole, None if no run has the field."""
        known = self._known(name)
        middle = statistics.median(known) if known else None
        return int(middle) if middle is not None and middle == int(middle) else middle

    def _known(self, name: str) -> list[Any]:
        values = [attrgetter(name)(run.result) for run in self.runs]
        return [value for value in values if value is not None]


@dataclass(frozen=True)
class TestedOn:
    """The test data that the runs of a group share.

    Args:
        data: the choice in ``conf/data``, or the folder of the test volumes.
        synthetic: whether the CT is synthetic; None if unknown.
        size: side of the network's images, pixels.
        folds: number of folds.
        split: see ``split_of``.
        selected_on_test: whether the test patients also chose the checkpoints.
        split_seed: seed of the split into folds.
        elsewhere: whether the test volumes are outside the folds, so that every fold's network is tested on all.
        generate: settings of the synthetic CT; empty if no CT was generated for the run.
    """

    data: str
    synthetic: bool | None
    size: int
    folds: int
    split: str | None
    selected_on_test: bool
    split_seed: int | None
    elsewhere: bool
    generate: dict[str, Any]


@dataclass(frozen=True)
class Group:
    """Variants that were tested on the same data in the same way.

    Args:
        tested_on: the shared test data.
        variants: the variants, sorted by number of parameters.
        wanted: name of the baseline that the user asked for.
        baseline: the variant that the others are compared with.
        pairs: comparison of each other variant (a) with the baseline (b), by variant name.
    """

    tested_on: TestedOn
    variants: tuple[Variant, ...]
    wanted: str
    baseline: Variant
    pairs: dict[str, dict[str, Difference]]

    @property
    def patients(self) -> set[str]:
        """The names of all patients that any variant was tested on."""
        return {patient for variant in self.variants for patient in variant.cases}

    @property
    def title(self) -> str:
        """The test data in words."""
        data = self.tested_on
        made = ", ".join(f"{key} {value}" for key, value in data.generate.items())
        kind = ""
        if data.synthetic:
            kind = f" (synthetic CT: {made})" if made else " (synthetic CT)"
        split = f"{data.folds} folds" if data.split in (FOLDS, None) else f"split {data.split}"
        selection = "; the same patients chose the checkpoint (optimistic)" if data.selected_on_test else ""
        return f"{data.data}{kind}, {data.size} px, {split} (split seed {data.split_seed}){selection}"


def pool(runs: Sequence[Run], baseline: str) -> list[Group]:
    """Group runs by test data and variant.

    Args:
        runs: finished runs in any order, ``without_conflicts``.
        baseline: name of the variant that others are compared with.
    """
    return [_group(group, baseline) for group in by_test_data(runs)]


def by_test_data(runs: Sequence[Run]) -> list[list[Run]]:
    """Return the runs of each test data, sorted by fold, seed and name."""
    tested: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: (run.result.fold, run.result.seed, run.name)):
        tested.setdefault(json.dumps(asdict(tested_on(run)), sort_keys=True), []).append(run)
    return [tested[key] for key in sorted(tested)]


def compare(variant: Variant, other: Variant) -> dict[str, Difference] | None:
    """Compare two variants by ``SCORES``, and by the detection of each size, on the patients that both have.

    Args:
        variant: the first variant, ``a`` in the result.
        other: the second variant, ``b`` in the result.

    Returns:
        The comparison by name of the score; None if the variants have no patient in common.
    """
    patients = sorted(variant.cases.keys() & other.cases.keys())
    if not patients:
        return None
    a, b = ([one.cases[patient] for patient in patients] for one in (variant, other))
    compared = compare_cases(a, b)
    return _selected(compared)


def find_variant(variants: Sequence[Variant], name: str) -> list[Variant]:
    """Return the variant of that name, or all variants of that model and decoder if no variant has the name.

    Args:
        variants: the variants to search.
        name: name of a variant, or model and decoder, such as ``unet, deconv``.
    """
    return [variant for variant in variants if variant.name == name] or [
        variant for variant in variants if variant.network == name
    ]


def tested_on(run: Run) -> TestedOn:
    """Return the test data of a run."""
    data, result = run.config["data"], run.result
    made = data.get("generate") or {}
    return TestedOn(
        data=result.data,
        synthetic=result.synthetic,
        size=result.size,
        folds=result.folds,
        split=split_of(run.config),
        selected_on_test=result.selected_on_test,
        split_seed=data.get("split_seed"),
        elsewhere=data.get("test_root") is not None,
        generate={key: made[key] for key in sorted(made) if not key.startswith("_") and key != "workers"},
    )


def _group(runs: list[Run], wanted: str) -> Group:
    shared = tested_on(runs[0])
    named: dict[str, list[Run]] = {}
    for run, name in zip(runs, names(runs), strict=True):
        named.setdefault(name, []).append(run)
    variants = sorted(
        (_variant(name, members) for name, members in named.items()),
        key=lambda variant: (variant.runs[0].result.parameters, variant.name),
    )
    chosen = find_variant(variants, wanted)
    baseline = chosen[0] if chosen else _stand_in(variants)
    compared = {variant.name: compare(variant, baseline) for variant in variants if variant is not baseline}
    pairs = {name: pair for name, pair in compared.items() if pair is not None}
    return Group(shared, tuple(variants), wanted, baseline, pairs)


def _stand_in(variants: Sequence[Variant]) -> Variant:
    """Return the variant that replaces a missing baseline: the most parameters, then the most patients."""
    return max(variants, key=lambda variant: (variant.median("parameters") or 0, len(variant.cases)))


def _variant(name: str, runs: list[Run]) -> Variant:
    rows: dict[str, list[CaseScores]] = {}
    for run in runs:
        for case in run.result.cases:
            rows.setdefault(case.case, []).append(case)
    cases = {patient: _mean(rows[patient]) for patient in sorted(rows)}
    pooled = list(cases.values())
    return Variant(name, tuple(runs), cases, _selected(summarise_cases(pooled)), froc_points(pooled))


def _selected(scores: dict[str, Any]) -> dict[str, Any]:
    return {name: score for name, score in scores.items() if name in SCORES or name.startswith(DETECTION)}


def _mean(rows: list[Any]) -> Any:
    """Average one patient over seeds. Counts are averaged, too, because pooled scores are ratios of their sums."""
    first = rows[0]
    if any(row is None for row in rows):  # a result of an earlier version, without this part
        return None
    if len(rows) == 1 or isinstance(first, str):
        return first
    if isinstance(first, VoxelCounts):
        return VoxelCounts(*_mean([tuple(row) for row in rows]))
    if isinstance(first, tuple):
        return tuple(_mean(list(parts)) for parts in zip(*rows, strict=True))
    if is_dataclass(first):
        parts = {field.name: [getattr(row, field.name) for row in rows] for field in fields(first)}
        lesions = parts.pop("lesions", None)
        means = {name: _mean(values) for name, values in parts.items()}
        if lesions is not None:  # lesions of different seeds do not correspond, so all are kept
            means["lesions"] = tuple(lesion for of_one_seed in lesions for lesion in of_one_seed)
        return replace(first, **means)  # type: ignore[type-var]  # an instance, since it came from a row
    return float(np.mean(rows))
