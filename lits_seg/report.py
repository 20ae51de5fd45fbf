"""``lits-seg report runs=DIR``: compare finished runs, as a page, Markdown and CSV."""

if __name__ == "__main__":
    from lits_seg.cli import start

    start("report")

from dataclasses import dataclass
from pathlib import Path

from lits_seg.cli import entry
from lits_seg.common.files import write_text
from lits_seg.common.settings import Place, Share
from lits_seg.common.tables import csv_text
from lits_seg.comparison import rows
from lits_seg.comparison.folders import find_runs
from lits_seg.comparison.notes import run_notes
from lits_seg.comparison.page import page
from lits_seg.comparison.pool import pool
from lits_seg.comparison.text import report_text

PAGE, TEXT, VARIANTS, PAIRS, CASES = "report.html", "report.md", "report.csv", "pairs.csv", "cases.csv"


@dataclass(frozen=True)
class Settings:
    """The settings of ``conf/commands/report.yaml``."""

    runs: Place
    output: Place
    baseline: list[str]
    margin: Share


@entry("commands/report", Settings)
def main(cfg: Settings) -> None:
    """Print the Markdown and write all files into ``output``."""
    found = find_runs(cfg.runs)
    groups, notes = pool(found.finished, ", ".join(cfg.baseline)), run_notes(found)
    text = report_text(groups, found, notes, cfg.margin)
    files = {
        PAGE: page(groups, found, notes, cfg.margin),
        TEXT: f"{text}\n",
        VARIANTS: csv_text(list(rows.variant_rows(groups))),
        PAIRS: csv_text(list(rows.pair_rows(groups)), rows.PAIR_COLUMNS),
        CASES: csv_text(list(rows.case_rows(groups))),
    }
    output = Path(cfg.output)
    output.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_text(output / name, content)
    print(text, f"\nwritten to: {output / PAGE}", sep="\n")
