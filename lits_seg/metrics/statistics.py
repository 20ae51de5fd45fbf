"""Scores of many patients: means and pooled figures with intervals, and two programs on the same patients.

Every figure is a ratio of two sums over patients: a mean's second sum counts them, a global Dice's sums voxels. So
one bootstrap serves all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from lits_seg.metrics.case import QUALITY
from lits_seg.metrics.detection import OVERLAPS

RESAMPLES = 10_000


@dataclass(frozen=True)
class Figure:
    """Σ ``over`` / Σ ``under`` of patients ``(patients,)``; a patient that it is not defined for has 0 in both.

    Args:
        over, under: the sums' parts.
        root: take the square root (RMSE).
        empty: the value where Σ ``under`` is 0.
        better: 1 where more is better, -1 where less is; 0: nearer to zero is.
        per_case: a mean over patients, who can then be compared one by one.
    """

    over: np.ndarray
    under: np.ndarray
    root: bool = False
    empty: float = float("nan")
    better: int = 1
    per_case: bool = True

    def value(self, drawn: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Of all patients, or, for indices ``(resamples, patients)``, of each resample."""
        over, under = self.over[drawn].sum(axis=-1), self.under[drawn].sum(axis=-1)
        ratio = np.divide(over, under, out=np.full(np.shape(over), self.empty), where=under != 0)
        return np.sqrt(ratio) if self.root else ratio

    def cases(self) -> np.ndarray:
        """Each patient's own value, NaN where there is none."""
        return np.where(self.under != 0, self.over, np.nan)


def bootstrap_interval(values: Sequence[float], confidence: float = 0.95, seed: int = 0) -> tuple[float, float] | None:
    """Percentile bootstrap interval of the mean over patients (10,000 resamples); None for a single patient."""
    over = np.asarray(values, dtype=float)
    return interval(Figure(over, np.ones(len(over))).value(_draw(len(over), seed)), confidence)


def interval(resampled: np.ndarray, confidence: float = 0.95) -> tuple[float, float] | None:
    """Percentiles of a figure's resamples, without those where it has no meaning; None where there are no others."""
    defined = resampled[np.isfinite(resampled)]
    if not len(defined):
        return None
    low, high = np.percentile(defined, [50 * (1 - confidence), 50 * (1 + confidence)])
    return (float(low), float(high))


def figures(cases: Sequence[dict[str, Any]]) -> dict[str, Figure]:
    """All figures of a data set, by name, from ``score_case`` of each patient."""
    found = _overlap_figures(cases, "lesion", ("voe",))
    for overlap in (f"iou>{overlap:g}" for overlap in OVERLAPS):
        tp, fp, fn = (np.array([case["detection"][overlap][name] for case in cases]) for name in ("tp", "fp", "fn"))
        found[f"detection/{overlap}/precision"] = Figure(tp, tp + fp, per_case=False)
        found[f"detection/{overlap}/recall"] = Figure(tp, tp + fn, per_case=False)
    detected = [[row for row in case["lesions"] if np.isfinite(row["dice"])] for case in cases]
    count = np.array([len(rows) for rows in detected])
    for name in QUALITY:
        total = np.array([sum(row[name] for row in rows) for rows in detected])
        found[f"detected_lesions/{name}"] = Figure(total, count, better=_better(name), per_case=False)
    found |= _overlap_figures(cases, "liver", ("voe", "rvd", "assd", "rmsd", "msd"))
    error = _mean(cases, "tumour_burden", "error")
    return {**found, "tumour_burden/rmse": Figure(error.over**2, error.under, root=True, better=-1)}


