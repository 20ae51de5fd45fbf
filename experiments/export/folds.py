"""Pool what the exports of a cross-validation measured: Dice of each format and precision on unseen patients."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from lits_seg.common.errors import InputError
from lits_seg.common.records import read_record
from lits_seg.common.tables import DASH, markdown, number, signed, with_interval
from lits_seg.exporters.comparison_table import Row
from lits_seg.metrics.statistics import bootstrap_interval


@dataclass(frozen=True)
class Exports:
    """The content of ``exports.json`` that the table needs.

    Args:
        volumes: folder of the volumes.
        patients: names of the test patients.
        pytorch: the checkpoint, run by PyTorch.
        files: the exported files.
        structure: the structure whose Dice was measured.
    """

    volumes: str
    patients: list[str]
    pytorch: Row
    files: list[Row]
    structure: str = "lesion"


def read_folds(folders: Sequence[Path]) -> list[Exports]:
    """Read ``exports.json`` from the folder of each fold; raise ``InputError`` if the structures differ."""
    found = [read_record(Exports, folder / "exports.json", "the table of lits-seg export") for folder in folders]
    structures = sorted({one.structure for one in found})
    if len(structures) > 1:
        raise InputError("folds", "exports whose Dice is of the same structure", ", ".join(structures))
    return found


def fold_table(folds: Sequence[Exports]) -> str:
    """Return a Markdown table with a row for PyTorch and for each format and precision.

    Args:
        folds: the exports, all of the same files; each patient is tested by one fold.
    """
    header = ["format", "precision", "MB", "equal labels", "ms per slice"]
    header += [f"{folds[0].structure} Dice [95 %]", "to PyTorch [95 %]"]
    reference = _dice([fold.pytorch for fold in folds])
    lines = []
    for rows in zip(*((fold.pytorch, *fold.files) for fold in folds), strict=True):
        dice = _dice(rows)
        gains = [a - b for a, b in zip(dice, reference, strict=True)]
        found = [row.parity.labels for row in rows if row.parity]
        difference = signed(fmean(gains), bootstrap_interval(gains), 4)
        lines.append(
            [
                rows[0].format,
                rows[0].precision,
                f"{fmean(row.size for row in rows) / 1e6:.1f}",
                f"{min(found):.4%}" if found else DASH,
                number(fmean(row.ms for row in rows), 1),
                with_interval(fmean(dice), bootstrap_interval(dice), 4),
                difference if found else DASH,
            ]
        )
    return markdown(header, lines)


def fold_text(folds: Sequence[Exports]) -> str:
    """Return the table with an explanation."""
    patients = sorted(patient for fold in folds for patient in fold.patients)
    structure = folds[0].structure.capitalize()
    return "\n".join(
        [
            "# What an exported file keeps on patients that the network has not seen",
            "",
            fold_table(folds),
            "",
            f"{structure} Dice per case of {len(patients)} patients ({', '.join(patients)}) of {folds[0].volumes},",
            f"after the model's rules. Each was predicted by the network of its fold ({len(folds)} in all); int8 was",
            "calibrated on training patients. Intervals: bootstrap over patients. Equal labels: lowest of the folds.",
            "Written by `python -m experiments.export folds=[…]`. Research use only.",
            "",
        ]
    )


def _dice(rows: Sequence[Row]) -> list[float]:
    return [value for row in rows for value in row.dice]
