"""Show how reliable the probabilities of calibrated runs are: a table and a figure."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from statistics import median
from typing import Any

from matplotlib.figure import Figure

from lits_seg.common.tables import number, plural
from lits_seg.comparison.pool import Group, Variant
from lits_seg.comparison.rows import Table
from lits_seg.comparison.style import Style, brief, look, svg
from lits_seg.postprocess.fitting import BINS, Bin, Calibration, calibration_error

NOTE = (
    "Of the runs whose checkpoint lits-seg calibrate has fitted, on the patients of that calibration and within the "
    "reference's liver. Error: mean distance of probability and share of lesion (expected calibration error). "
    "The scores above are those of the checkpoint before the calibration."
)
HEADER = ("no.", "network", "calibrated runs", "patients", "temperature", "error before", "error after")


@dataclass(frozen=True)
class Curve:
    """The calibrations of a variant's runs, and their voxels in ranges of probability, before and after."""

    calibrations: list[Calibration]
    before: list[Bin]
    after: list[Bin]


def reliability_curve(variant: Variant) -> Curve | None:
    """Pool the calibrations of a variant's runs by voxels; return None if no run is calibrated."""
    found = [run.calibration for run in variant.runs if run.calibration is not None]
    if not found:
        return None
    before, after = (pooled(part for one in found for part in getattr(one, name)) for name in ("before", "after"))
    return Curve(found, before, after)


def pooled(bins: Iterable[Bin]) -> list[Bin]:
    """Merge the ranges of several calibrations, so that each range of probability occurs once."""

    def place(part: Bin) -> int:
        return min(int(part.probability * BINS), BINS - 1)

    merged = []
    for _, group in groupby(sorted(bins, key=place), place):
        parts = list(group)
        voxels = sum(part.voxels for part in parts)
        probability = sum(part.probability * part.voxels for part in parts) / voxels
        merged.append(Bin(probability, sum(part.lesion * part.voxels for part in parts) / voxels, voxels))
    return merged


def reliability_table(group: Group) -> Table | None:
    """Return a row for each variant with calibrated runs; None if there is no such variant."""
    rows = []
    for i, variant in enumerate(group.variants, 1):
        if curve := reliability_curve(variant):
            temperatures = [one.temperature for one in curve.calibrations]
            count = f"{len(temperatures)} of {plural(len(variant.runs), 'run')}"
            patients = {patient for one in curve.calibrations for patient in one.patients}
            errors = (number(calibration_error(bins)) for bins in (curve.before, curve.after))
            rows.append((str(i), variant.name, count, str(len(patients)), number(median(temperatures), 2), *errors))
    return (HEADER, rows) if rows else None


def reliability_figure(group: Group) -> str:
    """Draw the share of lesion against the probability as SVG: a curve for each calibrated variant."""
    style = Style.of(group.variants)
    with look():
        figure = Figure(figsize=(5.6, 4.6), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color="0.6", lw=1)
        for variant in group.variants:
            if curve := reliability_curve(variant):
                drawn: dict[str, Any] = {
                    "color": style.colours[variant.upsampling],
                    "marker": style.markers[variant.model],
                    "ms": 4,
                }
                for bins, line, label in ((curve.before, ":", None), (curve.after, "-", brief(variant.name))):
                    points = [(part.probability, part.lesion) for part in bins]
                    axes.plot(*zip(*points, strict=True), ls=line, lw=1.3, label=label, **drawn)
        axes.set(xlabel="lesion's probability", ylabel="share of lesion", xlim=(0, 1), ylim=(0, 1))
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return svg(figure, "Reliability: share of lesion against the lesion's probability")
