"""The table of exported files beside the checkpoint that they are from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from lits_seg.common.tables import markdown, number
from lits_seg.exporters.parity import Parity

MOST_LOST, LEAST_GAIN = 0.005, 1.05  # lesion Dice; times as fast as 32 bits, which is beyond what timings scatter


@dataclass(frozen=True)
class Row:
    """One file. ``ms``: of a slice, HU to labels; ``dice``: of each test patient, empty where not measured."""

    format: str
    precision: str
    file: str
    size: int
    parity: Parity | None = None
    ms: float = math.nan
    dice: Sequence[float] = ()


def verdict(row: Row, fp32: Row, checkpoint: Row) -> str:
    """Whether a file is worth it: it may lose 0.005 of lesion Dice, and must be faster than its format's 32 bits."""
    if row.precision != "fp32" and fp32.ms / row.ms < LEAST_GAIN:
        return "not worth it: no faster than fp32"
    if not row.dice:
        return "Dice not measured"
    lost = fmean(checkpoint.dice) - fmean(row.dice)
    return f"not worth it: loses {lost:.3f} Dice" if lost > MOST_LOST else "yes"


def table(checkpoint: Row, rows: Sequence[Row]) -> str:
    """Markdown: size, parity, time and lesion Dice of each file, the checkpoint first."""
    header = ["file", "MB", "equal labels", "Dice of both lesion masks", "largest logit difference"]
    header += ["ms a slice", "to PyTorch", "lesion Dice", "worth it"]
    fp32 = {row.format: row for row in rows if row.precision == "fp32"}
    lines = []
    for row in (checkpoint, *rows):
        found = row.parity
        lines.append(
            [
                row.file,
                f"{row.size / 1e6:.1f}",
                f"{found.labels:.4%}" if found else "–",
                number(found.lesion, 4) if found else "–",
                f"{found.logits:.2g} of {found.largest:.2g}" if found else "–",
                number(row.ms, 1),
                f"{checkpoint.ms / row.ms:.1f} x",
                number(fmean(row.dice), 4) if row.dice else "–",
                verdict(row, fp32[row.format], checkpoint) if found else "–",
            ]
        )
    return markdown(header, lines)
