"""Judge the paper's claims by finished runs."""

import statistics
from dataclasses import dataclass

from lits_seg.common.tables import plural, signed
from lits_seg.comparison.pool import DICE, Group, Variant, compare, find_variant
from lits_seg.metrics.statistics import Difference

LIGHT = "dsc_unet, subpixel"
HEAVY = "unet, deconv"
FEWER = 13.8
FASTER = 2.0
CONFIRMED = "confirmed"
NOT_CONFIRMED = "not confirmed"
UNDECIDED = "undecided"


@dataclass(frozen=True)
class Claim:
    """A claim of the paper with the measured value, the verdict, and the rule behind the verdict."""

    claim: str
    measured: str
    verdict: str
    rule: str


def claims(group: Group, margin: float) -> list[tuple[str, list[Claim]]]:
    """Compare each variant of the paper's network with the UNet, and judge the paper's three claims.

    Args:
        group: the compared variants.
        margin: largest loss in Dice per case that still counts as no worse.

    Returns:
        A title and three claims for each variant of the paper's network; empty if either network is missing.
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
    """Judge the claim of 13.8 times fewer parameters.

    Args:
        light: the paper's network.
        heavy: the UNet.
    """
    ratio = (heavy.median("parameters") or 0) / (light.median("parameters") or 1)
    return Claim(
        f"{FEWER:g} × fewer parameters",
        f"{ratio:.2f} ×",
        CONFIRMED if ratio >= FEWER else NOT_CONFIRMED,
        f"confirmed if the counted ratio is at least {FEWER:g} ×",
    )


def faster(light: Variant, heavy: Variant) -> Claim:
    """Judge the claim of half the training time, by pairs of runs with the same fold, seed, device and steps.

    Args:
        light: the paper's network.
        heavy: the UNet.
    """
    ours, theirs = _seconds(light), _seconds(heavy)
    ratios = [theirs[key] / ours[key] for key in sorted(ours.keys() & theirs.keys()) if ours[key]]
    rule = (
        f"confirmed if at least {FASTER:g} × in every pair of runs with the same fold, seed, device and steps; "
        "not confirmed if in no pair; otherwise undecided"
    )
    if not ratios:
        return Claim(f"{FASTER:g} × faster to train", "no matching pair of runs", UNDECIDED, rule)
    low, high = min(ratios), max(ratios)
    spread = f" [{low:.2f} to {high:.2f}, {len(ratios)} pairs]" if len(ratios) > 1 else " (one pair of runs)"
    return Claim(
        f"{FASTER:g} × faster to train", f"{statistics.median(ratios):.2f} ×{spread}", verdict(low, high, FASTER), rule
    )


def no_worse(pair: dict[str, Difference] | None, margin: float) -> Claim:
    """Judge the claim that the Dice per case is no worse.

    Args:
        pair: scores of both networks on the same patients; None if they have no patient in common.
        margin: largest loss in Dice per case that still counts as no worse.
    """
    rule = (
        f"confirmed if the whole 95 % interval of the difference is at or above -{margin:g} (non-inferiority; the "
        "margin is this report's, not the paper's); not confirmed if the whole interval is below; otherwise undecided. "
        "Also undecided if the UNet's own Dice is at most the margin, because no network could lose more"
    )
    if pair is None:
        return Claim("Dice no worse", "no patient in common", UNDECIDED, rule)
    row = pair[DICE]
    measured = signed(row.difference, row.interval)
    if row.test is not None:
        measured += f" over {plural(row.test.patients, 'patient')}"
    decided = UNDECIDED
    if row.interval is not None and row.b > margin:
        decided = verdict(*row.interval, -margin)
    return Claim("Dice no worse", measured, decided, rule)


def verdict(low: float, high: float, bound: float) -> str:
    """Return the verdict: confirmed if the interval is at or above a bound, not confirmed if all of it is below.

    Args:
        low: lower end of the interval.
        high: upper end of the interval.
        bound: the claimed value.
    """
    return CONFIRMED if low >= bound else NOT_CONFIRMED if high < bound else UNDECIDED


def _seconds(variant: Variant) -> dict[tuple, float]:
    return {
        (run.result.fold, run.result.seed, run.result.device, run.result.steps): run.result.train_seconds
        for run in variant.runs
    }