def summarise_cases(cases: Sequence[dict[str, Any]], seed: int = 0) -> dict[str, dict[str, Any]]:
    """Each figure's ``value``, 95 % ``interval`` over patients, and how many patients it has no meaning for.

    ``tumour_burden/max_error``, an extreme, has no interval.
    """
    drawn = _draw(len(cases), seed)
    summary = {
        name: {
            "value": float(figure.value()),
            "interval": interval(figure.value(drawn)),
            "undefined": int((figure.under == 0).sum()) if figure.per_case else 0,
        }
        for name, figure in figures(cases).items()
    }
    errors = np.abs([case["tumour_burden"]["error"] for case in cases])
    summary["tumour_burden/max_error"] = {
        "value": float(np.nanmax(errors)) if np.isfinite(errors).any() else float("nan"),
        "interval": None,
        "undefined": int(np.isnan(errors).sum()),
    }
    return summary


def compare_cases(a: Sequence[dict[str, Any]], b: Sequence[dict[str, Any]], seed: int = 0) -> dict[str, dict[str, Any]]:
    """Two programs on the same patients, in the same order: for each figure ``a``, ``b`` and ``difference`` (a - b).

    ``interval``: of the difference, 95 %, by resampling patients. Where patients can be compared one by one: ``p``
    of a two-sided permutation test of the mean difference (each patient's sign flipped or not; exact for few), how
    many patients each wins and how many are ties. Means leave out patients for whom either has no value.
    """
    drawn = _draw(len(a), seed)
    compared = {}
    for name, (one, other) in _both(figures(a), figures(b)).items():
        row: dict[str, Any] = {
            "a": float(one.value()),
            "b": float(other.value()),
            "difference": float(one.value() - other.value()),
            "interval": interval(one.value(drawn) - other.value(drawn)),
        }
        if one.per_case:
            row |= _test(one, other, seed)
        compared[name] = row
    return compared


def _both(a: dict[str, Figure], b: dict[str, Figure]) -> dict[str, tuple[Figure, Figure]]:
    pairs = {}
    for name, (one, other) in ((name, (a[name], b[name])) for name in a):
        if one.per_case:
            both = (one.under != 0) & (other.under != 0)
            one, other = (
                Figure(figure.over * both, figure.under * both, figure.root, figure.empty, figure.better)
                for figure in (one, other)
            )
        pairs[name] = (one, other)
    return pairs


def _test(one: Figure, other: Figure, seed: int) -> dict[str, Any]:
    a, b = (figure.cases()[figure.under != 0] for figure in (one, other))
    gain = (a - b) * one.better if one.better else np.abs(b) - np.abs(a)
    tested = None
    if len(a) > 1:
        rng = np.random.default_rng(seed)
        tested = stats.permutation_test(
            (a - b,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", vectorized=True, rng=rng
        )
    return {
        "p": None if tested is None else float(tested.pvalue),
        "wins_a": int((gain > 0).sum()),
        "wins_b": int((gain < 0).sum()),
        "ties": int((gain == 0).sum()),
        "patients": len(a),
    }


def _overlap_figures(cases: Sequence[dict[str, Any]], part: str, more: Sequence[str]) -> dict[str, Figure]:
    both, inside, true = np.array([case["voxels"][part] for case in cases], dtype=float).T
    return {
        f"{part}/dice_per_case": _mean(cases, part, "dice"),
        f"{part}/dice_global": Figure(2 * both, inside + true, empty=0.0, per_case=False),
        **{f"{part}/{name}": _mean(cases, part, name) for name in ("jaccard", "paper_symbols", *more)},
    }


def _mean(cases: Sequence[dict[str, Any]], part: str, name: str) -> Figure:
    values = np.array([case[part][name] for case in cases], dtype=float)
    defined = np.isfinite(values)
    return Figure(np.where(defined, values, 0.0), defined.astype(float), better=_better(name))


def _better(name: str) -> int:
    return {"rvd": 0, "voe": -1, "assd": -1, "rmsd": -1, "msd": -1}.get(name, 1)


def _draw(patients: int, seed: int) -> np.ndarray:
    """Patients of each resample, ``(resamples, patients)``; none for a single patient, who tells no spread."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, patients, (RESAMPLES if patients > 1 else 0, patients))
