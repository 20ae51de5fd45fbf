"""Show what small lesions cost: detection by size, and the FROC, in one block of the printed tables."""

from collections.abc import Mapping, Sequence

from lits_seg.common.tables import markdown, number, with_interval
from lits_seg.metrics.froc_curve import ALL, CLASSES
from lits_seg.metrics.scores import IOU_OVER_HALF, CaseScores
from lits_seg.metrics.statistics import Difference, Estimate
from lits_seg.runs.detection_table import DEFINITION, FOUND_IF, FROC_HEADER, HEADER, SHOWN, detection_rows

NAMES = 5  # patients without a map that are listed


def detection_block(cases: Sequence[CaseScores], summary: Mapping[str, Estimate]) -> str:
    """Return a table with a row for each size class and threshold of the IoU, its definitions, and what is missing.

    Args:
        cases: the patients.
        summary: estimates by name, see ``statistics.summarise_cases``.
    """
    without = [case.case for case in cases if case.froc is None]
    header = ("found if", *HEADER, *(() if without else FROC_HEADER))
    rows = [
        (words, *row)
        for overlap, words in FOUND_IF.items()
        for row in detection_rows(cases, summary, overlap, froc=not without)
    ]
    lines = [markdown(header, rows), DEFINITION]
    if without:
        shown = ", ".join([*without[:NAMES], *(["…"] if len(without) > NAMES else [])])
        lines.append(
            f"No FROC: {len(without)} of {len(cases)} patients ({shown}) have no probability map in the masks' folder, "
            "probability/NAME.nii.gz (lits-seg predict probability=true)."
        )
    return "\n".join(lines)


def detection_comparison(compared: Mapping[str, Difference]) -> str:
    """Return a table with a row for each size class: recall and false lesions of two programs, IoU > 0.5."""
    rows = []
    for size in CLASSES:
        part = f"detection/{IOU_OVER_HALF}" if size == ALL else f"detection/{IOU_OVER_HALF}/{size}"
        row = [SHOWN[size]]
        for name in ("recall", "false_per_patient"):
            figure = compared[f"{part}/{name}"]
            row += [number(figure.a), number(figure.b), with_interval(figure.difference, figure.interval)]
        rows.append(row)
    columns = [f"{name}: {column}" for name in ("recall", "false a patient") for column in ("a", "b", "a - b [95 %]")]
    return markdown(("diameter", *columns), rows)
