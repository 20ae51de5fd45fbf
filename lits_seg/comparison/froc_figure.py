"""Draw the FROC curves of the variants."""

from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from lits_seg.comparison.pool import Group
from lits_seg.comparison.style import Style, brief, look, short, svg
from lits_seg.metrics.froc_curve import CLASSES, RATES
from lits_seg.metrics.statistics import FrocPoint
from lits_seg.runs.detection_table import FOUND_IF, SHOWN

MARKED = 0.5  # the threshold with a marker and an interval


def froc(group: Group) -> str:
    """Draw the FROC curves as SVG: a row for each threshold of the IoU, a panel for each size class."""
    style = Style.of(group.variants)
    curves = {variant.name: variant.froc for variant in group.variants if variant.froc}
    looks: dict[str, dict[str, Any]] = {
        variant.name: {
            "color": style.colours[variant.upsampling],
            "ls": style.lines[variant.upsampling],
            "marker": style.markers[variant.model],
        }
        for variant in group.variants
        if variant.name in curves
    }
    with look():
        figure = Figure(figsize=(11, 5.4), layout="constrained")
        grid = figure.subplots(len(FOUND_IF), len(CLASSES), sharex=True, sharey=True)
        for line, (overlap, words) in zip(grid, FOUND_IF.items(), strict=True):
            for axes, size in zip(line, CLASSES, strict=True):
                for name, drawn in looks.items():
                    points = [point for point in curves[name] if (point.overlap, point.size) == (overlap, size)]
                    _draw_curve(axes, points, drawn)
                axes.set(title=f"{SHOWN[size]}, {words}", ylim=(0, 1.02))
            line[0].set_ylabel("recall")
        most = max(point.false_per_patient for points in curves.values() for point in points)
        for axes in grid[-1]:
            axes.set_xscale("symlog", base=2, linthresh=RATES[0])
            axes.set(xlim=(0, max(most, RATES[-1]) * 1.1), xlabel="false lesions a patient")
            axes.xaxis.set_major_locator(FixedLocator((0, *RATES, 32, 128, 1_000, 10_000, 100_000)))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        handles = [Line2D([], [], ms=5, label=brief(name), **drawn) for name, drawn in looks.items()]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4), frameon=False)
    return svg(figure, "FROC curves: recall against false lesions a patient, by size")


def _draw_curve(axes: Any, points: list[FrocPoint], drawn: dict[str, Any]) -> None:
    marked = [point.threshold for point in points].index(MARKED)
    false, recall = [point.false_per_patient for point in points], [point.recall for point in points]
    axes.plot(false, recall, lw=1.4, ms=5, markevery=[marked], **drawn)
    if around := points[marked].interval:
        axes.vlines(false[marked], *around, color=drawn["color"], lw=1.1, alpha=0.55)
