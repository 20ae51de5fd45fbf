"""Warn about what weakens a comparison: missing runs, different machines, different code."""

from lits_seg.common.tables import plural
from lits_seg.comparison.finished_runs import Found
from lits_seg.comparison.pool import Group, Variant, find_variant
from lits_seg.comparison.variants import FILES, split_of

MACHINES = {
    "latency.cpu_threads": "CPU latency was measured with different numbers of threads",
    "latency.gpu": "GPU latency was measured on different GPUs",
    "device": "Training ran on different devices",
    "precision": "Training ran with different precision",
}
VERSIONS = {"git_commit": "commits", "lits-seg": "versions of lits_seg", "torch": "versions of torch"}


def group_notes(group: Group) -> list[str]:
    """Return notes on the choice of baseline, on missing folds and seeds, and on times that are not comparable."""
    notes = _baseline_notes(group)
    for variant in group.variants:
        notes += _patient_notes(group, variant)
        notes += _seed_notes(variant)
    for name, text in MACHINES.items():
        values = sorted({value for variant in group.variants for value in variant.every(name)})
        if len(values) > 1:
            notes.append(f"{text} ({', '.join(map(str, values))}): times are not comparable.")
    return notes


def run_notes(found: Found) -> list[str]:
    """Return notes on runs that are left out, on different versions, and on uncommitted changes."""
    runs = found.finished
    others = (found.livers, found.untested, found.unfinished, found.failed, found.unreadable)
    left_out = sum(map(len, others))
    notes = []
    if left_out:
        notes.append(f"{left_out} of {left_out + len(runs)} runs are not in the tables; they are listed at the end.")
    for key, text in VERSIONS.items():
        values = sorted({str(run.versions.get(key))[:12] for run in runs})
        if len(values) > 1:
            notes.append(f"The runs were made with different {text}: {', '.join(values)}.")
    dirty = sum(bool(run.versions.get("git_dirty")) for run in runs)
    if dirty:
        notes.append(f"{dirty} of {len(runs)} runs were made with uncommitted changes.")
    return notes


def folds_text(variant: Variant) -> str:
    """Return which folds a variant has: ``all 4``, or ``0, 2 of 4``; with files, ``of 5 splits``."""
    if split_of(variant.runs[0].config) == FILES:
        splits = {(str(run.config["data"]["split"]), run.result.fold) for run in variant.runs}
        return f"of {plural(len(splits), 'split')}"
    have, count = variant.every("fold"), variant.runs[0].result.folds
    if len(have) == count:
        return f"all {count}"
    return f"{', '.join(map(str, have))} of {count}"


def _baseline_notes(group: Group) -> list[str]:
    chosen = find_variant(group.variants, group.wanted)
    if len(group.variants) == 1:
        return ["There is only one variant: nothing to compare it with."]
    if not chosen:
        return [
            f"The baseline {group.wanted} has no runs: the variant with the most parameters, {group.baseline.name}, "
            "is used instead."
        ]
    if len(chosen) > 1:
        others = "; ".join(variant.name for variant in chosen[1:])
        return [f"The baseline is {group.baseline.name}. Variants of {group.wanted} with other settings: {others}."]
    return []


def _patient_notes(group: Group, variant: Variant) -> list[str]:
    if variant.cases.keys() == group.patients:
        return []
    note = (
        f"{variant.name} has folds {folds_text(variant)}: its means are over {len(variant.cases)} of "
        f"{len(group.patients)} patients and are not comparable with means over other patients"
    )
    both = len(variant.cases.keys() & group.baseline.cases.keys())
    if both and variant is not group.baseline:
        note += f"; differences from {group.baseline.name} use the {plural(both, 'patient')} that both have"
    return [f"{note}."]


def _seed_notes(variant: Variant) -> list[str]:
    seeds: dict[int, list[int]] = {}
    for run in variant.runs:
        seeds.setdefault(run.result.fold, []).append(run.result.seed)
    if len({tuple(each) for each in seeds.values()}) == 1:
        return []
    which = "; ".join(f"fold {fold}: seed {', '.join(map(str, each))}" for fold, each in seeds.items())
    return [f"{variant.name}: not every fold has the same seeds ({which})."]
