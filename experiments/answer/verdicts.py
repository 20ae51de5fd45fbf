"""Decide the paper's claims by rules that were fixed before the trainings."""

from collections.abc import Mapping, Sequence

from experiments.answer.gains import Gain, gain, gain_text
from experiments.answer.protocol import Protocol
from experiments.answer.rows import GROUPS, OWN_TANDEM, PAPER, TANDEM, UNET, Group, Row
from experiments.shared.named_runs import TITLES, Groups
from experiments.shared.patients import PERSONS
from experiments.shared.trainings import Rate
from lits_seg.comparison.claims import CONFIRMED, FASTER, FEWER, NOT_CONFIRMED, UNDECIDED, Claim, verdict
from lits_seg.metrics.statistics import Interval

Times = Mapping[str, Mapping[str, float]]  # milliseconds of a slice by engine and network
NOT_MEASURED = "not measured"
BUDGETS = ("steps", "minutes")  # the regimes whose Dice is judged
MARGIN = 0.02  # largest loss in Dice per case that still counts as no worse
TOLERANCE = 0.1  # relative error of a measured ratio of times

FEWER_RULE = f"confirmed if the counted ratio is at least {FEWER:g} ×; otherwise not confirmed"
FASTER_RULE = (
    "ratio of crops a second, measured in turns on the machine of `rates` (a GPU may decide otherwise: "
    f"experiments/train_speed); confirmed if at least {FASTER:g} × after division by {1 + TOLERANCE:g}; not confirmed "
    f"if below {FASTER:g} × after multiplication by {1 + TOLERANCE:g}; otherwise undecided"
)
INFERENCE_RULE = (
    "ratio of times of a slice of 256 px with one thread; confirmed if in every measured engine in 32 bits at least 1 "
    f"after division by {1 + TOLERANCE:g}; not confirmed if in every measured engine below 1 after multiplication by "
    f"{1 + TOLERANCE:g}; otherwise undecided"
)
DICE_RULE = (
    f"paired difference on real patients, averaged by person, of each seed of `{PAPER}` from the one seed of `{UNET}`; "
    f"confirmed if the whole 95 % interval over persons is at or above -{MARGIN:g} with every seed; not confirmed if "
    "the whole interval is below with every seed; otherwise undecided. Also undecided if runs are missing or have "
    f"other steps or patients than planned, or if the UNet's own Dice is at most {MARGIN:g}, because no network could "
    "lose more"
)
HIGHER_RULE = (
    f"with its authors' loss and optimizer: paired difference from `{PAPER}`, which trains by the common recipe, not "
    "by that of its authors, on real patients, averaged by person; confirmed if the whole 95 % interval over persons "
    "is above 0; not confirmed if the whole interval is at or below 0; otherwise undecided. Also undecided if runs "
    f"are missing or have other steps or patients than planned, or if both Dice are at most {MARGIN:g}, because no "
    "network learned lesions"
)
MORE_RULE = f"counted, compared with `{PAPER}`; confirmed if larger; otherwise not confirmed"


def judge(rates: Mapping[str, Rate], times: Times, groups: Groups, protocol: Protocol) -> list[Claim]:
    """Return all claims with their verdicts.

    Args:
        rates: sizes and training rates by network.
        times: milliseconds of a slice by engine and network.
        groups: the runs by regime and data, and by system.
        protocol: what the runs must keep for a verdict.
    """
    losses, gains = [], []
    for group in GROUPS:
        if group.regime in BUDGETS and group.data == "lits":
            title = TITLES[group.regime]
            ours = [row for row in group.rows if row.network == PAPER]  # a seed each
            losses.append(no_worse(title, [_gain(group, row, Row(UNET), groups, protocol) for row in ours], MARGIN))
            own, common = (_gain(group, row, Row(PAPER), groups, protocol) for row in (OWN_TANDEM, Row(TANDEM)))
            gains.append(higher(title, own, common))
    speed = [faster(rates, TOLERANCE), faster_inference(times, TOLERANCE)]
    return [fewer(rates), *speed, *losses, more(rates), *gains]


def fewer(rates: Mapping[str, Rate]) -> Claim:
    """Judge the claim of 13.8 times fewer parameters."""
    claim = f"{FEWER:g} × fewer parameters"
    if not {PAPER, UNET} <= rates.keys():
        return Claim(claim, NOT_MEASURED, UNDECIDED, FEWER_RULE)
    ratio = rates[UNET].parameters / rates[PAPER].parameters
    return Claim(claim, f"{ratio:.2f} ×", CONFIRMED if ratio >= FEWER else NOT_CONFIRMED, FEWER_RULE)


