"""``lits-seg report runs=DIR``: compare finished runs in an HTML page, Markdown and CSV."""

if __name__ == "__main__":
    from lits_seg.cli import start

    start("report")

from dataclasses import dataclass
from pathlib import Path

from lits_seg.cli import entry
from lits_seg.common.errors import InputError
from lits_seg.common.files import write_text
from lits_seg.common.ownership import require_free, table_file, text_file
from lits_seg.common.settings import Place, Share
from lits_seg.common.tables import csv_text
from lits_seg.comparison import rows
from lits_seg.comparison.conflicts import without_conflicts
from lits_seg.comparison.finished_runs import find_runs, opened
from lits_seg.comparison.lesion_sizes import CURVE_COLUMNS, curve_rows
from lits_seg.comparison.page import page
from lits_seg.comparison.pool import pool
from lits_seg.comparison.text import DEFINITIONS, report_text

PAGE = "report.html"
TEXT = "report.md"
VARIANTS = "report.csv"
PAIRS = "pairs.csv"
CASES = "cases.csv"
FROC = "froc.csv"
NAMED = rows.PAIR_COLUMNS[:4]  # the first columns of all tables
KINDS = {
    PAGE: text_file("page", '<meta name="generator" content="lits-seg report">', "<title>Comparison of runs"),
    TEXT: text_file("report", DEFINITIONS[0].partition(")")[0]),  # the same in version 0.1.0
    **dict.fromkeys((VARIANTS, PAIRS, CASES, FROC), table_file(",".join(NAMED))),
}


@dataclass(frozen=True)
class Settings:
    """The settings of ``conf/commands/report.yaml``."""

    runs: Place
    output: Place | None
    baseline: list[str]
    margin: Share


@entry("commands/report", Settings)
def main(cfg: Settings) -> None:
    """Print the Markdown and write all files into ``output``; damaged runs are left out, and end with status 1."""
    output = _output(cfg)
    require_free({output / name: kind for name, kind in KINDS.items()})
    with opened(cfg.runs) as folder:
        found = without_conflicts(find_runs(folder))
        groups = pool(found.finished, ", ".join(cfg.baseline))
        text = report_text(groups, found, cfg.margin)
        files = {
            PAGE: page(groups, found, cfg.margin),
            TEXT: f"{text}\n",
            VARIANTS: csv_text(list(rows.variant_rows(groups)), NAMED),
            PAIRS: csv_text(list(rows.pair_rows(groups)), rows.PAIR_COLUMNS),
            CASES: csv_text(list(rows.case_rows(groups)), NAMED),
            FROC: csv_text([row for group in groups for row in curve_rows(group)], CURVE_COLUMNS),
        }
    output.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_text(output / name, content)
    print(text, f"\nwritten to: {output / PAGE}", sep="\n")
    if found.unreadable:
        reasons = "".join(f"\n  {name}: {reason}" for name, reason in found.unreadable.items())
        raise InputError(cfg.runs, "runs that can all be read", f"{len(found.unreadable)} left out:{reasons}")


def _output(cfg: Settings) -> Path:
    if cfg.output is not None:
        return Path(cfg.output)
    runs = Path(cfg.runs)
    return runs.parent if runs.is_file() else runs
