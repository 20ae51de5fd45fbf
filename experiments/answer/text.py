"""Write the page of the experiment: verdicts, tables, figures and versions."""

from collections.abc import Iterator, Mapping, Sequence

from experiments.answer.rows import Group
from experiments.answer.tables import Scored, cost_table, score_table, size_table
from experiments.answer.verdicts import PERSONS, Times
from experiments.shared.trainings import Rate
from lits_seg import RESEARCH_USE
from lits_seg.common.tables import markdown
from lits_seg.comparison.claims import Claim
from lits_seg.comparison.finished_runs import Run
from lits_seg.comparison.rows import claim_table, version_table

CAPTIONS = {
    "pareto.png": "Lesion Dice against the time of a slice and against parameters; dotted: the Pareto front",
    "curves.png": "Training loss, the mean over folds",
    "patient.png": "A synthetic patient as every network segments it",
}
SAME_PERSON = " and ".join(f"{names[0]} to {names[-1]}" for names in PERSONS)
EXPLANATION = (
    "Intervals: 95 %, bootstrap over patients; patients without lesions are left out. Differences are paired: patient "
    "by patient, in brackets the patients of both. A lesion is found if it touches a predicted lesion. Volumes "
    f"{SAME_PERSON} of LiTS seem to show one person each, so that intervals over patients are too narrow; the verdicts "
    "resample persons. Training minutes are of one core, computed from the measured rate and the steps. Slices of real "
    "patients have 256 px, crops 128 px; those of synthetic patients have 128 px and are not cropped. ms: a slice of "
    "256 px, one thread; PyTorch in its faster order of memory. All networks were trained from random weights by one "
    "recipe (`experiment=common`); `own loss` has its authors' loss, optimizer, decay and clipping, so that its "
    "training loss is another one. The layers of `strided_unet`, its five slices, and parts of this recipe were chosen "
    "on the same patients of LiTS, which favours `strided_unet` and `strided_unet/context5`."
)
WRITTEN = f"Written by `python -m experiments.answer`. {RESEARCH_USE}"


def page(
    found: Mapping[Group, Sequence[Scored]],
    runs: Sequence[Run],
    rates: Mapping[str, Rate],
    times: Times,
    claims: Sequence[Claim],
    figures: Sequence[str],
    others: Sequence[str],
) -> str:
    """Return the page in Markdown.

    Args:
        found: the scored networks of each group.
        runs: all runs.
        rates: sizes and training rates by network.
        times: milliseconds of a slice by engine and network.
        claims: the paper's claims with their verdicts.
        figures: names of the figures that were drawn.
        others: names of runs that belong to no plan.
    """
    parts = ["# The answer", "## Verdicts", markdown(*claim_table(claims)), rules(claims)]
    for group, of_group in found.items():
        parts += [f"## {group.title}", score_table(group, of_group, rates)]
        parts += ["By the size of lesions:", size_table(of_group)] if of_group else []
    parts += ["## Costs", cost_table(rates, times)]
    parts += ["## Figures"] if figures else []
    parts += [f"![{CAPTIONS[name]}]({name})\n\n{CAPTIONS[name]}." for name in figures]
    parts += ["## Versions", markdown(*version_table(runs)), "Of each run: `runs.csv`."]
    return "\n\n".join([*parts, *notes(found, others), EXPLANATION, WRITTEN]) + "\n"


def rules(claims: Sequence[Claim]) -> str:
    """Return the rule of each claim as a list; claims with the same rule share a line."""
    shared: dict[str, list[str]] = {}
    for claim in claims:
        shared.setdefault(claim.rule, []).append(claim.claim)
    return "\n".join(f"- {'; '.join(names)}: {rule}." for rule, names in shared.items())


def notes(found: Mapping[Group, Sequence[Scored]], others: Sequence[str]) -> Iterator[str]:
    """Yield a paragraph on each group that cannot be compared as planned, and on runs of no plan.

    Args:
        found: the scored networks of each group.
        others: names of runs that belong to no plan.
    """
    for group, of_group in found.items():
        steps = {count for one in of_group for count in one.steps}
        if group.regime != "minutes" and len(steps) > 1:
            yield f"{group.title}: **steps differ** ({', '.join(f'{count:,}' for count in sorted(steps))})."
    if others:
        yield f"Runs of no group: {', '.join(others)}."
