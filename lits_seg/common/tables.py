"""Format values as text: Markdown for people, CSV and JSON for programs."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

DASH = "–"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], right: bool = False) -> str:
    """Return a Markdown table whose columns are also aligned as plain text.

    Args:
        header: titles of the columns.
        rows: rows with one cell per column.
        right: align all columns except the first to the right.
    """
    header, *rows = ([cell.replace("|", "\\|") for cell in cells] for cells in (header, *rows))
    widths = [max(3, *(len(cells[i]) for cells in (header, *rows))) for i in range(len(header))]
    to_right = [right and i > 0 for i in range(len(header))]
    lines = [
        [cells[i].rjust(width) if to_right[i] else cells[i].ljust(width) for i, width in enumerate(widths)]
        for cells in (header, *rows)
    ]
    rule = [("--:" if to_right[i] else "---").rjust(width, "-") for i, width in enumerate(widths)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (lines[0], rule, *lines[1:]))


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as plain text whose columns are aligned to the right; the first row is the header."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def csv_text(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> str:
    """Return CSV text with a header.

    Args:
        rows: values by column; the keys of the first row are the columns.
        columns: header of a table without rows.
    """
    text = io.StringIO()
    table = csv.DictWriter(text, rows[0] if rows else columns)
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def json_text(value: Any) -> str:
    """Return JSON text with full precision; NaN (not defined) becomes null, since JSON has no NaN."""
    return json.dumps(_without_nan(value), indent=2, allow_nan=False)


def number(value: float | None, digits: int = 3) -> str:
    """Return a number for a table, or a dash if the number is None or NaN.

    Args:
        value: the number.
        digits: digits after the point.
    """
    return DASH if value is None or math.isnan(value) else f"{value:.{digits}f}"


def with_interval(value: float, interval: Sequence[float] | None, digits: int = 3) -> str:
    """Return a number and its interval, such as ``0.612 [0.540, 0.680]``.

    Args:
        value: the number.
        interval: lower and upper bound; None: only the number is shown.
        digits: digits after the point.
    """
    if interval is None:
        return number(value, digits)
    return f"{number(value, digits)} [{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]"


def signed(value: float, interval: Sequence[float] | None, digits: int = 3) -> str:
    """Return a difference and its interval with signs, such as ``+0.012 [-0.004, +0.030]``.

    Args:
        value: the difference; NaN is shown as a dash.
        interval: lower and upper bound; None: only the difference is shown.
        digits: digits after the point.
    """
    if math.isnan(value):
        return DASH
    around = f" [{interval[0]:+.{digits}f}, {interval[1]:+.{digits}f}]" if interval else ""
    return f"{value:+.{digits}f}{around}"


def plural(count: int, noun: str) -> str:
    """Return a count with its noun, such as ``1 patient`` or ``2 patients``.

    Args:
        count: the count.
        noun: the noun in the singular; its plural ends in s.
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value
