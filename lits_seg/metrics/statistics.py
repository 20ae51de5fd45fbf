"""Statistics of many patients: means and pooled figures with intervals, and paired comparisons of two programs.

Patients are resampled (bootstrap), never lesions or voxels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from lits_seg.metrics.froc import THRESHOLDS
from lits_seg.metrics.froc_curve import CLASSES, curve, froc_names, has_curve, recall_at
from lits_seg.metrics.ratios import Figure, figures
from lits_seg.metrics.scores import IOU_OVER_HALF, IOU_OVER_ZERO, CaseScores

RESAMPLES = 10_000
PERMUTATIONS = 9_999
SEED = 0  # of resamples and permutations
PERCENTILES = 2.5, 97.5  # of the 95 % interval

Interval = tuple[float, float]


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
class FrocPoint:
    """A point of a FROC curve.

    Args:
        overlap: name of the IoU's threshold above which a lesion is found.
        size: size class of the reference lesions, or ``all``.
        threshold: lowest probability of a lesion's voxels.
        false_per_patient: mean number of false lesions a patient, of any size.
        recall: share of the reference lesions that are found; NaN without such lesions.
        interval: 95 % interval of ``recall``; None as in ``Estimate``.
    """

    overlap: str
    size: str
    threshold: float
    false_per_patient: float
    recall: float
    interval: Interval | None


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


def bootstrap_interval(values: Sequence[float]) -> Interval | None:
    """Return the 95 % percentile bootstrap interval of the mean over patients, from 10,000 resamples.

    Args:
        values: a value per patient.

    Returns:
        The interval; None for a single patient.
    """
    over = np.asarray(values, dtype=float)
    return interval(Figure(over, np.ones(len(over))).value(_draw(len(over))))


def interval(resampled: np.ndarray) -> Interval | None:
    """Return the 95 % percentile interval of a figure's resamples.

    Args:
        resampled: values ``(resamples,)``; values that are not finite are ignored.

    Returns:
        The interval; None if no resample has a value.
    """
    defined = resampled[np.isfinite(resampled)]
    if not len(defined):
        return None
    low, high = np.percentile(defined, PERCENTILES)
    return (float(low), float(high))


def summarise_cases(cases: Sequence[CaseScores]) -> dict[str, Estimate]:
    """Estimate each figure of a data set.

    Args:
        cases: the patients.

    Returns:
        Estimates by name: ``figures``, and the FROC scores (see ``froc_curve``), which are NaN unless every patient has
        a probability map. ``tumour_burden/max_error`` has no interval, since it is an extreme.
    """
    drawn = _draw(len(cases))
    summary = {}
    for name, figure in figures(cases).items():
        undefined = int((figure.under == 0).sum()) if figure.per_case else 0
        summary[name] = Estimate(_plain(figure.value()), interval(figure.value(drawn)), undefined)
    summary |= _froc(cases, drawn)
    errors = np.abs([case.tumour_burden.error for case in cases])
    largest = float(np.nanmax(errors)) if np.isfinite(errors).any() else float("nan")
    summary["tumour_burden/max_error"] = Estimate(largest, None, int(np.isnan(errors).sum()))
    return summary


def compare_cases(a: Sequence[CaseScores], b: Sequence[CaseScores]) -> dict[str, Difference]:
    """Compare two programs on the same patients.

    Means ignore patients for whom either program has no value.

    Args:
        a: scores of the first program.
        b: scores of the second program, with the patients in the same order.

    Returns:
        Differences by name of the figure.
    """
    drawn = _draw(len(a))
    compared = {}
    for name, (first, second) in _both(figures(a), figures(b)).items():
        compared[name] = Difference(
            a=_plain(first.value()),
            b=_plain(second.value()),
            difference=_plain(first.value() - second.value()),
            interval=interval(first.value(drawn) - second.value(drawn)),
            test=_test(first, second) if first.per_case else None,
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


def _test(first: Figure, second: Figure) -> PairedTest:
    a, b = (figure.cases()[figure.under != 0] for figure in (first, second))
    gain = (a - b) * first.better if first.better else np.abs(b) - np.abs(a)
    p = _sign_test(a - b) if len(a) > 1 else None
    return PairedTest(p, int((gain > 0).sum()), int((gain < 0).sum()), int((gain == 0).sum()), len(a))


def _sign_test(gains: np.ndarray) -> float:
    """Return the p-value of a mean that differs from 0, both sides, by exchanging the programs of each patient.

    With up to 13 patients, all exchanges are tested (exact), with more, ``PERMUTATIONS`` random ones.
    """
    exact = 2 ** len(gains) <= PERMUTATIONS
    if exact:
        signs = np.array(list(product((-1, 1), repeat=len(gains))))
    else:
        signs = np.random.default_rng(SEED).choice((-1, 1), (PERMUTATIONS, len(gains)))
    means, found = (signs * gains).mean(axis=1), gains.mean()
    tolerance = 1e-13 * abs(found)  # equal means may differ by rounding
    extreme = min(np.count_nonzero(means <= found + tolerance), np.count_nonzero(means >= found - tolerance))
    return min(1.0, 2 * (extreme + (not exact)) / (len(means) + (not exact)))


def froc_points(cases: Sequence[CaseScores]) -> list[FrocPoint]:
    """Return the points of all FROC curves; none unless every patient has a probability map.

    Args:
        cases: the patients.
    """
    if not all(map(has_curve, cases)):
        return []
    points = []
    for overlap in (IOU_OVER_HALF, IOU_OVER_ZERO):
        (recall, false), (resampled, _) = curve(cases, overlap), curve(cases, overlap, _draw(len(cases)))
        for i, size in enumerate(CLASSES):
            for j, threshold in enumerate(THRESHOLDS):
                around = interval(resampled[:, i, j])
                found = _plain(recall[0, i, j])
                points.append(FrocPoint(overlap, size, threshold, float(false[0, j]), found, around))
    return points


def _froc(cases: Sequence[CaseScores], drawn: np.ndarray) -> dict[str, Estimate]:
    found: dict[str, Estimate] = {}
    missing = sum(not has_curve(case) for case in cases)
    for overlap in (IOU_OVER_HALF, IOU_OVER_ZERO):
        if missing:
            names = (name for of_rate in froc_names(overlap).values() for name in of_rate)
            found |= dict.fromkeys(names, Estimate(math.nan, None, missing))
            continue
        whole, resampled = curve(cases, overlap), curve(cases, overlap, drawn)
        for rate, of_rate in froc_names(overlap).items():
            values, resamples = recall_at(*whole, rate)[0], recall_at(*resampled, rate)
            for name, value, resample in zip(of_rate, values, resamples.T, strict=True):
                found[name] = Estimate(_plain(value), interval(resample), 0)
    return found


def _plain(value: np.ndarray) -> float:
    """Return a float; NaN is always the same object, so that equal records compare as equal."""
    return math.nan if np.isnan(value) else float(value)


def _draw(patients: int) -> np.ndarray:
    """Draw the patients of each resample, ``(resamples, patients)``; draw no resample of a single patient."""
    rng = np.random.default_rng(SEED)
    return rng.integers(0, patients, (RESAMPLES if patients > 1 else 0, patients))
