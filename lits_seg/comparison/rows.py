"""A report's tables: rows of text for people, rows of values for CSV."""

from collections.abc import Iterator, Sequence
from typing import Any

from lits_seg.common.tables import number, signed, with_interval
from lits_seg.comparison.claims import Claim
from lits_seg.comparison.folders import Found, Run
from lits_seg.comparison.notes import folds_text
from lits_seg.comparison.pool import DICE, SCORES, Group, Variant
from lits_seg.evaluation.score_tables import flat_case

Table = tuple[Sequence[str], list[tuple[str, ...]]]
DASH = "–"
UNITS = (("h", 3600), ("min", 60), ("s", 1))
# Beside the Dice per case; pairs.csv has all scores.
ALSO_COMPARED = ("lesion/jaccard", "detection/iou>0.5/precision", "detection/iou>0.5/recall")


def score_table(group: Group, intervals: Sequence[str]) -> Table:
    """A row a variant: parameters and scores, some with their intervals."""
    titles = (f"{title}{' [95 %]' * (name in intervals)}" for name, title in SCORES.items())
    header = ("no.", "network", "parameters", *titles, "patients", "folds", "seeds")
    rows = []
    for i, variant in enumerate(group.variants, 1):
        scores = (
            with_interval(score["value"], score["interval"] if name in intervals else None)
            for name, score in variant.scores.items()
        )
        seeds = str(len(variant.every("seed")))
        rows.append(
            (str(i), variant.name, _count(variant), *scores, str(len(variant.cases)), folds_text(variant), seeds)
        )
    return header, rows


def cost_table(group: Group) -> Table:
    """A row a variant: parameters, work, latency of a slice, training."""
    longest = max(variant.median("train_seconds") or 0 for variant in group.variants)
    unit, seconds = next((unit, seconds) for unit, seconds in UNITS if longest >= 2 * seconds or seconds == 1)
    header = ("no.", "network", "parameters", "GMAC", "CPU ms", "GPU ms", f"training, {unit}", "steps", "trained on")
    return header, [_cost_row(i, variant, seconds) for i, variant in enumerate(group.variants, 1)]


def pair_table(group: Group) -> Table:
    """A row for each variant but the baseline: differences on the patients that both have."""
    others = (f"{SCORES[name]} [95 %]" for name in ALSO_COMPARED)
    header = ("network", "Dice per case [95 %]", "p", "better", "worse", "equal", *others, "patients")
    rows = []
    for variant in group.variants:
        if pair := group.pairs.get(variant.name):
            dice, *more = (signed(pair[name]["difference"], pair[name]["interval"]) for name in (DICE, *ALSO_COMPARED))
            each = (str(pair[DICE][key]) for key in ("wins_a", "wins_b", "ties"))
            p = number(pair[DICE]["p"], 4)
            rows.append((variant.name, dice, p, *each, *more, str(common(group, variant))))
    return header, rows


def claim_table(found: Sequence[Claim]) -> Table:
    """A row a claim of the paper; the rules stand apart."""
    header = ("the paper's claim", "measured", "verdict")
    return header, [(claim.claim, claim.measured, claim.verdict) for claim in found]


def version_table(runs: Sequence[Run]) -> Table:
    """A row for each code and set of libraries that runs were made with."""
    header = ("lits_seg", "commit", "torch", "Python", "runs")
    rows: dict[tuple[str, ...], int] = {}
    for run in runs:
        versions = run.versions
        commit = f"{str(versions.get('git_commit') or DASH)[:12]}{' (changed)' * bool(versions.get('git_dirty'))}"
        package, torch, python = (str(versions.get(name) or DASH) for name in ("lits-seg", "torch", "python"))
        key = (package, commit, torch, python)
        rows[key] = rows.get(key, 0) + 1
    return header, [(*key, str(count)) for key, count in sorted(rows.items())]


def other_runs(found: Found) -> list[str]:
    """A line for each run that is not in the tables."""
    return [
        *(f"{name}: unfinished (still running, or cut off)" for name in found.unfinished),
        *(f"{name}: failed{f' ({reason})' * bool(reason)}" for name, reason in found.failed.items()),
        *(f"{name}: cannot be read ({reason})" for name, reason in found.unreadable.items()),
    ]


