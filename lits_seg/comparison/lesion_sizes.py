"""Show what small lesions cost: detection by size, and FROC curves."""

from collections.abc import Iterator
from typing import Any

from lits_seg.comparison.pool import Group
from lits_seg.comparison.rows import Table
from lits_seg.runs.detection_table import (
    DEFINITION,
    FOUND_IF,
    FROC_COLUMNS,
    FROC_HEADER,
    HEADER,
    detection_rows,
    froc_row,
)

CURVE_COLUMNS = ("group", "variant", "model", "decoder", *FROC_COLUMNS)


def size_table(group: Group) -> Table:
    """Return a row for each variant, each threshold of the IoU, and each size class."""
    froc = any(variant.froc for variant in group.variants)
    rows = [
        (str(i), variant.name, words, *row)
        for i, variant in enumerate(group.variants, 1)
        for overlap, words in FOUND_IF.items()
        for row in detection_rows(list(variant.cases.values()), variant.scores, overlap, froc)
    ]
    return ("no.", "network", "found if", *HEADER, *(FROC_HEADER if froc else ())), rows


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
