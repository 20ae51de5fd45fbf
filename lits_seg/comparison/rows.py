"""Make the report's tables: rows of text for Markdown and HTML, rows of values for CSV."""

from collections.abc import Iterator, Sequence
from typing import Any

from lits_seg.common.tables import DASH, number, plural, signed, with_interval
from lits_seg.comparison.claims import Claim
from lits_seg.comparison.finished_runs import Found, Run
from lits_seg.comparison.notes import folds_text
from lits_seg.comparison.pool import DICE, SCORES, Group, Variant
from lits_seg.metrics.scores import flat_case
from lits_seg.metrics.statistics import Estimate

Table = tuple[Sequence[str], list[tuple[str, ...]]]
UNITS = (("h", 3600), ("min", 60), ("s", 1))
# Scores in the table of differences, after the Dice per case; pairs.csv has all scores.
ALSO_COMPARED = ("lesion/jaccard", "detection/iou>0.5/precision", "detection/iou>0.5/recall")
PAIR_COLUMNS = (
    "group",
    "variant",
    "model",
    "decoder",
    "baseline",
    "score",
    "patients",
    "value",
    "baseline_value",
    "difference",
    "low",
    "high",
    "p",
    "wins",
    "losses",
    "ties",
)


def score_table(group: Group, intervals: Sequence[str]) -> Table:
    """Return a row for each variant with parameters and scores.

    Args:
        group: the compared variants.
        intervals: names of the scores that are shown with intervals.
    """
    titles = [f"{title} [95 %]" if name in intervals else title for name, title in SCORES.items()]
    header = ("no.", "network", "parameters", *titles, "patients", "folds", "seeds")
    rows = []
    for i, variant in enumerate(group.variants, 1):
        scores = [
            with_interval(variant.scores[name].value, variant.scores[name].interval if name in intervals else None)
            for name in SCORES
        ]
        counts = (str(len(variant.cases)), folds_text(variant), str(len(variant.every("seed"))))
        rows.append((str(i), variant.name, _parameters(variant), *scores, *counts))
    return header, rows


def cost_table(group: Group) -> Table:
    """Return a row for each variant with parameters, multiply-accumulates, latency of a slice, and training time."""
    longest = max(variant.median("train_seconds") or 0 for variant in group.variants)
    unit, seconds = next((unit, seconds) for unit, seconds in UNITS if longest >= 2 * seconds or seconds == 1)
    header = ("no.", "network", "parameters", "GMAC", "CPU ms", "GPU ms", f"training, {unit}", "steps", "trained on")
    return header, [_cost_row(i, variant, seconds) for i, variant in enumerate(group.variants, 1)]


def pair_table(group: Group) -> Table:
    """Return a row for each variant except the baseline: differences on the patients that both have."""
    others = (f"{SCORES[name]} [95 %]" for name in ALSO_COMPARED)
    header = ("network", "Dice per case [95 %]", "p", "better", "worse", "equal", *others, "patients")
    rows = []
    for variant in group.variants:
        pair = group.pairs.get(variant.name)
        if pair is None:
            continue
        dice, *more = (signed(pair[name].difference, pair[name].interval) for name in (DICE, *ALSO_COMPARED))
        test = pair[DICE].test
        assert test is not None  # a mean over patients
        each = (number(test.p, 4), str(test.wins_a), str(test.wins_b), str(test.ties))
        rows.append((variant.name, dice, *each, *more, str(common(group, variant))))
    return header, rows


def claim_table(found: Sequence[Claim]) -> Table:
    """Return a row for each claim of the paper, without the rules."""
    header = ("the paper's claim", "measured", "verdict")
    return header, [(claim.claim, claim.measured, claim.verdict) for claim in found]


def version_table(runs: Sequence[Run]) -> Table:
    """Return a row for each combination of versions that runs were made with."""
    header = ("lits_seg", "commit", "torch", "Python", "runs")
    rows: dict[tuple[str, ...], int] = {}
    for run in runs:
        package, commit, torch, python = (
            str(run.versions.get(name) or DASH) for name in ("lits-seg", "git_commit", "torch", "python")
        )
        commit = f"{commit[:12]} (changed)" if run.versions.get("git_dirty") else commit[:12]
        key = (package, commit, torch, python)
        rows[key] = rows.get(key, 0) + 1
    return header, [(*key, str(count)) for key, count in sorted(rows.items())]


def other_runs(found: Found) -> list[str]:
    """Return a line for each run that is not in the tables."""
    lines = [f"{name}: unfinished (still running, or interrupted)" for name in found.unfinished]
    lines += [f"{name}: failed ({reason})" if reason else f"{name}: failed" for name, reason in found.failed.items()]
    lines += [f"{name}: finds livers only, no lesions" for name in found.livers]
    lines += [f"{name}: has no test patients, since every patient trained" for name in found.untested]
    return lines + [f"{name}: cannot be read ({reason})" for name, reason in found.unreadable.items()]


