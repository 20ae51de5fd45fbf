"""``python -m lits_seg.report runs=DIR``: finished runs beside each other, as a page, a table and CSV."""

from lits_seg.report.command import main

__all__ = ["main"]
