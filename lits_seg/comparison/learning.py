"""Learning curves of the variants: the paper's Fig. 2, for many runs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from lits_seg.comparison.folders import Run
from lits_seg.comparison.pool import Group
from lits_seg.comparison.style import Style, look, short, svg
from lits_seg.training.pictures import history


def learning(group: Group) -> str:
    """Draw validation Dice and loss over steps, a row a model, as SVG: mean and range of a variant's runs."""
    style = Style.of(group.variants)
    models = list(style.markers)
    with look():
        figure = Figure(figsize=(9.6, 2.6 * len(models) + 0.5), layout="constrained")
        grid = figure.subplots(len(models), 2, squeeze=False, sharex=True, sharey="col")
        for (left, right), model in zip(grid, models, strict=True):
            for variant in (variant for variant in group.variants if variant.model == model):
                histories = [_history(run) for run in variant.runs]
                for axes, name in ((left, "val/dice"), (right, "val/loss")):
                    _draw(axes, [one[name] for one in histories if one.get(name)], style, variant.upsampling)
            left.set(title=f"{model}: validation Dice per case", ylim=(0, 1))
            right.set(title=f"{model}: validation loss")
        for axes in grid[-1]:
            axes.set_xlabel("step")
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        handles = [
            Line2D([], [], color=colour, ls=style.lines[decoder], lw=2, label=decoder)
            for decoder, colour in style.colours.items()
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 5), frameon=False)
    return svg(figure, "Learning curves")


def mean_and_range(curves: Sequence[dict[int, float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the steps that all runs cover, and the mean, least and largest value there (linear between points)."""
    first, last = max(min(curve) for curve in curves), min(max(curve) for curve in curves)
    steps = np.array(sorted({step for curve in curves for step in curve if first <= step <= last}))
    values = np.array([np.interp(steps, sorted(curve), [curve[step] for step in sorted(curve)]) for curve in curves])
    return steps, values.mean(axis=0), values.min(axis=0), values.max(axis=0)


def _draw(axes: Any, curves: list[dict[int, float]], style: Style, decoder: str) -> None:
    if not curves:
        return
    steps, mean, low, high = mean_and_range(curves)
    colour, marker = style.colours[decoder], "." if len(steps) < 15 else None
    axes.plot(steps, mean, color=colour, ls=style.lines[decoder], lw=1.6, marker=marker, ms=5)
    if len(curves) > 1:
        axes.fill_between(steps, low, high, color=colour, alpha=0.13, lw=0)


def _history(run: Run) -> dict[str, dict[int, float]]:
    files = run.folder.glob("metrics/version_*/metrics.csv")
    return history(sorted(files, key=lambda path: path.stat().st_mtime))
