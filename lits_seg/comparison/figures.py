"""Draw the report's figures: Dice against cost, and learning curves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from lits_seg.comparison.point_labels import place_labels
from lits_seg.comparison.pool import DICE, Group, Variant
from lits_seg.comparison.style import TEXT, Style, brief, look, short, svg

COSTS = {
    "parameters": "parameters",
    "CPU latency, ms a slice": "latency.cpu_ms",
    "GPU latency, ms a slice": "latency.gpu_ms",
}
NAMED = 6  # up to this number of variants, labels are names; otherwise they are numbers of the table


@dataclass(frozen=True)
class Point:
    """A variant in a panel: cost, Dice per case with interval, and label."""

    variant: Variant
    cost: float
    dice: float
    low: float
    high: float
    label: str


def pareto(group: Group) -> str:
    """Draw Dice per case against each of ``COSTS`` that runs have, as SVG. Filled markers are on the Pareto front."""
    panels = {title: points for title, name in COSTS.items() if (points := _points(group, name))}
    style, whole = Style.of(group.variants), whole_variants(group.variants)
    with look():
        # Three panels fill the page; fewer panels keep their size.
        figure = Figure(figsize=(min(4.6 * len(panels), 11) + 0.4, 4.4), layout="constrained")
        grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for axes, (title, points) in zip(grid, panels.items(), strict=True):
            front = on_front([point for point in points if point.variant.name in whole])
            _draw_points(axes, points, front, style)
            axes.set_xlabel(title)
        grid[0].set_ylabel("lesion Dice per case, 95 % interval")
        _legend(figure, style, columns=3 * len(panels))
        figure.draw_without_rendering()  # fixes the positions of the points
        for axes, points in zip(grid, panels.values(), strict=True):
            place_labels(axes, [(p.cost, p.dice, p.low, p.high) for p in points], [p.label for p in points])
    return svg(figure, "Dice against parameters and latency")


def whole_variants(variants: Sequence[Variant]) -> set[str]:
    """Return the names of the variants that were tested on all patients, so that their means are comparable."""
    everyone = {patient for variant in variants for patient in variant.cases}
    return {variant.name for variant in variants if variant.cases.keys() == everyone}


def on_front(points: Sequence[Point]) -> list[Point]:
    """Return the Pareto front: the points that no other point dominates in cost and Dice, sorted by cost."""
    front = [
        one
        for one in points
        if not any(
            other.cost <= one.cost and other.dice >= one.dice and (other.cost, other.dice) != (one.cost, one.dice)
            for other in points
        )
    ]
    return sorted(front, key=lambda point: point.cost)


def _points(group: Group, name: str) -> list[Point]:
    points = []
    for i, variant in enumerate(group.variants, 1):
        cost, score = variant.median(name), variant.scores[DICE]
        if cost is not None:
            low, high = score.interval or (score.value, score.value)
            label = brief(variant.name) if len(group.variants) <= NAMED else str(i)
            points.append(Point(variant, cost, score.value, low, high, label))
    return points


def _draw_points(axes: Any, points: Sequence[Point], front: Sequence[Point], style: Style) -> None:
    for point in points:
        colour, marker = style.colours[point.variant.upsampling], style.markers[point.variant.model]
        axes.vlines(point.cost, point.low, point.high, color=colour, lw=1.1, alpha=0.55)
        face = colour if point in front else "none"
        axes.plot(point.cost, point.dice, marker, ms=7.5, mfc=face, mec=colour, mew=1.4)
    axes.step(
        [point.cost for point in front],
        [point.dice for point in front],
        where="post",
        color=TEXT,
        lw=0.8,
        ls=":",
        zorder=0,
    )
    costs = [point.cost for point in points]
    axes.set(xscale="log", xlim=(min(costs) / 1.9, max(costs) * 1.9))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(y=0.12)


def _legend(figure: Figure, style: Style, columns: int) -> None:
    handles = [
        Line2D([], [], color=TEXT, ls="", marker=m, ms=6, label=brief(model)) for model, m in style.markers.items()
    ]
    handles += [Line2D([], [], color=c, lw=3, label=brief(decoder)) for decoder, c in style.colours.items()]
    handles.append(Line2D([], [], color=TEXT, lw=0.8, ls=":", label="front"))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), columns), frameon=False)


def learning(group: Group) -> str:
    """Draw validation Dice and loss over steps as SVG: mean and range of each variant's runs, a row for each model."""
    style = Style.of(group.variants)
    models = list(style.markers)
    with look():
        figure = Figure(figsize=(9.6, 2.6 * len(models) + 0.5), layout="constrained")
        grid = figure.subplots(len(models), 2, squeeze=False, sharex=True, sharey="col")
        for (left, right), model in zip(grid, models, strict=True):
            for variant in (variant for variant in group.variants if variant.model == model):
                histories = [run.curves for run in variant.runs]
                for axes, name in ((left, "val/dice"), (right, "val/loss")):
                    _draw_curves(axes, [one[name] for one in histories if one.get(name)], style, variant.upsampling)
            left.set(title=f"{brief(model)}: validation Dice per case", ylim=(0, 1))
            right.set(title=f"{brief(model)}: validation loss")
        for axes in grid[-1]:
            axes.set_xlabel("step")
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        handles = [
            Line2D([], [], color=colour, ls=style.lines[decoder], lw=2, label=brief(decoder))
            for decoder, colour in style.colours.items()
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 5), frameon=False)
    return svg(figure, "Learning curves")


def mean_and_range(curves: Sequence[dict[int, float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Summarise curves at the steps that all of them cover, by linear interpolation.

    Args:
        curves: the value at each step, by run.

    Returns:
        Steps, mean, minimum and maximum, ``(N,)`` each.
    """
    first, last = max(min(curve) for curve in curves), min(max(curve) for curve in curves)
    steps = np.array(sorted({step for curve in curves for step in curve if first <= step <= last}))
    values = np.array([np.interp(steps, sorted(curve), [curve[step] for step in sorted(curve)]) for curve in curves])
    return steps, values.mean(axis=0), values.min(axis=0), values.max(axis=0)


def _draw_curves(axes: Any, curves: list[dict[int, float]], style: Style, decoder: str) -> None:
    if not curves:
        return
    steps, mean, low, high = mean_and_range(curves)
    colour, marker = style.colours[decoder], "." if len(steps) < 15 else None
    axes.plot(steps, mean, color=colour, ls=style.lines[decoder], lw=1.6, marker=marker, ms=5)
    if len(curves) > 1:
        axes.fill_between(steps, low, high, color=colour, alpha=0.13, lw=0)
