"""Pool the patients' FROC counts into curves, and read the recall at several rates of false lesions."""

from collections.abc import Sequence

import numpy as np

from lits_seg.metrics.scores import SIZES, CaseScores

ALL = "all"
CLASSES = (ALL, *SIZES)
RATES = (1, 2, 4, 8)  # mean false lesions a patient


def has_curve(case: CaseScores) -> bool:
    """Return whether a patient had a probability map, and was scored by a version that records sizes."""
    return case.froc is not None and case.by_size is not None


def curve(cases: Sequence[CaseScores], overlap: str, drawn: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the recall and the mean false lesions a patient for each of ``froc.THRESHOLDS``.

    The false lesions are of all sizes, also next to the recall of a size class: whoever reads the masks sees all.

    Args:
        cases: the patients, each with a curve.
        overlap: name of the IoU's threshold, see ``Detection.by_overlap``.
        drawn: indices of the patients in each resample, ``(resamples, patients)``; None: all patients once.

    Returns:
        Recall of each class in ``CLASSES``, ``(resamples, 4, thresholds)``, NaN for a class without lesions; and false
        lesions, ``(resamples, thresholds)``.
    """
    times = np.ones((1, len(cases))) if drawn is None else _times(drawn)
    rows = np.array([case.froc.by_overlap()[overlap] for case in cases if case.froc], float)
    sizes = [case.by_size.by_size().values() for case in cases if case.by_size]
    lesions = times @ np.array([[size.references for size in one] for one in sizes], float)
    found = np.tensordot(times, rows, axes=1).swapaxes(1, 2)
    found, false = found[:, :-1], found[:, -1]
    found = np.concatenate([found.sum(axis=1, keepdims=True), found], axis=1)
    lesions = np.concatenate([lesions.sum(axis=1, keepdims=True), lesions], axis=1)[..., None]
    recall = np.divide(found, lesions, out=np.full(found.shape, np.nan), where=lesions > 0)
    return recall, false / len(cases)


def recall_at(recall: np.ndarray, false: np.ndarray, rate: float) -> np.ndarray:
    """Return the highest recall with at most ``rate`` false lesions a patient, 0 if every threshold has more.

    Args:
        recall: see ``curve``.
        false: see ``curve``.
        rate: mean false lesions a patient.

    Returns:
        Recall of each class, ``(resamples, 4)``; NaN as in ``curve``.
    """
    few = np.where((false <= rate)[:, None], recall, 0.0).max(axis=-1)
    return np.where(np.isnan(recall).any(axis=-1), np.nan, few)


def froc_names(overlap: str) -> dict[int, list[str]]:
    """Return the names of the scores at each rate, such as ``froc/iou>0.5/all/at_4_false``, one for each class."""
    return {rate: [f"froc/{overlap}/{size}/at_{rate}_false" for size in CLASSES] for rate in RATES}


def _times(drawn: np.ndarray) -> np.ndarray:
    """Return how often each resample contains each patient, ``(resamples, patients)``."""
    patients = drawn.shape[1]
    shifted = drawn + patients * np.arange(len(drawn))[:, None]
    return np.bincount(shifted.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(float)
