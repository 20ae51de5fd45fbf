"""Score the patients of several runs together, and compare them with another network."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from lits_seg.common.tables import DASH, number, signed, with_interval
from lits_seg.metrics.scores import IOU_OVER_ZERO, CaseScores
from lits_seg.metrics.statistics import compare_cases, summarise_cases

SCORES = ["patients", "Dice per case [95 %]", "difference [95 %]", "Dice global", "liver Dice"]
SCORES += ["lesions found", "false lesions a patient"]
# Volumes of LiTS that seem to show one person each, see experiments/recipe.
PERSONS = (("0", "1"), ("6", "7", "8", "9", "10"))
SAME_PERSON = (
    f"Of LiTS, volumes {' and '.join(f'{names[0]} to {names[-1]}' for names in PERSONS)} seem to show one person each, "
    "so that intervals over patients are too narrow."
)


def with_lesions(cases: Iterable[CaseScores]) -> list[CaseScores]:
    """Return the patients that have lesions."""
    return [case for case in cases if case.voxels.lesion.reference]


def by_person(cases: Sequence[CaseScores], persons: Sequence[Sequence[str]] = PERSONS) -> list[float]:
    """Return the mean Dice of each person's patients, in the order of the first patients.

    Args:
        cases: the patients.
        persons: names of patients that show the same person, for each such person.
    """
    person = {name: names[0] for names in persons for name in names}
    dice: dict[str, list[float]] = defaultdict(list)
    for case in cases:
        dice[person.get(case.case, case.case)].append(case.lesion.dice)
    return [sum(values) / len(values) for values in dice.values()]


def score_cells(cases: Sequence[CaseScores], base: Sequence[CaseScores] | None) -> list[str]:
    """Return the cells of a table's row in the columns ``SCORES``.

    Args:
        cases: the patients.
        base: the patients of the network to compare with, which may be others; None: no comparison.
    """
    summary = summarise_cases(cases)
    dice, detection = summary["lesion/dice_per_case"], f"detection/{IOU_OVER_ZERO}"
    return [
        str(len(cases)),
        with_interval(dice.value, dice.interval),
        difference_cell(cases, base),
        number(summary["lesion/dice_global"].value),
        number(summary["liver/dice_per_case"].value),
        number(summary[f"{detection}/recall"].value),
        number(summary[f"{detection}/false_per_patient"].value, 1),
    ]


def difference_cell(cases: Sequence[CaseScores], base: Sequence[CaseScores] | None) -> str:
    """Return the difference in Dice per case, with its interval and the number of patients of both networks.

    Args:
        cases: the patients.
        base: the patients of the network to compare with, which may be others; None: no comparison.
    """
    known = {case.case: case for case in base or ()}
    both = [case for case in cases if case.case in known]
    if not both:
        return DASH
    compared = compare_cases(both, [known[case.case] for case in both])["lesion/dice_per_case"]
    return f"{signed(compared.difference, compared.interval)} ({len(both)})"


def patient_cells(case: CaseScores) -> dict[str, Any]:
    """Return the scores of a patient as the columns of a CSV table; a lesion is found if it touches a prediction."""
    counts = case.detection.by_overlap()[IOU_OVER_ZERO]
    return {
        "patient": case.case,
        "lesion_dice": round(case.lesion.dice, 4),
        "liver_dice": round(case.liver.dice, 4),
        "lesions": case.detection.references,
        "found": counts.tp,
        "false": counts.fp,
    }