def more(rates: Mapping[str, Rate]) -> Claim:
    """Judge the claim that Vorontsov's network has more parameters than the paper's."""
    claim = f"{TANDEM}: more parameters"
    if not {PAPER, TANDEM} <= rates.keys():
        return Claim(claim, NOT_MEASURED, UNDECIDED, MORE_RULE)
    theirs, ours = rates[TANDEM].parameters, rates[PAPER].parameters
    return Claim(claim, f"{theirs:,} to {ours:,}", CONFIRMED if theirs > ours else NOT_CONFIRMED, MORE_RULE)


def faster(rates: Mapping[str, Rate], tolerance: float) -> Claim:
    """Judge the claim of half the training time.

    Args:
        rates: training rates by network.
        tolerance: relative error of their ratio.
    """
    claim = f"{FASTER:g} × faster to train"
    if not {PAPER, UNET} <= rates.keys():
        return Claim(claim, NOT_MEASURED, UNDECIDED, FASTER_RULE)
    ratio = rates[PAPER].slices_per_second / rates[UNET].slices_per_second
    return Claim(claim, f"{ratio:.2f} ×", verdict(*_around(ratio, tolerance), FASTER), FASTER_RULE)


def faster_inference(times: Times, tolerance: float) -> Claim:
    """Judge the claim of faster inference by all engines together.

    Args:
        times: milliseconds of a slice by engine and network.
        tolerance: relative error of a ratio of two of them.
    """
    ratios = {engine: of[UNET] / of[PAPER] for engine, of in times.items() if {PAPER, UNET} <= of.keys()}
    measured = ", ".join(f"{ratio:.2f} × in {engine}" for engine, ratio in ratios.items())
    decided = agreed([verdict(*_around(ratio, tolerance), 1.0) for ratio in ratios.values()])
    return Claim("faster inference", measured or NOT_MEASURED, decided, INFERENCE_RULE)


def no_worse(title: str, gains: Sequence[Gain | None], margin: float) -> Claim:
    """Judge the claim that the Dice per case is no worse.

    Args:
        title: the budget in words.
        gains: difference between the paper's network and the UNet for each seed, from 0; None if one was not run.
        margin: largest loss that still counts as no worse.
    """
    decided = agreed([_loss(one, margin) for one in gains])
    measured = "; ".join(f"seed {seed}: {gain_text(one)}" for seed, one in enumerate(gains))
    return Claim(f"Dice no worse, {title}", measured, decided, DICE_RULE)


def higher(title: str, one: Gain | None, common: Gain | None) -> Claim:
    """Judge the claim that the Dice per case of Vorontsov's network is higher.

    Args:
        title: the budget in words.
        one: difference between this network and the paper's; None if a network was not run.
        common: the same by the recipe of all others, which is shown and decides nothing.
    """
    decided = UNDECIDED
    if one is not None and one.whole and one.interval is not None and one.base + max(one.mean, 0) > MARGIN:
        low, high = one.interval
        decided = CONFIRMED if low > 0 else NOT_CONFIRMED if high <= 0 else UNDECIDED
    measured = f"{gain_text(one)}; by the common recipe: {gain_text(common)}"
    return Claim(f"{TANDEM}: higher Dice, {title}", measured, decided, HIGHER_RULE)


def agreed(verdicts: Sequence[str]) -> str:
    """Return the verdict that all have in common; undecided if verdicts differ, or if there is none."""
    return verdicts[0] if len(set(verdicts)) == 1 else UNDECIDED


def _gain(group: Group, row: Row, base: Row, groups: Groups, protocol: Protocol) -> Gain | None:
    runs = groups.get((group.regime, group.data), {})
    first, second = runs.get(row.system), runs.get(base.system)
    kept = protocol.kept(group.key(row), first) and protocol.kept(group.key(base), second)
    return gain(first, second, PERSONS, kept)


def _loss(one: Gain | None, margin: float) -> str:
    if one is None or not one.whole or one.interval is None or one.base <= margin:
        return UNDECIDED
    return verdict(*one.interval, -margin)


def _around(ratio: float, tolerance: float) -> Interval:
    return ratio / (1 + tolerance), ratio * (1 + tolerance)
