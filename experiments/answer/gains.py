"""Compare two networks in Dice per case, person by person."""

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.shared.named_runs import Folds, lesions_of
from experiments.shared.patients import by_person
from lits_seg.common.tables import plural, signed
from lits_seg.metrics.statistics import Interval, bootstrap_interval


@dataclass(frozen=True)
class Gain:
    """The paired difference in Dice per case of two networks.

    Args:
        mean: mean difference over persons.
        interval: its 95 % interval from resampled persons; None for a single person.
        persons: number of persons.
        base: mean Dice per case of the second network, likewise over persons.
        whole: whether the runs of both networks keep the protocol.
    """

    mean: float
    interval: Interval | None
    persons: int
    base: float
    whole: bool


def gain(first: Folds | None, second: Folds | None, persons: Sequence[Sequence[str]], whole: bool) -> Gain | None:
    """Return the difference between two networks on the patients that both have; None if there is no such patient.

    Args:
        first: runs of the first network by fold; None if there is none.
        second: runs of the second network by fold; None if there is none.
        persons: names of patients that show the same person, for each such person.
        whole: whether the runs of both networks keep the protocol.
    """
    a, b = ({case.case: case for case in lesions_of(folds or {})} for folds in (first, second))
    both = sorted(a.keys() & b.keys())
    if first is None or second is None or not both:
        return None
    ours, theirs = (by_person([cases[name] for name in both], persons) for cases in (a, b))
    gains = [one - other for one, other in zip(ours, theirs, strict=True)]
    mean, base = (sum(values) / len(values) for values in (gains, theirs))
    return Gain(mean, bootstrap_interval(gains), len(gains), base, whole)


def gain_text(one: Gain | None) -> str:
    """Return a difference as text."""
    if one is None:
        return "not run"
    missing = "" if one.whole else ", not as planned"
    return f"{signed(one.mean, one.interval)} over {plural(one.persons, 'person')}{missing}"
