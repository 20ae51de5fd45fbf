"""Show what small lesions cost: detection by size, and FROC curves."""

from collections.abc import Iterator
from typing import Any

from lits_seg.comparison.pool import Group
from lits_seg.comparison.rows import Table
from lits_seg.metrics.scores import IOU_OVER_HALF
from lits_seg.runs.detection_table import (
    DEFINITION,
    FROC_COLUMNS,
    FROC_HEADER,
    HEADER,
    detection_rows,
    froc_row,
)

CURVE_COLUMNS = ("group", "variant", "model", "decoder", *FROC_COLUMNS)


def size_table(group: Group) -> Table:
    """Return four rows for each variant: all lesions and each size class. A lesion is found if IoU > 0.5."""
    froc = any(variant.froc for variant in group.variants)
    rows = [
        (str(i), variant.name, *row)
        for i, variant in enumerate(group.variants, 1)
        for row in detection_rows(list(variant.cases.values()), variant.scores, IOU_OVER_HALF, froc)
    ]
    return ("no.", "network", *HEADER, *(FROC_HEADER if froc else ())), rows


def size_notes(group: Group) -> list[str]:
    """Return the definition of the table's columns, and the variants that have no FROC."""
    missing = [variant.name for variant in group.variants if not variant.froc]
    reason = "at least one run is of an earlier version, which recorded neither sizes nor probabilities"
    return [DEFINITION, *([f"No FROC for {'; '.join(missing)}: {reason}."] if missing else [])]


def curve_rows(group: Group) -> Iterator[dict[str, Any]]:
    """Yield the rows of ``froc.csv``: a point of a variant's FROC curve each."""
    for variant in group.variants:
        about = {"variant": variant.name, "model": variant.model, "decoder": variant.decoder}
        for point in variant.froc:
            yield {"group": group.title, **about, **froc_row(point)}
