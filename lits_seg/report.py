"""``python -m lits_seg.report runs=FOLDER``: compare finished runs, as a page, Markdown and CSV."""

from pathlib import Path

from omegaconf import DictConfig, ListConfig

from lits_seg.cli import entry, require_paths
from lits_seg.common.errors import InputError
from lits_seg.common.files import write_text
from lits_seg.common.tables import csv_text
from lits_seg.comparison import rows
from lits_seg.comparison.folders import find_runs, opened
from lits_seg.comparison.page import page
from lits_seg.comparison.pool import pool
from lits_seg.comparison.text import report_text

PAGE = "report.html"
TEXT = "report.md"
VARIANTS = "report.csv"
PAIRS = "pairs.csv"
CASES = "cases.csv"


@entry("report")
def main(cfg: DictConfig) -> None:
    """Print the Markdown and write all files into ``output``."""
    require_paths(cfg, "runs", "output")
    margin = cfg.margin
    if not isinstance(margin, (int, float)) or isinstance(margin, bool) or not 0 <= margin < 1:
        raise InputError("margin", "a part of the Dice, 0 or more and less than 1", margin)
    baseline = ", ".join(map(str, cfg.baseline)) if isinstance(cfg.baseline, ListConfig) else str(cfg.baseline)
    with opened(cfg.runs) as folder:
        found = find_runs(folder, cfg.runs)
        groups = pool(found.finished, baseline)
        text = report_text(groups, found, margin)
        files = {
            PAGE: page(groups, found, margin),
            TEXT: f"{text}\n",
            VARIANTS: csv_text(list(rows.variant_rows(groups))),
            PAIRS: csv_text(list(rows.pair_rows(groups)), rows.PAIR_COLUMNS),
            CASES: csv_text(list(rows.case_rows(groups))),
        }
    output = _output(cfg)
    output.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_text(output / name, content)
    print(text, f"\nwritten to: {output / PAGE}", sep="\n")


def _output(cfg: DictConfig) -> Path:
    if cfg.output is not None:
        return Path(cfg.output)
    runs = Path(cfg.runs)
    return runs.parent if runs.is_file() else runs


if __name__ == "__main__":
    main()
