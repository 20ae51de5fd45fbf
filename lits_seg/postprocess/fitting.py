"""Fit the rules and the temperature of a trained network on labelled patients that did not train it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import scipy
from annotated_types import Ge, Gt, Le, MinLen

from lits_seg.common.settings import Probability
from lits_seg.metrics.lesions import components, label_box
from lits_seg.metrics.overlap import case_scores
from lits_seg.postprocess.crf import Crf, ReadHu, widened
from lits_seg.postprocess.rules import Rules

# The values that are tried for each rule, in this order. The first is the mildest.
VALUES: dict[str, tuple[Any, ...]] = {
    "smooth_mm": (0.0, 1.5, 3.0, 4.5),
    "threshold": (0.5, 0.4, 0.3, 0.6, 0.7),
    "min_lesion_ml": (0.0, 0.03, 0.1, 0.2, 0.5),
    "min_probability": (0.0, 0.6, 0.7, 0.8, 0.9),
}
# Published weights (3 and 10) and distances (60 voxels) erase small lesions.
CRFS = (None, Crf(1.0, 1.0, 1.0, 4.0), Crf(2.0, 2.0, 2.0, 4.0), Crf(1.0, 1.0, 2.0, 8.0))
MARGIN_MM = 45.0  # the furthest reach of a rule: three deviations of the CRF and four of the average
START = Rules(largest_liver=True, fill_liver=True, threshold=0.5)
ROUNDS = 2
LEVEL = 0.005  # mean Dice that fewer false lesions are worth
TEMPERATURES = (0.2, 10.0)
BINS = 10


@dataclass(frozen=True)
class Patient:
    """The prediction for a labelled patient.

    Args:
        name: name of the patient.
        labels: predicted LiTS labels ``(S, H, W)``.
        probability: the lesion's probability scaled to 0…255, ``(S, H, W)``.
        truth: LiTS labels of the reference ``(S, H, W)``.
        spacing: voxel size along W, H and S in mm.
        voxel_ml: volume of a voxel in mL.
        has_liver: whether ``labels`` include the liver.
        hu: the CT in HU, ``(S, H, W)``; needed if a CRF is tried.
    """

    name: str
    labels: np.ndarray
    probability: np.ndarray
    truth: np.ndarray
    spacing: tuple[float, float, float]
    voxel_ml: float
    has_liver: bool = True
    hu: np.ndarray | None = None

    def cropped(self) -> "Patient":
        """Return the patient within the box of all predicted and labelled structures; the scores do not change.

        With HU, the box has a margin, from which a CRF takes values.
        """
        box = label_box(np.maximum(self.labels, self.truth), 1)
        if box is None or not self.has_liver:
            return self
        hu = None
        if self.hu is not None:
            box = widened(box, MARGIN_MM, self.spacing, self.labels.shape)
            hu = np.array(self.hu[box])
        labels, probability, truth = (np.array(part[box]) for part in (self.labels, self.probability, self.truth))
        return replace(self, labels=labels, probability=probability, truth=truth, hu=hu)

    def reader(self) -> ReadHu | None:
        """Return a function that reads slices of the CT; None without HU."""
        hu = self.hu
        return None if hu is None else lambda start, stop: hu[start:stop]


@dataclass(frozen=True)
class Trial:
    """Scores of rules on the patients.

    Args:
        rules: the rules.
        dice: mean lesion Dice per case.
        false_lesions: mean number of predicted lesions per patient that touch no lesion of the reference.
    """

    rules: Rules
    dice: float
    false_lesions: float


@dataclass(frozen=True)
class Bin:
    """Voxels with a probability in one range: their mean probability, their share of lesion, their number."""

    probability: Probability
    lesion: Probability
    voxels: Annotated[int, Ge(1), Le(10**12)]


@dataclass(frozen=True)
class Calibration:
    """The fitted rules and temperature, and the patients.

    Args:
        patients: names of the patients.
        temperature: divisor of the logits.
        before: reliability without temperature.
        after: reliability with it.
        error_before: expected calibration error without temperature, in [0, 1].
        error_after: expected calibration error with it.
        rules: the rules that were chosen.
        dice_before: mean lesion Dice per case without rules.
        best: scores of the chosen rules.
        trials: scores of all rules that were tried.
    """

    patients: list[str]
    temperature: Annotated[float, Gt(0), Le(1000)]
    before: Annotated[list[Bin], MinLen(1)]
    after: Annotated[list[Bin], MinLen(1)]
    error_before: Probability
    error_after: Probability
    rules: Rules
    dice_before: float
    best: Trial
    trials: list[Trial]


def try_rules(rules: Rules, patients: Iterable[Patient]) -> Trial:
    """Score rules on patients.

    Args:
        rules: the rules.
        patients: the predictions, which do not change.
    """
    counts, false = [], []
    for patient in patients:
        mask = patient.labels.copy()
        rules(mask, patient.probability, patient.spacing, patient.voxel_ml, patient.has_liver, patient.reader())
        found, true = mask == 2, patient.truth == 2
        counts.append((np.count_nonzero(found & true), np.count_nonzero(found), np.count_nonzero(true)))
        numbered, count = components(found)
        false.append(count - np.count_nonzero(np.unique(numbered[true])))
    return Trial(rules, float(case_scores(counts)["dice"].mean()), float(np.mean(false)))


def fit_rules(
    patients: Sequence[Patient], start: Rules = START, values: Mapping[str, tuple[Any, ...]] = VALUES
) -> tuple[Trial, list[Trial]]:
    """Choose the rules with the highest mean lesion Dice per case, one rule after the other.

    Among values whose Dice is within ``LEVEL`` of the best, the one with the fewest false lesions is chosen.

    Args:
        patients: the predictions, of patients that did not train the network.
        start: the rules to start from.
        values: the values to try for each rule.

    Returns:
        The best trial, and all trials.
    """
    cropped = [patient.cropped() for patient in patients]
    best = try_rules(start, cropped)
    trials = [try_rules(Rules(), cropped), best]
    for _ in range(ROUNDS):
        for name, choices in values.items():
            others = [best.rules.having(name, value) for value in choices if value != getattr(best.rules, name)]
            level = [best, *(try_rules(rules, cropped) for rules in others)]
            trials += level[1:]
            highest = max(trial.dice for trial in level)
            best = min((trial for trial in level if trial.dice >= highest - LEVEL), key=lambda t: t.false_lesions)
    return best, trials


def fit_temperature(logits: np.ndarray, classes: np.ndarray) -> float:
    """Return the divisor of the logits with the lowest cross-entropy (Guo et al. 2017, temperature scaling).

    Args:
        logits: ``(N, K)`` of voxels.
        classes: class of each voxel in the reference, ``(N,)``.
    """

    def cross_entropy(logarithm: float) -> float:
        scores = scipy.special.log_softmax(logits / np.exp(logarithm), axis=1)
        return -float(scores[np.arange(len(classes)), classes].mean())

    found = scipy.optimize.minimize_scalar(cross_entropy, bounds=np.log(TEMPERATURES), method="bounded")
    return float(np.exp(found.x))


def reliability(probability: np.ndarray, lesion: np.ndarray) -> list[Bin]:
    """Compare probabilities with how often they are right, in ``BINS`` ranges of equal width.

    Args:
        probability: the lesion's probability, ``(N,)`` in [0, 1].
        lesion: whether each voxel is lesion in the reference, ``(N,)``.

    Returns:
        The ranges with voxels, from the lowest.
    """
    number = np.minimum((probability * BINS).astype(int), BINS - 1)
    return [
        Bin(float(probability[inside].mean()), float(lesion[inside].mean()), int(inside.sum()))
        for inside in (number == index for index in range(BINS))
        if inside.any()
    ]


def calibration_error(bins: Sequence[Bin]) -> float:
    """Return the mean distance of probability and share of lesion, weighted by voxels (expected calibration error)."""
    total = sum(part.voxels for part in bins)
    return sum(abs(part.probability - part.lesion) * part.voxels for part in bins) / max(total, 1)
