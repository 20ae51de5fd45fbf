"""The paper's claims beside what the runs measured."""

import statistics
from dataclasses import dataclass
from typing import Any

from lits_seg.common.tables import signed
from lits_seg.comparison.pool import DICE, Group, Variant, compare, find_variant

LIGHT, HEAVY = "dsc_unet, subpixel", "unet, deconv"
FEWER, FASTER = 13.8, 2.0
CONFIRMED, NOT_CONFIRMED, UNDECIDED = "confirmed", "not confirmed", "undecided"


@dataclass(frozen=True)
class Claim:
    """What the paper says, what was measured, and what follows by the rule."""

    claim: str
    measured: str
    verdict: str
    rule: str


def claims(group: Group, margin: float) -> list[tuple[str, list[Claim]]]:
    """The paper's three claims for each of its networks here, against the UNet; none where either is missing.

    ``margin``: how much Dice per case may be lost and still count as no worse.
    """
    heavy = find_variant(group.variants, HEAVY)
    if not heavy:
        return []
    against = group.baseline if group.baseline in heavy else heavy[0]
    return [
        (f"{light.name} against {against.name}", _three(group, light, against, margin))
        for light in find_variant(group.variants, LIGHT)
    ]


def _three(group: Group, light: Variant, heavy: Variant, margin: float) -> list[Claim]:
    pair = group.pairs.get(light.name) if heavy is group.baseline else compare(light, heavy)
    return [fewer(light, heavy), faster(light, heavy), no_worse(pair, margin)]


def fewer(light: Variant, heavy: Variant) -> Claim:
    """13.8 times fewer parameters."""
    ratio = (heavy.median("parameters") or 0) / (light.median("parameters") or 1)
    return Claim(
        f"{FEWER:g} × fewer parameters",
        f"{ratio:.2f} ×",
        CONFIRMED if ratio >= FEWER else NOT_CONFIRMED,
        f"counted: at least {FEWER:g} ×",
    )


def faster(light: Variant, heavy: Variant) -> Claim:
    """Half the training time: seconds of runs of the same fold, seed, device and steps."""
    ours, theirs = _seconds(light), _seconds(heavy)
    ratios = [theirs[key] / ours[key] for key in sorted(ours.keys() & theirs.keys())]
    rule = (
        f"at least {FASTER:g} × in every pair of runs of one fold, seed, device and number of steps; not confirmed "
        "where in none, else undecided"
    )
    if not ratios:
        return Claim(f"{FASTER:g} × faster to train", "no such pair of runs", UNDECIDED, rule)
    low, high = min(ratios), max(ratios)
    spread = f" [{low:.2f} to {high:.2f}, {len(ratios)} pairs]" if len(ratios) > 1 else " (one pair of runs)"
    return Claim(
        f"{FASTER:g} × faster to train", f"{statistics.median(ratios):.2f} ×{spread}", verdict(low, high, FASTER), rule
    )


def no_worse(pair: dict[str, dict[str, Any]] | None, margin: float) -> Claim:
    """Dice per case not worse by more than the margin. ``pair``: both on the same patients; None without such."""
    rule = (
        f"non-inferiority: the 95 % interval of the difference does not reach below -{margin:g}, a margin chosen here, "
        "not by the paper; not confirmed where all of it is below, else undecided; undecided, too, where the UNet's "
        "own Dice is no larger than the margin, since nothing could be worse by more"
    )
    if pair is None:
        return Claim("Dice no worse", "no patient in common", UNDECIDED, rule)
    row = pair[DICE]
    interval = row["interval"]
    measured = f"{signed(row['difference'], interval)} over {row['patients']} patient{'s' * (row['patients'] != 1)}"
    told = interval is not None and row["b"] > margin
    return Claim("Dice no worse", measured, verdict(interval[0], interval[1], -margin) if told else UNDECIDED, rule)


def verdict(low: float, high: float, bound: float) -> str:
    """Whether an interval lies at or above a bound, below it, or on both sides."""
    return CONFIRMED if low >= bound else NOT_CONFIRMED if high < bound else UNDECIDED


def _seconds(variant: Variant) -> dict[tuple, float]:
    return {
        tuple(run.result[key] for key in ("fold", "seed", "device", "steps")): run.result["train_seconds"]
        for run in variant.runs
    }
