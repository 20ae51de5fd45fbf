"""Tabulate the runs of a group: scores, detection by size, and the cost of each network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from experiments.answer.rows import NETWORKS, OF_DECODERS, Group, Row
from experiments.answer.verdicts import Times
from experiments.shared.named_runs import Folds, lesions_of
from experiments.shared.patients import difference_cell
from experiments.shared.trainings import Rate
from lits_seg.common.tables import DASH, markdown, number, with_interval
from lits_seg.metrics.scores import IOU_OVER_ZERO, CaseScores
from lits_seg.metrics.statistics import Estimate, summarise_cases
from lits_seg.runs.detection_table import HEADER as BY_SIZE
from lits_seg.runs.detection_table import detection_rows

FIGURES = {
    "lesion/dice_per_case": "Dice per case",
    "lesion/dice_global": "Dice global",
    "lesion/jaccard": "Jaccard",
    "liver/dice_per_case": "liver Dice",
    f"detection/{IOU_OVER_ZERO}/recall": "lesions found",
    f"detection/{IOU_OVER_ZERO}/false_per_patient": "false lesions a patient",
}


@dataclass
class Scored:
    """A network's runs of a group.

    Attributes:
        row: the network.
        folds: its runs by fold.
    """

    row: Row
    folds: Folds

    @cached_property
    def cases(self) -> list[CaseScores]:
        """The tested patients that have lesions."""
        return lesions_of(self.folds)

    @cached_property
    def summary(self) -> dict[str, Estimate]:
        """The scores with intervals over patients."""
        return summarise_cases(self.cases)

    @property
    def steps(self) -> list[int]:
        """The different numbers of training steps."""
        return sorted({tested.steps for _, tested in self.folds.values() if tested.steps is not None})


def scored(group: Group, systems: Mapping[str, Folds]) -> list[Scored]:
    """Return the networks of a group that were run, in the order of its rows.

    Args:
        group: the group.
        systems: its runs by system.
    """
    return [Scored(row, systems[row.system]) for row in group.rows if row.system in systems]


def score_table(group: Group, found: Sequence[Scored], rates: Mapping[str, Rate]) -> str:
    """Return a row for each network of a group, those that were not run included.

    Args:
        group: the group.
        found: the networks that were run.
        rates: training rates by network.
    """
    known = {one.row: one for one in found}
    base = known.get(Row(group.base))
    header = ["network", "steps", "training, min", "folds", "patients", f"difference from `{group.base}` [95 %]"]
    header += [f"{title} [95 %]" for title in FIGURES.values()]
    rows = []
    for row in group.rows:
        if one := known.get(row):
            rows.append(_score_row(one, None if one is base else base, rates.get(row.network)))
        else:
            rows.append([row.title, "not run", *[DASH] * (len(header) - 2)])
    return markdown(header, rows)


def size_table(found: Sequence[Scored]) -> str:
    """Return rows for each network: recall and false lesions by size; a lesion is found if it touches a prediction."""
    rows = [
        [one.row.title, *cells]
        for one in found
        for cells in detection_rows(one.cases, one.summary, IOU_OVER_ZERO, froc=False)
    ]
    return markdown(["network", *BY_SIZE], rows)


def cost_table(rates: Mapping[str, Rate], times: Times) -> str:
    """Return a row for each network: size, time of a slice by engine, and training rate.

    Args:
        rates: sizes and training rates by network.
        times: milliseconds of a slice by engine and network.
    """
    header = ["network", "parameters", "GMAC of a crop", *(f"{engine}, ms" for engine in times), "training, crops/s"]
    rows = []
    for name in dict.fromkeys((*NETWORKS, *OF_DECODERS)):
        rate = rates.get(name)
        size = [f"{rate.parameters:,}", f"{rate.macs / 1e9:.2f}"] if rate else [DASH, DASH]
        milliseconds = [number(of.get(name), 1) for of in times.values()]
        rows.append([f"`{name}`", *size, *milliseconds, number(rate.slices_per_second if rate else None, 1)])
    return markdown(header, rows)


def _score_row(one: Scored, base: Scored | None, rate: Rate | None) -> list[str]:
    return [
        one.row.title,
        ", ".join(f"{steps:,}" for steps in one.steps) or DASH,
        number(rate.minutes(one.steps[-1]) if rate and one.steps else None, 1),
        str(len(one.folds)),
        str(len(one.cases)),
        difference_cell(one.cases, None if base is None else base.cases),
        *(with_interval(one.summary[name].value, one.summary[name].interval) for name in FIGURES),
    ]
