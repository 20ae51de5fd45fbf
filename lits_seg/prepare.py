"""``lits-seg prepare``: check a data set, write its slice store and a report, and the data set for nnU-Net."""

if __name__ == "__main__":
    from lits_seg.cli import start

    start("prepare")

import json
from collections.abc import Mapping
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
from lits_seg.common.ownership import json_file, require_free, text_file
from lits_seg.common.records import as_plain
from lits_seg.common.settings import Place, Seed, arguments
from lits_seg.common.tables import plural, text_table
from lits_seg.data.burden import swapped
from lits_seg.data.checks import CaseCheck
from lits_seg.data.copies import HINT, patients, same_patients
from lits_seg.data.datamodule import SliceDataModule
from lits_seg.data.nnunet_writer import Part, require_place, write_data_set
from lits_seg.data.stored_case import StoredCase
from lits_seg.training.pictures import tinted

COLUMNS = ("case", "axes", "shape", "spacing mm", "HU", "liver HU", "liver mL", "lesion mL", "slices", "warnings")
REPORT = json_file("report", "root", "summary", "errors", "cases")
PAGE = text_file("page", '<meta name="generator" content="lits-seg prepare">', "<title>Check of ")
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
    """The report on a data set, the content of ``check.json``.

    Args:
        root: folder of the data set, ``data.root``.
        sources: folders of ``data.sources`` by name, which begins the names of their cases.
        summary: totals.
        errors: messages about the unusable cases.
        cases: the usable cases.
        overlap: pairs of patients with the same CT in this data set or the data set for the test.
        warnings: messages about whole data sets, which begin with the folder.
    """

    root: str
    sources: dict[str, str]
    summary: DataSummary
    errors: list[str]
    cases: list[CaseRow]
    overlap: list[str]
    warnings: list[str]


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
    nnunet: Place | None
    seed: Seed
    augment: None
    data: dict[str, Any]


@entry("commands/prepare", Settings, texts=arguments(SliceDataModule, "data."))
def main(cfg: Settings) -> None:
    """Fill the slice store, write the report as ``check.json`` and ``check.html``, and the data set for nnU-Net."""
    require_arguments("data", cfg.data, SliceDataModule)
    output = Path(cfg.output)
    require_free({output / "check.json": REPORT, output / "check.html": PAGE})
    datamodule: SliceDataModule = instantiate(cfg.data)
    if cfg.nnunet is not None:
        require_place(Path(cfg.nnunet))
        if datamodule.sources:
            raise InputError("nnunet", "a single data set (data.sources=null)", ", ".join(datamodule.sources))
    if datamodule.generate is not None:
        datamodule.generate(datamodule.root)
    if cfg.nnunet is not None:  # reading the volumes takes minutes
        datamodule.data_sets.require_every_fold()
    stored, errors = datamodule.data_sets.stored(datamodule.root)
    found = {str(datamodule.root): (len(stored), len(errors))}
    warnings = [f"{datamodule.root}: {warning}" for warning in swapped([case.check.burden for case in stored])]
    for name, source in datamodule.sources.items():
        further, unusable = datamodule.data_sets.stored(Path(source.root))
        stored, errors = [*stored, *source.cases(name, further)], [*errors, *unusable]
        found[source.root] = len(further), len(unusable)
        warnings += [f"{source.root}: {warning}" for warning in swapped([case.check.burden for case in further])]
    tested, test_errors = datamodule.data_sets.stored(datamodule.test_root) if datamodule.test_root else ([], [])
    if datamodule.test_root:
        found[str(datamodule.test_root)] = len(tested), len(test_errors)
    ours, others = patients(stored, ""), patients(tested, str(datamodule.test_root))
    report = DataReport(
        str(datamodule.root),
        {name: source.root for name, source in datamodule.sources.items()},
        summary([case_row(case) for case in stored]),
        [str(error) for error in errors + test_errors],
        [case_row(case) for case in stored],
        [f"{one} and {other}" for one, other in same_patients([*ours, *others])],
        warnings,
    )
    output.mkdir(parents=True, exist_ok=True)
    write_text(output / "check.json", json.dumps(as_plain(report), indent=2))
    write_text(output / "check.html", page(report, stored))
    print(text(report), f"written to: {output}", sep="\n")
    require_each_usable(found)
    require_usable(report, cfg.prepare.on_error == "skip", datamodule.allow_overlap)
    if cfg.nnunet is not None:
        parts = [Part(datamodule.root, stored)]
        if datamodule.test_root:
            parts.append(Part(datamodule.test_root, tested, "Ts"))
        splits = datamodule.data_sets.new_split.every_fold(stored)
        write_data_set(Path(cfg.nnunet), parts, splits)
        folds = plural(len(splits), "fold") if splits else "no folds: nnUNetv2_train … all"
        print(f"nnU-Net data set: {cfg.nnunet} ({plural(len(stored), 'patient')}, {folds})")


def require_each_usable(found: Mapping[str, tuple[int, int]]) -> None:
    """Require a usable case in each data set.

    Args:
        found: numbers of usable and unusable cases by folder.

    Raises:
        InputError: if a folder has none; the report has the details.
    """
    for folder, (usable, unusable) in found.items():
        if not usable:
            raise InputError(folder, "a usable case", f"{unusable} unusable")


def require_usable(report: DataReport, skip: bool, allow_overlap: bool) -> None:
    """Require that training can use the data set.

    Args:
        report: the report on the data set.
        skip: whether some cases may be unusable.
        allow_overlap: whether two patients may have the same CT.

    Raises:
        InputError: if not; the report has the details.
    """
    found = []
    if report.errors and not skip:
        hint = "see above; to skip them: prepare.on_error=skip, and data.on_error=skip in training"
        found.append(f"{len(report.errors)} unusable ({hint})")
    if report.overlap and not allow_overlap:
        found.append(f"{plural(len(report.overlap), 'pair')} with the same CT (see above; {HINT})")
    if found:
        raise InputError(", ".join([report.root, *report.sources.values()]), "usable cases", "; ".join(found))


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
    liver, lesion = (sum(getattr(row, f"slices_with_{what}") for row in rows) for what in ("liver", "lesion"))
    return DataSummary(
        cases=len(rows),
        cases_without_lesion=sum(row.voxels[2] == 0 for row in rows),
        slices=slices,
        share_with_liver=liver / max(slices, 1),
        share_with_lesion=lesion / max(slices, 1),
        voxels=[sum(row.voxels[label] for row in rows) for label in range(3)],
    )


def text(report: DataReport) -> str:
    """Return the report for a terminal."""
    table = text_table([COLUMNS, *(_cells(case) for case in report.cases)])
    warnings = [f"warning: {warning}" for case in report.cases for warning in case.warnings]
    errors = [f"error: {error}" for error in report.errors]
    return "\n".join([table, "", *warnings, *_set_warnings(report), *errors, *_summary_lines(report), RESEARCH_USE])


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
        summary=[*_summary_lines(report), *_set_warnings(report)],
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


def _set_warnings(report: DataReport) -> list[str]:
    overlap = [f"{report.root}: the same CT twice: {pair}" for pair in report.overlap]
    return [f"warning: {warning}" for warning in report.warnings + overlap]


def _summary_lines(report: DataReport) -> list[str]:
    total = report.summary
    background, liver, lesion = total.voxels
    roots = ", ".join([report.root, *report.sources.values()])
    return [
        f"{total.cases} cases in {roots}, {total.cases_without_lesion} of them without lesion; "
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
