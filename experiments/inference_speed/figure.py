"""Draw the measured time of a slice against the counted cost of a network."""

from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from experiments.inference_speed.measure import Cost, Measured, Timing, thread_counts
from experiments.inference_speed.text import find, thread_text
from experiments.shared.engines import ENGINES, Engine
from experiments.shared.networks import OURS
from lits_seg.comparison.point_labels import place_labels
from lits_seg.comparison.style import COLOURS, MARKERS, look, short

COUNTED: dict[str, Callable[[Cost], int]] = {
    "parameters": lambda cost: cost.parameters,
    "multiply-accumulates of a slice": lambda cost: cost.macs,
}
OWN = ("dsc_unet", "strided")  # starts of the names of the networks that are shipped channels-last
CONTIGUOUS, CHANNELS_LAST, *OTHERS = ENGINES


def inference_figure(measured: Measured) -> Figure:
    """Draw milliseconds per slice on all cores against ``COUNTED``, in a row of panels for each engine that ran."""
    threads = thread_counts()[-1]
    rows = {"PyTorch, as shipped": _as_shipped(measured, threads)}
    rows |= {engine.name: _of(measured, engine, threads) for engine in OTHERS}
    rows = {name: timings for name, timings in rows.items() if timings}
    families = sorted({cost.network.split("/")[0] for cost in measured.costs})
    with look():
        figure = Figure(figsize=(11, 3.6 * len(rows) + 0.3), layout="constrained")
        grid = figure.subplots(len(rows), len(COUNTED), squeeze=False, sharex="col", sharey="row")
        panels = []
        for (name, timings), line in zip(rows.items(), grid, strict=True):
            for (title, count), axes in zip(COUNTED.items(), line, strict=True):
                costs = {cost.network: count(cost) for cost in measured.costs}
                points = [(costs[one.network], 1000 * one.seconds) for one in timings]
                _draw(axes, points, [families.index(one.network.split("/")[0]) for one in timings])
                panels.append((axes, points, [one.network for one in timings]))
                if axes in grid[-1]:
                    axes.set_xlabel(title)
            line[0].set(title=f"{name}, {thread_text(threads)}", ylabel="ms a slice")
        figure.draw_without_rendering()  # fixes the positions of the points, which the labels need
        for axes, points, names in panels:
            named = [i for i, name in enumerate(names) if _stands_out(names, points, name)]
            labels = ["dsc_unet" if names[i] == OURS else names[i] for i in named]
            place_labels(axes, [(x, y, y, y) for x, y in (points[i] for i in named)], labels)
    return figure


def _stands_out(names: list[str], points: list[tuple[int, float]], name: str) -> bool:
    """Return whether to name a point: a rival, or a decoder that costs or takes at least 2 x more or less than ours."""
    if not name.startswith("dsc_unet") or name == OURS or OURS not in names:
        return True
    ours, point = points[names.index(OURS)], points[names.index(name)]
    return any(not 0.5 < one / other < 2 for one, other in zip(point, ours, strict=True))


def _as_shipped(measured: Measured, threads: int) -> list[Timing]:
    """Return the timings in the memory order that users get: channels-last for our networks, contiguous for others."""
    ours = [one for one in _of(measured, CHANNELS_LAST, threads) if one.network.startswith(OWN)]
    return ours + [one for one in _of(measured, CONTIGUOUS, threads) if not one.network.startswith(OWN)]


def _of(measured: Measured, engine: Engine, threads: int) -> list[Timing]:
    found = [find(measured, cost.network, engine, threads) for cost in measured.costs]
    return [timing for timing in found if timing]


def _draw(axes: Axes, points: list[tuple[int, float]], families: list[int]) -> None:
    for (x, y), family in zip(points, families, strict=True):
        axes.plot(x, y, MARKERS[family % len(MARKERS)], color=COLOURS[family % len(COLOURS)], ms=7)
    axes.set(xscale="log", yscale="log")
    axes.margins(0.14)
    for axis in (axes.xaxis, axes.yaxis):
        _readable(axis)


def _readable(axis: Axis) -> None:
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    axis.set_minor_formatter(NullFormatter())


def _short(value: float) -> str:
    return f"{value / 1e9:g} G" if value >= 1e9 else short(value)
