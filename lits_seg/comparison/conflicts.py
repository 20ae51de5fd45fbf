"""Leave out runs that contradict others: copies of a run, and other references under the same names."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from lits_seg.common.errors import InputError
from lits_seg.comparison.finished_runs import Found, Run
from lits_seg.comparison.pool import by_test_data
from lits_seg.comparison.variants import names, scored


def without_conflicts(found: Found) -> Found:
    """Return the runs without those that contradict others, which count as unreadable.

    Raises:
        InputError: if no run would be left; names the contradictions.
    """
    reasons: dict[str, str] = {}
    for runs in by_test_data(found.finished):
        reasons |= _other_references(runs)
        reasons |= _tested_twice([run for run in runs if run.name not in reasons])
    kept = [run for run in found.finished if run.name not in reasons]
    if reasons and not kept:
        expected = "the same references, and each patient tested once with a seed (report on one sweep, or move a run)"
        listed = "".join(f"\n  {name}: {reason}" for name, reason in reasons.items())
        raise InputError("runs", expected, f"only runs that contradict each other:{listed}")
    return replace(found, finished=kept, unreadable={**found.unreadable, **reasons})


def _other_references(runs: Sequence[Run]) -> dict[str, str]:
    """Return the runs whose references differ from those of most runs; without a majority, all of these runs."""
    voxels: dict[str, dict[str, float]] = {}
    for run in runs:
        for case in run.result.cases:
            voxels.setdefault(case.case, {})[run.name] = case.voxels.lesion.reference
    reasons: dict[str, str] = {}
    for patient, by_run in voxels.items():
        (most, count), *others = Counter(by_run.values()).most_common(2)
        if not others:
            continue
        tie = others[0][1] == count
        for name, value in by_run.items():
            if tie or value != most:
                rest = ", ".join(sorted(other for other, another in by_run.items() if another != value))
                reasons[name] = f"the reference of {patient} has {value:g} lesion voxels, another number in {rest}"
    return reasons


def _tested_twice(runs: Sequence[Run]) -> dict[str, str]:
    """Return the runs of a variant that tested a patient with the seed of another run, such as a copy of a run."""
    tests: dict[tuple, list[str]] = {}
    for run, variant in zip(runs, names(runs), strict=True):
        for test in scored(run):
            tests.setdefault((variant, *test), []).append(run.name)
    return {
        name: f"tested {patient} with seed {seed} as {', '.join(other for other in same if other != name)} did"
        for (_, seed, _, patient), same in tests.items()
        for name in same
        if len(same) > 1
    }
