"""Figures of a data set: each is the ratio of two sums over patients.

The denominator of a mean counts patients; the denominator of a global Dice counts voxels. A single bootstrap therefore
serves all figures.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np

from lits_seg.metrics.scores import IOU_OVER_HALF, IOU_OVER_ZERO, SIZES, CaseScores

QUALITY = ("dice", "jaccard", "voe", "rvd", "assd", "rmsd", "msd")


@dataclass(frozen=True)
class Figure:
    """A figure of a data set: the ratio Σ ``over`` / Σ ``under`` of two sums over patients.

    Args:
        over: each patient's part of the numerator, ``(patients,)``; 0 for a patient without a value.
        under: each patient's part of the denominator, ``(patients,)``; 0 for a patient without a value.
        root: take the square root of the ratio (RMSE).
        empty: value for all patients if the denominator is 0. A resample with the denominator 0 has no value.
        better: 1 if higher values are better, -1 if lower values are, 0 if values nearer to zero are.
        per_case: whether the figure is a mean over patients, so that patients can be compared one by one.
    """

    over: np.ndarray
    under: np.ndarray
    root: bool = False
    empty: float = float("nan")
    better: int = 1
    per_case: bool = True

    def value(self, drawn: np.ndarray | None = None) -> np.ndarray:
        """Return the value for all patients or, given indices ``(resamples, patients)``, for each resample."""
        patients, empty = (slice(None), self.empty) if drawn is None else (drawn, np.nan)
        over, under = self.over[patients].sum(axis=-1), self.under[patients].sum(axis=-1)
        ratio = np.divide(over, under, out=np.full(np.shape(over), empty), where=under != 0)
        return np.sqrt(ratio) if self.root else ratio

    def cases(self) -> np.ndarray:
        """Return each patient's value; NaN for a patient without a value."""
        return np.where(self.under != 0, self.over, np.nan)


def figures(cases: Sequence[CaseScores]) -> dict[str, Figure]:
    """Return all figures of a data set by name."""
    found = _overlap_figures(cases, "lesion", ("voe",))
    for overlap in (IOU_OVER_HALF, IOU_OVER_ZERO):
        counts = [case.detection.by_overlap()[overlap] for case in cases]
        tp, fp, fn = (np.array([getattr(one, name) for one in counts]) for name in ("tp", "fp", "fn"))
        found[f"detection/{overlap}/precision"] = Figure(tp, tp + fp, per_case=False)
        found[f"detection/{overlap}/recall"] = Figure(tp, tp + fn, per_case=False)
        found[f"detection/{overlap}/false_per_patient"] = Figure(fp, np.ones(len(cases)), better=-1, per_case=False)
    for size in SIZES:
        for overlap in (IOU_OVER_HALF, IOU_OVER_ZERO):
            tp, fp, fn = _lesions_of_size(cases, size, overlap)
            found[f"detection/{overlap}/{size}/recall"] = Figure(tp, tp + fn, per_case=False)
            false = Figure(fp, np.ones(len(cases)), better=-1, per_case=False)
            found[f"detection/{overlap}/{size}/false_per_patient"] = false
    detected = [[lesion for lesion in case.lesions if np.isfinite(lesion.dice)] for case in cases]
    count = np.array([len(lesions) for lesions in detected])
    for name in QUALITY:
        total = np.array([sum(getattr(lesion, name) for lesion in lesions) for lesions in detected])
        found[f"detected_lesions/{name}"] = Figure(total, count, better=_better(name), per_case=False)
    found |= _overlap_figures(cases, "liver", ("voe", "rvd", "assd", "rmsd", "msd"))
    error = _mean([case.tumour_burden.error for case in cases], better=1)
    return {**found, "tumour_burden/rmse": Figure(error.over**2, error.under, root=True, better=-1)}


def _lesions_of_size(cases: Sequence[CaseScores], size: str, overlap: str) -> np.ndarray:
    """Return ``tp``, ``fp`` and ``fn`` of a size class, ``(3, patients)``; NaN if a patient has no counts by size."""
    known = [case.by_size.by_size()[size].by_overlap()[overlap] for case in cases if case.by_size is not None]
    if len(known) < len(cases):
        return np.full((3, len(cases)), np.nan)
    return np.array([astuple(counts) for counts in known], float).reshape(-1, 3).T


def _overlap_figures(cases: Sequence[CaseScores], part: str, more: Sequence[str]) -> dict[str, Figure]:
    both, predicted, reference = np.array([getattr(case.voxels, part) for case in cases], dtype=float).T
    scores = [getattr(case, part) for case in cases]
    return {
        f"{part}/dice_per_case": _mean([one.dice for one in scores], _better("dice")),
        f"{part}/dice_global": Figure(2 * both, predicted + reference, empty=0.0, per_case=False),
        **{
            f"{part}/{name}": _mean([getattr(one, name) for one in scores], _better(name))
            for name in ("jaccard", "paper_symbols", *more)
        },
    }


def _mean(values: Sequence[float], better: int) -> Figure:
    array = np.array(values, dtype=float)
    defined = np.isfinite(array)
    return Figure(np.where(defined, array, 0.0), defined.astype(float), better=better)


def _better(name: str) -> int:
    return {"rvd": 0, "voe": -1, "assd": -1, "rmsd": -1, "msd": -1}.get(name, 1)
