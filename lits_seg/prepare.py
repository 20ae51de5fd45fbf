"""``lits-seg prepare``: check a data set, write its slice store, and report its cases, slices and warnings."""

if __name__ == "__main__":
    from lits_seg.cli import start

    start("prepare")

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from hydra.utils import instantiate
from PIL import Image

from lits_seg import RESEARCH_USE
from lits_seg.cli import entry
from lits_seg.common.constructors import require_arguments
from lits_seg.common.errors import InputError
from lits_seg.common.files import write_text
from lits_seg.common.html import base64_picture, render
from lits_seg.common.records import as_plain
from lits_seg.common.settings import Place, Seed, arguments
from lits_seg.common.tables import text_table
from lits_seg.data.checks import CaseCheck
from lits_seg.data.datamodule import SliceDataModule
from lits_seg.data.store import StoredCase
from lits_seg.training.pictures import tinted

COLUMNS = ("case", "axes", "shape", "spacing mm", "HU", "liver HU", "liver mL", "lesion mL", "slices", "warnings")
THUMBNAIL = 128  # side in pixels


@dataclass(frozen=True, kw_only=True)
class CaseRow(CaseCheck):
    """A case in the report: its check, size, counts of slices, and volumes in mL."""

    case: str
    shape: list[int]
    spacing: list[float]
    slices: int
    slices_with_liver: int
    slices_with_lesion: int
    liver_ml: float
    lesion_ml: float


@dataclass(frozen=True)
class DataSummary:
    """Totals over all cases. ``voxels``: background, liver, lesion. Shares refer to all slices."""

    cases: int
    cases_without_lesion: int
    slices: int
    share_with_liver: float
    share_with_lesion: float
    voxels: list[int]


@dataclass(frozen=True)
class DataReport:
    """The report on a data set, the content of ``check.json``. ``errors``: messages about the unusable cases."""

    root: str
    summary: DataSummary
    errors: list[str]
    cases: list[CaseRow]


@dataclass(frozen=True)
class Reaction:
    """The reaction of the command to unusable cases: end with an error (``stop``), or succeed (``skip``)."""

    on_error: Literal["stop", "skip"]


@dataclass(frozen=True)
class Settings:
    """The settings in ``conf/commands/prepare.yaml``; ``data`` configures a ``SliceDataModule``."""

    prepare: Reaction
    output: Place
    store: Place
    seed: Seed
    augment: None
    data: dict[str, Any]


@entry("commands/prepare", Settings, texts=arguments(SliceDataModule, "data."))
def main(cfg: Settings) -> None:
    """Fill the slice store, print the report, and write it as ``check.json`` and ``check.html``."""
    require_arguments("data", cfg.data, SliceDataModule)
    datamodule: SliceDataModule = instantiate(cfg.data)
    if datamodule.generate is not None:
        datamodule.generate(datamodule.root)
    stored, errors = datamodule.stored(datamodule.root)
    rows = [case_row(case) for case in stored]
    report = DataReport(str(datamodule.root), summary(rows), [str(error) for error in errors], rows)
    output = Path(cfg.output)
    output.mkdir(parents=True, exist_ok=True)
    write_text(output / "check.json", json.dumps(as_plain(report), indent=2))
    write_text(output / "check.html", page(report, stored))
    print(text(report), f"written to: {output}", sep="\n")
    if errors and cfg.prepare.on_error == "stop":
        hint = "see above; to skip them: prepare.on_error=skip, and data.on_error=skip in training"
        raise InputError(datamodule.root, "usable cases", f"{len(errors)} unusable ({hint})")


def case_row(case: StoredCase) -> CaseRow:
    """Return the row of a case."""
    _, liver, lesion = case.check.voxels
    return CaseRow(
        case=case.name,
        shape=list(case.shape),
        spacing=list(case.spacing),
        slices=len(case),
        slices_with_liver=int(np.count_nonzero(case.liver_pixels)),
        slices_with_lesion=int(np.count_nonzero(case.lesion_pixels)),
        liver_ml=(liver + lesion) * case.voxel_ml,
        lesion_ml=lesion * case.voxel_ml,
        **vars(case.check),
    )


def summary(rows: list[CaseRow]) -> DataSummary:
    """Return the totals of all rows."""
    slices = sum(row.slices for row in rows)
    return DataSummary(
        cases=len(rows),
        cases_without_lesion=sum(row.voxels[2] == 0 for row in rows),
        slices=slices,
        share_with_liver=sum(row.slices_with_liver for row in rows) / slices,
        share_with_lesion=sum(row.slices_with_lesion for row in rows) / slices,
        voxels=np.sum([row.voxels for row in rows], axis=0).tolist(),
    )


def text(report: DataReport) -> str:
    """Return the report for a terminal."""
    table = text_table([COLUMNS, *(_cells(case) for case in report.cases)])
    warnings = [f"warning: {warning}" for case in report.cases for warning in case.warnings]
    errors = [f"error: {error}" for error in report.errors]
    return "\n".join([table, "", *warnings, *errors, *_summary_lines(report), RESEARCH_USE])


def page(report: DataReport, cases: list[StoredCase]) -> str:
    """Return the report as a single HTML file with a picture of each case.

    Args:
        report: the report.
        cases: the cases, in the order of the report.
    """
    rows = [
        {"picture": _thumbnail(case), "cells": _cells(row)[:-1], "warnings": row.warnings}
        for row, case in zip(report.cases, cases, strict=True)
    ]
    return render(
        "check.html.j2",
        root=report.root,
        research_use=RESEARCH_USE,
        summary=_summary_lines(report),
        errors=report.errors,
        columns=COLUMNS,
        rows=rows,
    )


def _cells(row: CaseRow) -> tuple[str, ...]:
    return (
        row.case,
        row.orientation,
        "×".join(str(n) for n in reversed(row.shape)),
        "×".join(f"{size:.3g}" for size in row.spacing),
        f"{row.hu[0]:g}…{row.hu[1]:g}",
        "–" if row.liver_hu is None else f"{row.liver_hu:.0f}",
        f"{row.liver_ml:.0f}",
        f"{row.lesion_ml:.1f}",
        f"{row.slices_with_liver} liver, {row.slices_with_lesion} lesion",
        str(len(row.warnings) or ""),
    )


def _summary_lines(report: DataReport) -> list[str]:
    total = report.summary
    background, liver, lesion = total.voxels
    return [
        f"{total.cases} cases in {report.root}, {total.cases_without_lesion} of them without lesion; "
        f"{len(report.errors)} unusable",
        f"{total.slices:,} slices, {total.share_with_liver:.1%} with liver, {total.share_with_lesion:.1%} "
        f"with lesion; voxels: {background:,} background, {liver:,} liver, {lesion:,} lesion",
    ]


def _thumbnail(case: StoredCase) -> str:
    """Encode the slice with the most lesion pixels; ties are resolved by liver pixels, then distance to the middle."""
    middle = len(case) // 2
    number = max(range(len(case)), key=lambda i: (case.lesion_pixels[i], case.liver_pixels[i], -abs(i - middle)))
    picture = Image.fromarray(tinted(case.images[number], case.labels[number])).resize((THUMBNAIL, THUMBNAIL))
    return base64_picture(picture, "png")
