"""Tabulate the detection of lesions by size, and the FROC, for ``evaluate`` and ``report``."""

from collections.abc import Mapping, Sequence

from lits_seg.common.tables import DASH, with_interval
from lits_seg.metrics.froc_curve import ALL, CLASSES, RATES, froc_names
from lits_seg.metrics.scores import IOU_OVER_HALF, IOU_OVER_ZERO, SIZES, CaseScores
from lits_seg.metrics.statistics import Estimate, FrocPoint

HEADER = ("diameter", "lesions", "recall [95 %]", "false a patient [95 %]")
FROC_HEADER = tuple(f"FROC at {rate} [95 %]" for rate in RATES)
FROC_COLUMNS = ("overlap", "size", "threshold", "false_per_patient", "recall", "low", "high")
SHOWN = {ALL: ALL, "<10mm": "< 10 mm", "10-20mm": "10–20 mm", ">20mm": "> 20 mm"}
FOUND_IF = {IOU_OVER_HALF: "IoU > 0.5", IOU_OVER_ZERO: "IoU > 0"}
DEFINITION = (
    "Diameter: of the ball with the lesion's volume. Recall: by the reference lesion's diameter. False: by the "
    "predicted lesion's diameter. FROC at k: the highest recall with at most k false lesions of any size a patient, "
    "over thresholds of the lesion's probability from 0.01 to 0.99, without rules."
)


def in_detection_table(name: str) -> bool:
    """Return whether a score is in this table, and not in the table of the other scores."""
    return name.startswith("froc/") or name.endswith("/false_per_patient") or any(f"/{size}/" in name for size in SIZES)


def detection_rows(
    cases: Sequence[CaseScores], summary: Mapping[str, Estimate], overlap: str, froc: bool
) -> list[tuple[str, ...]]:
    """Return a row for all lesions and for each size class.

    Args:
        cases: the patients.
        summary: estimates by name, see ``statistics.summarise_cases``.
        overlap: name of the IoU's threshold.
        froc: whether the columns of ``FROC_HEADER`` follow those of ``HEADER``.
    """
    rows = []
    for i, size in enumerate(CLASSES):
        part = f"detection/{overlap}" if size == ALL else f"detection/{overlap}/{size}"
        names = [f"{part}/recall", f"{part}/false_per_patient"]
        if froc:
            names += [froc_names(overlap)[rate][i] for rate in RATES]
        shown = [with_interval(summary[name].value, summary[name].interval) for name in names]
        rows.append((SHOWN[size], _lesions(cases, size), *shown))
    return rows


def froc_row(point: FrocPoint) -> dict[str, float | str | None]:
    """Return a row of ``froc.csv``, with the columns in ``FROC_COLUMNS``."""
    low, high = point.interval or (None, None)
    figures = (point.overlap, point.size, point.threshold, point.false_per_patient, point.recall, low, high)
    return dict(zip(FROC_COLUMNS, figures, strict=True))


def _lesions(cases: Sequence[CaseScores], size: str) -> str:
    known = [case.detection if size == ALL else case.by_size and case.by_size.by_size()[size] for case in cases]
    counts = [detection.references for detection in known if detection]
    return f"{sum(counts):g}" if len(counts) == len(cases) else DASH
