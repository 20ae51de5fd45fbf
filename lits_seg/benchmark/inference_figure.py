"""The measured time of a slice against what a network is counted to cost."""

from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from lits_seg.benchmark.engines import ENGINES, Engine
from lits_seg.benchmark.inference import Cost, Measured, Timing, thread_counts
from lits_seg.benchmark.inference_text import find, thread_text
from lits_seg.report.labels import place_labels
from lits_seg.report.style import COLOURS, MARKERS, look, short

COUNTED: dict[str, Callable[[Cost], int]] = {
    "parameters": lambda cost: cost.parameters,
    "multiply-accumulates of a slice": lambda cost: cost.macs,
}
CONTIGUOUS, CHANNELS_LAST, *OTHERS = ENGINES


def inference_figure(measured: Measured) -> Figure:
    """A row of panels for PyTorch and each other engine that ran, all cores: milliseconds against ``COUNTED``."""
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
        figure.draw_without_rendering()  # so that labels know where the points are
        for axes, points, names in panels:
            place_labels(axes, [(x, y, y, y) for x, y in points], names)
    return figure


def _as_shipped(measured: Measured, threads: int) -> list[Timing]:
    """In the memory order that a user meets: ours train and run channels-last, others in PyTorch's own."""
    ours = [one for one in _of(measured, CHANNELS_LAST, threads) if one.network.startswith("dsc_unet")]
    return ours + [one for one in _of(measured, CONTIGUOUS, threads) if not one.network.startswith("dsc_unet")]


def _of(measured: Measured, engine: Engine, threads: int) -> list[Timing]:
    found = [find(measured, cost.network, engine, threads) for cost in measured.costs]
    return [timing for timing in found if timing]


def _draw(axes: Axes, points: list[tuple[int, float]], families: list[int]) -> None:
    for (x, y), family in zip(points, families, strict=True):
        axes.plot(x, y, MARKERS[family % len(MARKERS)], color=COLOURS[family % len(COLOURS)], ms=7)
    axes.set(xscale="log", yscale="log")
    axes.margins(0.14)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
        axis.set_minor_formatter(NullFormatter())


def _short(value: float) -> str:
    return f"{value / 1e9:g} G" if value >= 1e9 else short(value)
