"""The report as Markdown, and the sentences that the page shares with it."""

from collections.abc import Sequence

from lits_seg import RESEARCH_USE
from lits_seg.common.tables import markdown, plural
from lits_seg.comparison import rows
from lits_seg.comparison.claims import claims
from lits_seg.comparison.folders import Found
from lits_seg.comparison.notes import group_notes, run_notes
from lits_seg.comparison.pool import DICE, Group

DEFINITIONS = (
    "Dice per case: mean over patients of 2|A∩B| / (|A|+|B|), of the lesion voxels of the whole volume; both empty: 1, "
    "one empty: 0. Dice global: of all patients' voxels together. Jaccard: |A∩B| / |A∪B|, the paper's Dice by its "
    "words. Precision (paper): |A∩B| / |B| with B the prediction, its Dice by its symbols.",
    "Lesions: pieces that connect by faces, found where IoU > 0.5 after LiTS's merging; precision: the part of the "
    "predicted ones that are true, recall: the part of the true ones that are found; counts pooled over patients.",
    "Each patient is tested once a seed, by the network of the fold that did not train on it; folds are pooled. With "
    "several seeds a patient's scores are averaged over them first. Intervals: 95 %, bootstrap over patients (10,000 "
    "resamples); they tell the spread over patients, not over seeds.",
)
PAIRS = (
    "Variant less baseline, on the patients that both have. Intervals: bootstrap over patients; p: two-sided paired "
    "permutation test of the Dice per case, not corrected for many comparisons; better, worse, equal: patients by Dice."
)
TRAINING = (
    "GMAC: multiply-accumulates of one slice. Latency: one slice, batch 1. Latency and training time: median over "
    "runs, beside whatever else their machines did: times of runs side by side compare only roughly."
)


def about(group: Group) -> str:
    """Return the numbers of variants, runs and patients in a sentence."""
    runs = sum(len(variant.runs) for variant in group.variants)
    kind = "synthetic patients" if group.tested_on.synthetic else "patients"
    text = f"{plural(len(group.variants), 'variant')}, {plural(runs, 'run')}, {len(group.patients)} {kind}."
    if group.tested_on.elsewhere:
        text += " Folds are networks that were all tested on the same patients."
    return text


def report_text(groups: Sequence[Group], found: Found, margin: float) -> str:
    """Return the report as Markdown, which also lines up as plain text.

    Args:
        groups: the compared variants.
        found: all runs.
        margin: of the claim that the Dice is no worse.
    """
    blocks = [f"warning: {note}" for note in run_notes(found)]
    for group in groups:
        blocks += [f"## {group.title}", about(group), *(f"Note: {note}" for note in group_notes(group))]
        blocks += [markdown(*rows.score_table(group, (DICE,))), markdown(*rows.cost_table(group)), TRAINING]
        if group.pairs:
            blocks += [f"### Differences from {group.baseline.name}", markdown(*rows.pair_table(group)), PAIRS]
        for title, found_claims in claims(group, margin):
            blocks += [f"### The paper's claims: {title}", markdown(*rows.claim_table(found_claims))]
            blocks.append("\n".join(f"- {claim.claim}: {claim.rule}." for claim in found_claims))
    others = rows.other_runs(found)
    if others:
        blocks += ["### Runs that are not in the tables", "\n".join(f"- {line}" for line in others)]
    return "\n\n".join([*blocks, *DEFINITIONS, RESEARCH_USE])
