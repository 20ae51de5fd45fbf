"""Write the page of the experiment: verdicts, tables, figures and versions."""

from collections.abc import Iterator, Mapping, Sequence

from experiments.answer.protocol import Protocol
from experiments.answer.rows import Group
from experiments.answer.tables import Scored, cost_table, score_table, size_table
from experiments.answer.verdicts import Times
from experiments.shared.patients import SAME_PERSON
from experiments.shared.trainings import Rate
from lits_seg import RESEARCH_USE
from lits_seg.common.tables import markdown
from lits_seg.comparison.claims import Claim
from lits_seg.comparison.finished_runs import Run
from lits_seg.comparison.rows import claim_table, version_table

CAPTIONS = {
    "pareto.png": (
        "Lesion Dice of the networks that were tested on all patients of a group, against the time of a slice and "
        "against parameters; dotted: the Pareto front"
    ),
    "curves.png": "Training loss by the common recipe, the mean over folds",
    "patient.png": "A synthetic patient as every network segments it",
}
EXPLANATION = (
    "Intervals: 95 %, bootstrap over patients; patients without lesions are left out. Differences are paired: patient "
    "by patient, in brackets the patients of both. Means over other patients are not comparable. A lesion is found if "
    f"it touches a predicted lesion. {SAME_PERSON} The verdicts resample persons. Percentile intervals of so few "
    "persons cover about 90 %, and nothing is corrected for the number of comparisons. Training minutes are of one "
    "core, computed from the measured rate and the steps. Slices of real patients have 256 px, crops 128 px; those of "
    "synthetic patients have 128 px and are not cropped. ms: a slice of 256 px, one thread; PyTorch in its faster "
    "order of memory. All networks were trained from random weights by one recipe (`experiment=common`); "
    "`vorontsov-own` has its authors' loss, optimizer, decay and clipping. The layers of `strided_unet`, its five "
    "slices, and parts of this recipe were chosen on the same patients of LiTS, which favours `strided_unet` and "
    "`strided_unet/context5`."
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
    protocol: Protocol,
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
        protocol: what was planned.
    """
    parts = ["# The answer", "## Verdicts", markdown(*claim_table(claims)), rules(claims)]
    for group, of_group in found.items():
        parts += [f"## {group.title}", score_table(group, of_group, rates)]
        parts += ["By the size of lesions:", size_table(of_group)] if of_group else []
    parts += ["## Costs", cost_table(rates, times)]
    parts += ["## Figures"] if figures else []
    parts += [f"![{CAPTIONS[name]}]({name})\n\n{CAPTIONS[name]}." for name in figures]
    parts += ["## Versions", markdown(*version_table(runs)), "Of each run: `runs.csv`."]
    return "\n\n".join([*parts, *notes(found, others, protocol), EXPLANATION, WRITTEN]) + "\n"


def rules(claims: Sequence[Claim]) -> str:
    """Return the rule of each claim as a list; claims with the same rule share a line."""
    shared: dict[str, list[str]] = {}
    for claim in claims:
        shared.setdefault(claim.rule, []).append(claim.claim)
    return "\n".join(f"- {'; '.join(names)}: {rule}." for rule, names in shared.items())


def notes(found: Mapping[Group, Sequence[Scored]], others: Sequence[str], protocol: Protocol) -> Iterator[str]:
    """Yield a paragraph on each group whose runs have other steps than planned, and on runs of no plan.

    Args:
        found: the scored networks of each group.
        others: names of runs that belong to no plan.
        protocol: what was planned.
    """
    for group, of_group in found.items():
        changed = [one.row.title for one in of_group if one.steps != [protocol.steps.get(group.key(one.row))]]
        if changed:
            yield f"{group.title}: **other steps than planned** in {', '.join(changed)}."
    if others:
        yield f"Runs of no group: {', '.join(others)}."
