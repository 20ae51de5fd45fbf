"""What a reader must know before comparing variants: missing runs, unequal machines, unequal code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lits_seg.comparison.folders import Found

if TYPE_CHECKING:
    from lits_seg.comparison.pool import Variant

MACHINES = (
    ("CPU latency was measured with different numbers of threads", ("latency", "cpu_threads")),
    ("GPU latency was measured on different GPUs", ("latency", "gpu")),
    ("Training ran on different devices", ("device",)),
)


def stand_in(variants: Sequence[Variant]) -> Variant:
    """What the others are compared with where the baseline has no run: most parameters, then most patients."""
    return max(variants, key=lambda variant: (variant.median("parameters") or 0, len(variant.cases)))


def baseline_notes(variants: Sequence[Variant], chosen: Sequence[Variant], wanted: str) -> list[str]:
    """How the baseline was chosen, where the choice is not plain. ``chosen``: what answers to its name."""
    if len(variants) == 1:
        return ["One variant only: nothing to compare it with."]
    if not chosen:
        instead = stand_in(variants).name
        return [f"No run of the baseline {wanted}: the variant with most parameters, {instead}, stands for it."]
    if len(chosen) > 1:
        others = "; ".join(variant.name for variant in chosen[1:])
        return [f"The baseline is {chosen[0].name}. Also {wanted}, with other settings: {others}."]
    return []


def unequal_notes(variants: Sequence[Variant], baseline: Variant) -> list[str]:
    """Variants that lack patients or seeds that others have, and times that do not compare."""
    notes = []
    everyone = {patient for variant in variants for patient in variant.cases}
    for variant in variants:
        if variant.cases.keys() != everyone:
            both = len(variant.cases.keys() & baseline.cases.keys())
            with_baseline = f"; with {baseline.name} it is compared on the {both} patients of both" if both else ""
            notes.append(
                f"{variant.name} has folds {folds_text(variant)}: its means are over {len(variant.cases)} of "
                f"{len(everyone)} patients and do not compare with means over others"
                f"{with_baseline if variant is not baseline else ''}."
            )
        seeds = _seeds_by_fold(variant)
        if len({tuple(each) for each in seeds.values()}) > 1:
            which = "; ".join(f"fold {fold}: seed {', '.join(map(str, each))}" for fold, each in seeds.items())
            notes.append(f"{variant.name}: not every fold has the same seeds ({which}).")
    for what, keys in MACHINES:
        values = sorted({value for variant in variants for value in variant.every(*keys)})
        if len(values) > 1:
            notes.append(f"{what} ({', '.join(map(str, values))}): times do not compare.")
    return notes


def run_notes(found: Found) -> list[str]:
    """Runs that are left out, runs of different code or libraries, and of code that no commit holds."""
    runs, left_out = found.finished, len(found.unfinished) + len(found.failed) + len(found.unreadable)
    notes = [f"{left_out} of {left_out + len(runs)} runs are not in the tables; the end names them."] * bool(left_out)
    for key, what in (("git_commit", "commits"), ("lits-seg", "versions of lits_seg"), ("torch", "versions of torch")):
        values = sorted({str(run.versions.get(key))[:12] for run in runs})
        if len(values) > 1:
            notes.append(f"The runs were made with different {what}: {', '.join(values)}.")
    dirty = sum(bool(run.versions.get("git_dirty")) for run in runs)
    if dirty:
        notes.append(f"{dirty} of {len(runs)} runs were made with changes that their commit does not hold.")
    return notes


def folds_text(variant: Variant) -> str:
    """How many folds a variant has, ``all 4``, or which, ``0, 2 of 4``."""
    have, count = variant.every("fold"), variant.runs[0].result["folds"]
    if len(have) == count:
        return f"all {count}"
    return f"{', '.join(map(str, have))} of {count}"


def _seeds_by_fold(variant: Variant) -> dict[int, list[int]]:
    seeds: dict[int, list[int]] = {}
    for run in variant.runs:
        seeds.setdefault(run.result["fold"], []).append(run.result["seed"])
    return seeds
