"""Draw Dice against cost, and the training loss."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import isfinite
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from experiments.answer.rows import NETWORKS, OF_DECODERS, Group, Row
from experiments.answer.tables import Scored
from experiments.shared.trainings import Rate
from lits_seg.comparison.figures import mean_and_range
from lits_seg.comparison.finished_runs import Run
from lits_seg.comparison.point_labels import place_labels
from lits_seg.comparison.pool import DICE
from lits_seg.comparison.style import COLOURS, LINES, TEXT, look, short

LOSS = "train/loss_epoch"  # mean over 100 steps
EVERY = tuple(dict.fromkeys((*NETWORKS, *OF_DECODERS)))
Costs = Mapping[str, Mapping[str, float]]  # by title of the axis, by network


def pareto_figure(groups: Mapping[str, Sequence[Scored]], costs: Costs) -> Figure | None:
    """Draw Dice per case with intervals against each cost, a row of panels for each group; None if nothing is known.

    Networks that lack some of a group's patients are left out, because their means are not comparable.

    Args:
        groups: the networks by title of the group.
        costs: costs by title and network.
    """
    whole = {title: _whole(found) for title, found in groups.items() if found}
    panels = [(group, cost) for group in whole for cost in costs]
    if not any(one.row.network in costs[cost] for group, cost in panels for one in whole[group]):
        return None
    with look():
        figure = Figure(figsize=(11, 3.6 * len(whole)), layout="constrained")
        grid = figure.subplots(len(whole), len(costs), squeeze=False, sharex="col", sharey="row")
        labels = []
        for axes, (group, cost) in zip(grid.flat, panels, strict=True):
            labels.append((axes, *_draw_points(axes, [one for one in whole[group] if not one.row.seed], costs[cost])))
            axes.set(title=group, xlabel=cost, ylabel="lesion Dice per case, 95 % interval")
        figure.draw_without_rendering()  # fixes the positions of the points, which the labels need
        for axes, points, names in labels:
            place_labels(axes, points, names)
    return figure


def curves_figure(groups: Mapping[Group, Mapping[Row, Sequence[Run]]], rates: Mapping[str, Rate]) -> Figure | None:
    """Draw the training loss, the mean over folds, a panel for each group; None if no run has a loss.

    The loss is drawn over steps, in equal minutes over minutes. A network with its own loss is left out.

    Args:
        groups: the runs by group and row.
        rates: training rates by network; one without is left out of the panels over minutes.
    """
    losses = {
        group: {row: curves for row, runs in networks.items() if not row.own and (curves := _losses(runs))}
        for group, networks in groups.items()
    }
    losses = {group: networks for group, networks in losses.items() if networks}
    if not losses:
        return None
    with look():
        figure = Figure(figsize=(11, 3.6 * len(losses)), layout="constrained")
        panels = figure.subplots(len(losses), squeeze=False).flat
        for axes, (group, networks) in zip(panels, losses.items(), strict=True):
            minutes = group.regime == "minutes"
            for row, curves in networks.items():
                if not minutes or row.network in rates:
                    steps, mean, *_ = mean_and_range(curves)
                    places = [rates[row.network].minutes(step) for step in steps] if minutes else steps
                    name = row.title.replace("`", "")
                    axes.plot(places, mean, **_style(row.network), lw=1.4, alpha=0.5 if row.seed else 1, label=name)
            axes.set(title=group.title, xlabel="minutes of one core" if minutes else "step", ylabel="training loss")
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


def _whole(found: Sequence[Scored]) -> list[Scored]:
    everyone = {case.case for one in found for case in one.cases}
    return [one for one in found if {case.case for case in one.cases} == everyone]


def _losses(runs: Sequence[Run]) -> list[dict[int, float]]:
    return [_whole_epochs(run.curves[LOSS]) for run in runs if run.curves.get(LOSS)]


def _whole_epochs(curve: Mapping[int, float]) -> dict[int, float]:
    """Leave out epochs without batches, and a last one that the budget has cut: its mean over few steps is noise."""
    known = {step: value for step, value in curve.items() if isfinite(value)}
    steps = sorted(known)
    if len(steps) > 1 and steps[-1] - steps[-2] < steps[0] + 1:  # steps count from 0
        del known[steps[-1]]
    return known


def _draw_points(
    axes: Axes, found: Sequence[Scored], costs: Mapping[str, float]
) -> tuple[list[tuple[float, float, float, float]], list[str]]:
    """Draw the networks whose cost is known, and their Pareto front; return points and names for the labels."""
    pairs = ((costs[one.row.network], one) for one in found if one.row.network in costs)
    known = sorted(pairs, key=lambda pair: pair[0])
    points = []
    for cost, one in known:
        dice = one.summary[DICE]
        low, high = dice.interval or (dice.value, dice.value)
        colour = _style(one.row.network)["color"]
        axes.vlines(cost, low, high, color=colour, lw=1.1, alpha=0.55)
        axes.plot(cost, dice.value, "o", color=colour, ms=6)
        points.append((cost, dice.value, low, high))
    front = list(accumulate((dice for _, dice, *_ in points), max))
    axes.step([cost for cost, *_ in points], front, where="post", color=TEXT, lw=0.8, ls=":", zorder=0)
    axes.set(xscale="log")
    axes.margins(x=0.15, y=0.12)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    return points, [one.row.title.replace("`", "") for _, one in known]


def _style(network: str) -> dict[str, Any]:
    place = EVERY.index(network)
    return {"color": COLOURS[place % len(COLOURS)], "ls": LINES[place // len(COLOURS)]}
