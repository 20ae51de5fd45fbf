"""Compare two networks in Dice per case, person by person."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from experiments.shared.named_runs import Folds, lesions_of
from experiments.shared.trainings import FOLDS
from lits_seg.common.tables import plural, signed
from lits_seg.metrics.scores import CaseScores
from lits_seg.metrics.statistics import Interval, bootstrap_interval


@dataclass(frozen=True)
class Gain:
    """The paired difference in Dice per case of two networks.

    Args:
        mean: mean difference over persons.
        interval: its 95 % interval from resampled persons; None for a single person.
        persons: number of persons.
        base: mean Dice per case of the second network.
        whole: whether both networks were tested in all folds, on the same patients, after the same steps in each fold.
    """

    mean: float
    interval: Interval | None
    persons: int
    base: float
    whole: bool


def gain(first: Folds | None, second: Folds | None, persons: Sequence[Sequence[str]], equal_steps: bool) -> Gain | None:
    """Return the difference between two networks on the patients that both have; None if there is no such patient.

    Args:
        first: runs of the first network by fold; None if there is none.
        second: runs of the second network by fold; None if there is none.
        persons: names of patients that show the same person, for each such person.
        equal_steps: whether both networks must have the same number of steps.
    """
    a, b = ({case.case: case for case in lesions_of(folds or {})} for folds in (first, second))
    both = sorted(a.keys() & b.keys())
    if first is None or second is None or not both:
        return None
    gains = by_person([a[name] for name in both], [b[name] for name in both], persons)
    whole = len(first) == len(second) == FOLDS and a.keys() == b.keys()
    ours, theirs = ({tested.steps for _, tested in folds.values()} for folds in (first, second))
    whole = whole and len(ours) == len(theirs) == 1 and (ours == theirs or not equal_steps)
    base = sum(b[name].lesion.dice for name in both) / len(both)
    return Gain(sum(gains) / len(gains), bootstrap_interval(gains), len(gains), base, whole)


def by_person(
    first: Sequence[CaseScores], second: Sequence[CaseScores], persons: Sequence[Sequence[str]]
) -> list[float]:
    """Return the mean difference in Dice per case of each person.

    Args:
        first: patients of the first network.
        second: the same patients of the second network.
        persons: names of patients that show the same person, for each such person.
    """
    person = {name: names[0] for names in persons for name in names}
    differences: dict[str, list[float]] = defaultdict(list)
    for a, b in zip(first, second, strict=True):
        differences[person.get(a.case, a.case)].append(a.lesion.dice - b.lesion.dice)
    return [sum(values) / len(values) for values in differences.values()]


def gain_text(one: Gain | None) -> str:
    """Return a difference as text."""
    if one is None:
        return "not run"
    missing = "" if one.whole else ", incomplete"
    return f"{signed(one.mean, one.interval)} over {plural(one.persons, 'person')}{missing}"
