"""Statistics of many patients: means and pooled figures with intervals, and paired comparisons of two programs.

Every figure is a ratio of two sums over patients. The denominator of a mean counts patients; the denominator of a
global Dice counts voxels. A single bootstrap therefore serves all figures.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lits_seg.metrics.scores import IOU_OVER_HALF, IOU_OVER_ZERO, CaseScores

RESAMPLES = 10_000
QUALITY = ("dice", "jaccard", "voe", "rvd", "assd", "rmsd", "msd")

Interval = tuple[float, float]


@dataclass(frozen=True)
class Figure:
    """A figure of a data set: the ratio Σ ``over`` / Σ ``under`` of two sums over patients.

    Args:
        over: each patient's part of the numerator, ``(patients,)``; 0 for a patient without a value.
        under: each patient's part of the denominator, ``(patients,)``; 0 for a patient without a value.
        root: take the square root of the ratio (RMSE).
        empty: value of the figure if the denominator is 0.
        better: 1 if higher values are better, -1 if lower values are, 0 if values nearer to zero are.
        per_case: whether the figure is a mean over patients, so that patients can be compared one by one.
    """

    over: np.ndarray
    under: np.ndarray
    root: bool = False
    empty: float = float("nan")
    better: int = 1
    per_case: bool = True

    def value(self, drawn: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return the value for all patients or, given indices ``(resamples, patients)``, for each resample."""
        over, under = self.over[drawn].sum(axis=-1), self.under[drawn].sum(axis=-1)
        ratio = np.divide(over, under, out=np.full(np.shape(over), self.empty), where=under != 0)
        return np.sqrt(ratio) if self.root else ratio

    def cases(self) -> np.ndarray:
        """Return each patient's value; NaN for a patient without a value."""
        return np.where(self.under != 0, self.over, np.nan)


@dataclass(frozen=True)
class Estimate:
    """An estimated figure of a data set.

    Args:
        value: value for all patients; NaN if the figure is defined for no patient.
        interval: 95 % interval from resampled patients; None for a single patient, or if no resample has a value.
        undefined: number of patients without a value.
    """

    value: float
    interval: Interval | None
    undefined: int


@dataclass(frozen=True)
class PairedTest:
    """Two programs compared patient by patient.

    Args:
        p: p-value of a two-sided permutation test of the mean difference, which flips the signs of patients; exact for
            few patients. None for fewer than two patients.
        wins_a: number of patients for whom the first program is better.
        wins_b: number of patients for whom the second program is better.
        ties: number of patients for whom both programs are equal.
        patients: number of patients for whom both programs have a value.
    """

    p: float | None
    wins_a: int
    wins_b: int
    ties: int
    patients: int


@dataclass(frozen=True)
class Difference:
    """The difference of two programs in a figure, on the same patients.

    Args:
        a: value of the first program; NaN if not defined.
        b: value of the second program; NaN if not defined.
        difference: ``a`` - ``b``.
        interval: 95 % interval of the difference from resampled patients; None as in ``Estimate``.
        test: paired test; None for a pooled figure, whose patients cannot be compared one by one.
    """

    a: float
    b: float
    difference: float
    interval: Interval | None
    test: PairedTest | None


def bootstrap_interval(values: Sequence[float], confidence: float = 0.95, seed: int = 0) -> Interval | None:
    """Return the percentile bootstrap interval of the mean over patients.

    Args:
        values: a value per patient.
        confidence: confidence level, in (0, 1).
        seed: seed of the 10,000 resamples.

    Returns:
        The interval; None for a single patient.
    """
    over = np.asarray(values, dtype=float)
    return interval(Figure(over, np.ones(len(over))).value(_draw(len(over), seed)), confidence)


def interval(resampled: np.ndarray, confidence: float = 0.95) -> Interval | None:
    """Return the percentile interval of a figure's resamples.

    Args:
        resampled: values ``(resamples,)``; values that are not finite are ignored.
        confidence: confidence level, in (0, 1).

    Returns:
        The interval; None if no resample has a value.
    """
    defined = resampled[np.isfinite(resampled)]
    if not len(defined):
        return None
    low, high = np.percentile(defined, [50 * (1 - confidence), 50 * (1 + confidence)])
    return (float(low), float(high))


