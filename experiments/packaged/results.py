"""The tables of the model card: scores by fold, by the size of lesions, and by patient."""

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.shared.patients import SAME_PERSON, by_person
from lits_seg.common.tables import markdown, number, plural, with_interval
from lits_seg.evaluation.detection_tables import detection_block
from lits_seg.evaluation.score_tables import case_table
from lits_seg.metrics.scores import CaseScores
from lits_seg.metrics.statistics import bootstrap_interval, summarise_cases
from lits_seg.postprocess import Rules
from lits_seg.runs.detection_table import DEFINITION
from lits_seg.runs.result import NetworkFacts

# Scores in the table and in the card, with their titles and digits.
FIGURES = {
    "lesion/dice_per_case": ("lesion Dice per case [95 %]", 3),
    "lesion/dice_global": ("lesion Dice global [95 %]", 3),
    "detection/iou>0/recall": ("lesions found [95 %]", 2),
    "detection/iou>0/false_per_patient": ("false lesions a patient [95 %]", 1),
    "liver/dice_per_case": ("liver Dice per case [95 %]", 3),
}
NOTE = (
    f"Intervals: 95 %, bootstrap over patients. {SAME_PERSON} A lesion is found if it touches a predicted lesion, and "
    "false if a predicted lesion touches none. *: IoU > 0.5 instead."
)


@dataclass(frozen=True, kw_only=True)
class Evaluation(NetworkFacts):
    """The part of ``evaluation.json`` that the model card needs.

    Args:
        rules: rules that were applied.
        cases: scores of each patient.
    """

    rules: Rules
    cases: tuple[CaseScores, ...]


def results(folds: Sequence[Evaluation], healthy: Evaluation | None) -> str:
    """Return the results of the model card.

    Args:
        folds: an evaluation per fold, of patients that did not train its network.
        healthy: evaluation of scans without lesions, if any.
    """
    cases = [case for fold in folds for case in fold.cases]
    groups = {str(number): fold.cases for number, fold in enumerate(folds)}
    rows = [_row(title, group) for title, group in {**groups, "all": cases}.items()]
    header = ["fold", "patients", *(title for title, _ in FIGURES.values())]
    parts = [markdown(header, rows), NOTE, _by_person(cases)]
    if healthy is not None:
        parts.append(_healthy(healthy.cases))
    parts += ["### By the size of the lesions", _by_size(cases)]
    worst_first = sorted(cases, key=lambda case: case.lesion.dice)
    return "\n\n".join([*parts, "### By patient, the worst first", case_table(worst_first)])


def _row(title: str, cases: Sequence[CaseScores]) -> list[str]:
    summary = summarise_cases(cases)
    shown = [
        with_interval(summary[name].value, summary[name].interval, digits) for name, (_, digits) in FIGURES.items()
    ]
    return [title, str(len(cases)), *shown]


def _by_person(cases: Sequence[CaseScores]) -> str:
    dice = by_person(cases)
    mean = with_interval(sum(dice) / len(dice), bootstrap_interval(dice), 2)
    return f"Averaged by person, the lesion Dice per case is {mean} over {plural(len(dice), 'person')}."


def _by_size(cases: Sequence[CaseScores]) -> str:
    """Return the table by size, with the blank line after a table that Markdown needs."""
    return detection_block(cases, summarise_cases(cases)).replace(DEFINITION, f"\n{DEFINITION}")


def _healthy(cases: Sequence[CaseScores]) -> str:
    false = sum(case.detection.over_zero.fp for case in cases)
    liver = number(sum(case.liver.dice for case in cases) / len(cases))
    scans = plural(len(cases), "scan")
    return f"In {scans} without lesions: {plural(round(false), 'false lesion')} in all, liver Dice {liver}."
