"""Write the report as Markdown, and hold the explanations that the HTML page shares."""

from collections.abc import Sequence

from lits_seg import RESEARCH_USE
from lits_seg.common.tables import markdown, plural
from lits_seg.comparison import rows
from lits_seg.comparison.claims import claims
from lits_seg.comparison.finished_runs import Found
from lits_seg.comparison.lesion_sizes import size_notes, size_table
from lits_seg.comparison.notes import group_notes, run_notes
from lits_seg.comparison.pool import DICE, Group

DEFINITIONS = (
    "Dice per case: mean over patients of 2|A∩B| / (|A|+|B|) of the lesion voxels in the whole volume; 1 if both masks "
    "are empty, 0 if one is empty. Dice global: the same ratio of all patients' voxels together. Jaccard: |A∩B| / "
    "|A∪B|, which the paper's words call Dice. Precision (paper): |A∩B| / |B| with the prediction B, which the paper's "
    "formula calls Dice.",
    "Lesions: components that connect by faces. A lesion counts as found if IoU > 0.5 after LiTS's merging. Precision: "
    "the share of predicted lesions that are true. Recall: the share of true lesions that are found. Counts are pooled "
    "over patients.",
    "Each patient is tested once per seed, by a network that was not trained on that patient. Folds are pooled. With "
    "several seeds, each patient's scores are first averaged over seeds. Intervals: 95 %, bootstrap over patients "
    "(10,000 resamples). They show the spread over patients, not over seeds.",
)
PAIRS = (
    "Variant minus baseline, on the patients that both have. Intervals: bootstrap over patients. p: two-sided paired "
    "permutation test of the Dice per case, not corrected for multiple comparisons. Better, worse, equal: number of "
    "patients by Dice."
)
TRAINING = (
    "GMAC: multiply-accumulates of one slice, in billions. Latency: one slice, batch 1. Latency and training time: "
    "median over runs. Other work on the machines was not excluded, so compare times only roughly."
)


def about(group: Group) -> str:
    """Return a sentence with the numbers of variants, runs and patients."""
    runs = sum(len(variant.runs) for variant in group.variants)
    kind = "synthetic patients" if group.tested_on.synthetic else "patients"
    text = f"{plural(len(group.variants), 'variant')}, {plural(runs, 'run')}, {len(group.patients)} {kind}."
    if group.tested_on.elsewhere:
        text += " The networks of all folds were tested on the same patients."
    return text


def report_text(groups: Sequence[Group], found: Found, margin: float) -> str:
    """Return the report as Markdown, which is also readable as plain text.

    Args:
        groups: the compared variants.
        found: all runs, also those that are not in the tables.
        margin: largest loss in Dice per case that still counts as no worse.
    """
    blocks = [f"warning: {note}" for note in run_notes(found)]
    for group in groups:
        blocks += [f"## {group.title}", about(group), *(f"Note: {note}" for note in group_notes(group))]
        blocks += [markdown(*rows.score_table(group, (DICE,))), "### Lesions by size"]
        blocks += [markdown(*size_table(group)), *size_notes(group)]
        blocks += ["### Cost", markdown(*rows.cost_table(group)), TRAINING]
        if group.pairs:
            blocks += [f"### Differences from {group.baseline.name}", markdown(*rows.pair_table(group)), PAIRS]
        for title, found_claims in claims(group, margin):
            blocks += [f"### The paper's claims: {title}", markdown(*rows.claim_table(found_claims))]
            blocks.append("\n".join(f"- {claim.claim}: {claim.rule}." for claim in found_claims))
    others = rows.other_runs(found)
    if others:
        blocks += ["### Runs that are not in the tables", "\n".join(f"- {line}" for line in others)]
    return "\n\n".join([*blocks, *DEFINITIONS, RESEARCH_USE])
