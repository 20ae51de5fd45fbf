"""Rows of values as text: Markdown for people, CSV and JSON for programs."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

DASH = "–"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], right: bool = False) -> str:
    """Return a Markdown table whose columns also line up as plain text.

    Args:
        header: titles of the columns.
        rows: cells, as many a row as the header has.
        right: align all columns but the first to the right.
    """
    widths = [max(3, *(len(cells[i]) for cells in (header, *rows))) for i in range(len(header))]
    aligns = [str.ljust, *(str.rjust if right else str.ljust,) * (len(header) - 1)]
    lines = [
        [align(cell, width) for align, cell, width in zip(aligns, cells, widths, strict=True)]
        for cells in (header, *rows)
    ]
    rule = ["---", *("--:" if right else "---",) * (len(header) - 1)]
    rule = [mark.rjust(width, "-") for mark, width in zip(rule, widths, strict=True)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (lines[0], rule, *lines[1:]))


def csv_text(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> str:
    """Return CSV with a header.

    Args:
        rows: values by column; the first row names the columns.
        columns: names of the columns of a table without rows.
    """
    text = io.StringIO()
    table = csv.DictWriter(text, rows[0] if rows else columns)
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def json_text(value: Any) -> str:
    """Return JSON with full precision. NaN (not defined) becomes null, since JSON has no other word for it."""
    return json.dumps(_without_nan(value), indent=2, allow_nan=False)


def number(value: float | None, digits: int = 3) -> str:
    """Return a figure for a table; a dash if it is not defined."""
    return DASH if value is None or math.isnan(value) else f"{value:.{digits}f}"


def with_interval(value: float, interval: Sequence[float] | None, digits: int = 3) -> str:
    """Return a figure and, if there is one, its interval."""
    if interval is None:
        return number(value, digits)
    return f"{number(value, digits)} [{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]"


def signed(value: float, interval: Sequence[float] | None, digits: int = 3) -> str:
    """Return a difference with its sign and, if there is one, its interval."""
    if math.isnan(value):
        return DASH
    around = f" [{interval[0]:+.{digits}f}, {interval[1]:+.{digits}f}]" if interval else ""
    return f"{value:+.{digits}f}{around}"


def plural(count: int, noun: str) -> str:
    """Return a count and its noun: ``1 patient``, ``2 patients``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value