def figures(cases: Sequence[CaseScores]) -> dict[str, Figure]:
    """Return all figures of a data set by name."""
    found = _overlap_figures(cases, "lesion", ("voe",))
    for overlap in (IOU_OVER_HALF, IOU_OVER_ZERO):
        counts = [case.detection.by_overlap()[overlap] for case in cases]
        tp, fp, fn = (np.array([getattr(one, name) for one in counts]) for name in ("tp", "fp", "fn"))
        found[f"detection/{overlap}/precision"] = Figure(tp, tp + fp, per_case=False)
        found[f"detection/{overlap}/recall"] = Figure(tp, tp + fn, per_case=False)
    detected = [[lesion for lesion in case.lesions if np.isfinite(lesion.dice)] for case in cases]
    count = np.array([len(lesions) for lesions in detected])
    for name in QUALITY:
        total = np.array([sum(getattr(lesion, name) for lesion in lesions) for lesions in detected])
        found[f"detected_lesions/{name}"] = Figure(total, count, better=_better(name), per_case=False)
    found |= _overlap_figures(cases, "liver", ("voe", "rvd", "assd", "rmsd", "msd"))
    error = _mean([case.tumour_burden.error for case in cases], better=1)
    return {**found, "tumour_burden/rmse": Figure(error.over**2, error.under, root=True, better=-1)}


def summarise_cases(cases: Sequence[CaseScores], seed: int = 0) -> dict[str, Estimate]:
    """Estimate each figure of a data set.

    Args:
        cases: the patients.
        seed: seed of the resamples.

    Returns:
        Estimates by name. ``tumour_burden/max_error`` has no interval, since it is an extreme.
    """
    drawn = _draw(len(cases), seed)
    summary = {}
    for name, figure in figures(cases).items():
        undefined = int((figure.under == 0).sum()) if figure.per_case else 0
        summary[name] = Estimate(float(figure.value()), interval(figure.value(drawn)), undefined)
    errors = np.abs([case.tumour_burden.error for case in cases])
    largest = float(np.nanmax(errors)) if np.isfinite(errors).any() else float("nan")
    summary["tumour_burden/max_error"] = Estimate(largest, None, int(np.isnan(errors).sum()))
    return summary


def compare_cases(a: Sequence[CaseScores], b: Sequence[CaseScores], seed: int = 0) -> dict[str, Difference]:
    """Compare two programs on the same patients.

    Means ignore patients for whom either program has no value.

    Args:
        a: scores of the first program.
        b: scores of the second program, with the patients in the same order.
        seed: seed of the resamples and permutations.

    Returns:
        Differences by name of the figure.
    """
    drawn = _draw(len(a), seed)
    compared = {}
    for name, (first, second) in _both(figures(a), figures(b)).items():
        compared[name] = Difference(
            a=float(first.value()),
            b=float(second.value()),
            difference=float(first.value() - second.value()),
            interval=interval(first.value(drawn) - second.value(drawn)),
            test=_test(first, second, seed) if first.per_case else None,
        )
    return compared


def _both(a: dict[str, Figure], b: dict[str, Figure]) -> dict[str, tuple[Figure, Figure]]:
    pairs = {}
    for name in a:
        first, second = a[name], b[name]
        if first.per_case:
            defined = (first.under != 0) & (second.under != 0)
            first, second = _only(first, defined), _only(second, defined)
        pairs[name] = (first, second)
    return pairs


def _only(figure: Figure, patients: np.ndarray) -> Figure:
    return Figure(figure.over * patients, figure.under * patients, figure.root, figure.empty, figure.better)


def _test(first: Figure, second: Figure, seed: int) -> PairedTest:
    a, b = (figure.cases()[figure.under != 0] for figure in (first, second))
    gain = (a - b) * first.better if first.better else np.abs(b) - np.abs(a)
    p = None
    if len(a) > 1:
        from scipy import stats  # takes half a second; only comparisons need it

        rng = np.random.default_rng(seed)
        tested = stats.permutation_test(
            (a - b,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", vectorized=True, rng=rng
        )
        p = float(tested.pvalue)
    return PairedTest(p, int((gain > 0).sum()), int((gain < 0).sum()), int((gain == 0).sum()), len(a))


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


def _draw(patients: int, seed: int) -> np.ndarray:
    """Draw the patients of each resample, ``(resamples, patients)``; draw no resample of a single patient."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, patients, (RESAMPLES if patients > 1 else 0, patients))