def variant_rows(groups: Sequence[Group]) -> Iterator[dict[str, Any]]:
    """``report.csv``: a row a variant, with full precision."""
    for group in groups:
        for variant in group.variants:
            yield {
                **_named(group, variant),
                **{key: group.facts[key] for key in ("data", "synthetic", "size", "selected_on_test")},
                "folds": " ".join(map(str, variant.every("fold"))),
                "of_folds": group.facts["folds"],
                "seeds": " ".join(map(str, variant.every("seed"))),
                "runs": len(variant.runs),
                "patients": len(variant.cases),
                **{key: variant.median(key) for key in ("parameters", "macs", "steps", "train_seconds")},
                "device": " / ".join(variant.every("device")),
                **{key: variant.median("latency", key) for key in ("cpu_ms", "gpu_ms")},
                "cpu_threads": " ".join(map(str, variant.every("latency", "cpu_threads"))),
                "gpu": " / ".join(variant.every("latency", "gpu")),
                **{key: value for name in SCORES for key, value in _flat(name, variant.scores[name]).items()},
            }


def pair_rows(groups: Sequence[Group]) -> Iterator[dict[str, Any]]:
    """``pairs.csv``: a row for each variant but the baseline and each score."""
    for group in groups:
        for variant in group.variants:
            for name, row in group.pairs.get(variant.name, {}).items():
                low, high = row["interval"] or (None, None)
                yield {
                    **_named(group, variant),
                    "baseline": group.baseline.name,
                    "score": name,
                    "patients": common(group, variant),
                    "value": row["a"],
                    "baseline_value": row["b"],
                    "difference": row["difference"],
                    "low": low,
                    "high": high,
                    **dict(zip(("p", "wins", "losses", "ties"), _test(row), strict=True)),
                }


def case_rows(groups: Sequence[Group]) -> Iterator[dict[str, Any]]:
    """``cases.csv``: a row a patient and run."""
    for group in groups:
        for variant in group.variants:
            for run in variant.runs:
                about = {"run": run.name, "fold": run.result["fold"], "seed": run.result["seed"]}
                yield from ({**_named(group, variant), **about, **flat_case(case)} for case in run.result["cases"])


PAIR_COLUMNS = (
    *("group", "variant", "model", "decoder", "baseline", "score", "patients", "value", "baseline_value"),
    *("difference", "low", "high", "p", "wins", "losses", "ties"),
)


def common(group: Group, variant: Variant) -> int:
    """How many patients a variant shares with the baseline."""
    return len(variant.cases.keys() & group.baseline.cases.keys())


def _cost_row(i: int, variant: Variant, unit: float) -> tuple[str, ...]:
    seconds, steps, macs = (variant.median(key) for key in ("train_seconds", "steps", "macs"))
    cpu, gpu = (variant.median("latency", key) for key in ("cpu_ms", "gpu_ms"))
    threads = ", ".join(map(str, variant.every("latency", "cpu_threads")))
    gpus = ", ".join(variant.every("latency", "gpu"))
    return (
        str(i),
        variant.name,
        _count(variant),
        number(None if macs is None else macs / 1e9, 2),
        number(cpu, 1) + f" ({threads} thread{'s' * (threads != '1')})" * (cpu is not None),
        number(gpu, 2) + f" ({gpus})" * (gpu is not None),
        number(None if seconds is None else seconds / unit, 1),
        DASH if steps is None else f"{steps:,.0f}",
        ", ".join(variant.every("device")),
    )


def _count(variant: Variant) -> str:
    return f"{variant.median('parameters') or 0:,.0f}"


def _named(group: Group, variant: Variant) -> dict[str, Any]:
    result = variant.runs[0].result
    return {"group": group.title, "variant": variant.name, "model": result["model"], "decoder": result["decoder"]}


def _flat(name: str, score: dict[str, Any]) -> dict[str, Any]:
    short = "dice_per_case" if name == DICE else name.split("/", 1)[-1].replace("iou>0.5/", "lesion_")
    low, high = score["interval"] or (None, None)
    return {short: score["value"], f"{short}_low": low, f"{short}_high": high}


def _test(row: dict[str, Any]) -> list[Any]:
    return [row.get(key) for key in ("p", "wins_a", "wins_b", "ties")]