def variant_rows(groups: Sequence[Group]) -> Iterator[dict[str, Any]]:
    """Yield the rows of ``report.csv``: a variant each, with full precision."""
    for group in groups:
        for variant in group.variants:
            row = {
                **_named(group, variant),
                "data": group.tested_on.data,
                "synthetic": group.tested_on.synthetic,
                "size": group.tested_on.size,
                "selected_on_test": group.tested_on.selected_on_test,
                "folds": " ".join(map(str, variant.every("fold"))),
                "of_folds": group.tested_on.folds,
                "seeds": " ".join(map(str, variant.every("seed"))),
                "runs": len(variant.runs),
                "patients": len(variant.cases),
                "parameters": variant.median("parameters"),
                "macs": variant.median("macs"),
                "steps": variant.median("steps"),
                "train_seconds": variant.median("train_seconds"),
                "device": " / ".join(variant.every("device")),
                "cpu_ms": variant.median("latency.cpu_ms"),
                "gpu_ms": variant.median("latency.gpu_ms"),
                "cpu_threads": " ".join(map(str, variant.every("latency.cpu_threads"))),
                "gpu": " / ".join(variant.every("latency.gpu")),
            }
            for name, score in variant.scores.items():
                row |= _score_columns(name, score)
            yield row


def pair_rows(groups: Sequence[Group]) -> Iterator[dict[str, Any]]:
    """Yield the rows of ``pairs.csv``: each variant but the baseline, and each score."""
    for group in groups:
        for variant in group.variants:
            for name, row in group.pairs.get(variant.name, {}).items():
                low, high = row.interval or (None, None)
                yield {
                    **_named(group, variant),
                    "baseline": group.baseline.name,
                    "score": name,
                    "patients": common(group, variant),
                    "value": row.a,
                    "baseline_value": row.b,
                    "difference": row.difference,
                    "low": low,
                    "high": high,
                    "p": row.test.p if row.test else None,
                    "wins": row.test.wins_a if row.test else None,
                    "losses": row.test.wins_b if row.test else None,
                    "ties": row.test.ties if row.test else None,
                }


def case_rows(groups: Sequence[Group]) -> Iterator[dict[str, Any]]:
    """Yield the rows of ``cases.csv``: a patient and run each."""
    for group in groups:
        for variant in group.variants:
            for run in variant.runs:
                about = {"run": run.name, "fold": run.result.fold, "seed": run.result.seed}
                yield from ({**_named(group, variant), **about, **flat_case(case)} for case in run.result.cases)


def common(group: Group, variant: Variant) -> int:
    """Return the number of patients that a variant shares with the baseline.

    Args:
        group: the group of the variant, which defines the baseline.
        variant: the variant.
    """
    return len(variant.cases.keys() & group.baseline.cases.keys())


def _cost_row(i: int, variant: Variant, unit: float) -> tuple[str, ...]:
    seconds, steps, macs = (variant.median(name) for name in ("train_seconds", "steps", "macs"))
    return (
        str(i),
        variant.name,
        _parameters(variant),
        number(None if macs is None else macs / 1e9, 2),
        _cpu(variant),
        _gpu(variant),
        number(None if seconds is None else seconds / unit, 1),
        DASH if steps is None else f"{steps:,.0f}",
        ", ".join(variant.every("device")),
    )


def _cpu(variant: Variant) -> str:
    milliseconds, threads = variant.median("latency.cpu_ms"), variant.every("latency.cpu_threads")
    if milliseconds is None:
        return DASH
    shown = plural(threads[0], "thread") if len(threads) == 1 else f"{', '.join(map(str, threads))} threads"
    return f"{number(milliseconds, 1)} ({shown})"


def _gpu(variant: Variant) -> str:
    milliseconds = variant.median("latency.gpu_ms")
    if milliseconds is None:
        return DASH
    return f"{number(milliseconds, 2)} ({', '.join(variant.every('latency.gpu'))})"


def _parameters(variant: Variant) -> str:
    return f"{variant.median('parameters') or 0:,.0f}"


def _named(group: Group, variant: Variant) -> dict[str, Any]:
    return {"group": group.title, "variant": variant.name, "model": variant.model, "decoder": variant.decoder}


def _score_columns(name: str, score: Estimate) -> dict[str, Any]:
    short = "dice_per_case" if name == DICE else name.split("/", 1)[-1].replace("iou>0.5/", "lesion_")
    short = short if name in SCORES else name.replace("/", "_")
    low, high = score.interval or (None, None)
    return {short: score.value, f"{short}_low": low, f"{short}_high": high}
