"""Make the table that compares exported files with their checkpoint."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from lits_seg.common.tables import markdown, number
from lits_seg.exporters.parity import Parity

MOST_LOST = 0.005  # Dice
LEAST_GAIN = 1.05  # speed relative to fp32; smaller gains are within the scatter of timings


@dataclass(frozen=True)
class Row:
    """A file in the table.

    Args:
        format: format of the file.
        precision: precision of the file.
        file: name of the file.
        size: size in bytes.
        parity: agreement with PyTorch; None for the checkpoint.
        ms: milliseconds per slice, from HU to labels.
        dice: Dice of each test patient, see ``parity.volume_dice``; empty if not measured.
    """

    format: str
    precision: str
    file: str
    size: int
    parity: Parity | None = None
    ms: float = math.nan
    dice: Sequence[float] = ()


def verdict(row: Row, fp32: Row | None, checkpoint: Row) -> str:
    """Judge a file: it is worth it if it loses at most 0.005 Dice and is faster than its format's fp32 file.

    Args:
        row: the file.
        fp32: the fp32 file of the same format; None: there is none, and speed does not count.
        checkpoint: the checkpoint, run by PyTorch.
    """
    if row.precision != "fp32" and fp32 is not None and fp32.ms / row.ms < LEAST_GAIN:
        return "not worth it: no faster than fp32"
    if not row.dice:
        return "Dice not measured"
    lost = fmean(checkpoint.dice) - fmean(row.dice)
    return f"not worth it: loses {lost:.3f} Dice" if lost > MOST_LOST else "yes"


def table(checkpoint: Row, rows: Sequence[Row], structure: str) -> str:
    """Return a Markdown table of size, parity, time and Dice.

    Args:
        checkpoint: the checkpoint, the first row of the table.
        rows: the exported files.
        structure: the structure whose Dice is measured, ``lesion`` or ``liver``.
    """
    header = ["file", "MB", "equal labels", f"Dice with PyTorch's {structure} mask", "largest logit difference"]
    header += ["ms per slice", "speed-up over PyTorch", f"{structure} Dice", "worth it"]
    fp32 = {row.format: row for row in rows if row.precision == "fp32"}
    lines = []
    for row in (checkpoint, *rows):
        found = row.parity
        lines.append(
            [
                row.file,
                f"{row.size / 1e6:.1f}",
                f"{found.labels:.4%}" if found else "–",
                number(found.dice, 4) if found else "–",
                f"{found.logits:.2g} of {found.largest:.2g}" if found else "–",
                number(row.ms, 1),
                f"{checkpoint.ms / row.ms:.1f} x",
                number(fmean(row.dice), 4) if row.dice else "–",
                verdict(row, fp32.get(row.format), checkpoint) if found else "–",
            ]
        )
    return markdown(header, lines)
