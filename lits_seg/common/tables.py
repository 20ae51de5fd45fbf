"""Rows of values as text: Markdown for people, CSV and JSON for programs."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any


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


def csv_text(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """CSV with a header; ``columns``: of its first row where there may be none."""
    text = io.StringIO()
    table = csv.DictWriter(text, rows[0] if rows else columns or ())
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def json_text(value: Any) -> str:
    """JSON with full precision. What is not defined (NaN) is null, since JSON has no other word for it."""
    return json.dumps(_without_nan(value), indent=2, allow_nan=False)


def number(value: float | None, digits: int = 3) -> str:
    """A figure for a table; a dash where it is not defined."""
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def with_interval(value: float, interval: Sequence[float] | None, digits: int = 3) -> str:
    """A figure and its interval."""
    if interval is None:
        return number(value, digits)
    return f"{number(value, digits)} [{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]"


def signed(value: float, interval: Sequence[float] | None, digits: int = 3) -> str:
    """A difference with its sign, and its interval."""
    around = f" [{interval[0]:+.{digits}f}, {interval[1]:+.{digits}f}]" if interval else ""
    return number(value) if math.isnan(value) else f"{value:+.{digits}f}{around}"


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value
