"""``lits-seg prepare``: check a data set, write its slice store, and report its cases, slices and warnings."""

if __name__ == "__main__":
    from lits_seg.cli import start

    start("prepare")

import base64
import io
import json
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Literal

import numpy as np
from hydra.utils import instantiate
from PIL import Image

from lits_seg import RESEARCH_USE
from lits_seg.cli import entry
from lits_seg.common.errors import InputError
from lits_seg.common.files import write_text
from lits_seg.common.settings import Place
from lits_seg.data.datamodule import SliceDataModule
from lits_seg.data.store import StoredCase
from lits_seg.training.pictures import tinted

COLUMNS = ("case", "axes", "shape", "spacing mm", "HU", "liver HU", "liver mL", "lesion mL", "slices", "warnings")


@dataclass(frozen=True)
class Reaction:
    """What the command does about cases that cannot be used."""

    on_error: Literal["stop", "skip"]


@dataclass(frozen=True)
class Settings:
    """The settings of ``conf/commands/prepare.yaml``; ``data`` is the configuration of a ``SliceDataModule``."""

    prepare: Reaction
    output: Place
    data: dict[str, Any]


@entry("commands/prepare", Settings)
def main(cfg: Settings) -> None:
    """Print the table and write it as ``check.json`` and ``check.html``."""
    datamodule: SliceDataModule = instantiate(cfg.data)
    if datamodule.generate is not None:
        datamodule.generate(datamodule.root)
    stored, errors = datamodule.stored(datamodule.root)
    report = {
        "root": str(datamodule.root),
        "summary": summary(stored),
        "errors": [str(error) for error in errors],
        "cases": [facts(case) for case in stored],
    }
    output = Path(cfg.output)
    output.mkdir(parents=True, exist_ok=True)
    write_text(output / "check.json", json.dumps(report, indent=2))
    write_text(output / "check.html", page(report, stored))
    print(text(report), f"written to: {output}", sep="\n")
    if errors and cfg.prepare.on_error == "stop":
        hint = f"{len(errors)} that cannot (see above; prepare.on_error=skip, and data.on_error=skip to train, without)"
        raise InputError(datamodule.root, "cases that can be used", hint)


def facts(case: StoredCase) -> dict[str, Any]:
    """One case: what the check found, the slices' counts, and volumes in mL by the file's own spacing."""
    voxel = float(np.prod(case.spacing)) / 1000
    _, liver, lesion = case.check["voxels"]
    return {
        "case": case.name,
        "shape": list(case.shape),
        "spacing": list(case.spacing),
        "slices": len(case),
        "slices_with_liver": int(np.count_nonzero(case.liver_pixels)),
        "slices_with_lesion": int(np.count_nonzero(case.lesion_pixels)),
        "liver_ml": (liver + lesion) * voxel,
        "lesion_ml": lesion * voxel,
        **case.check,
    }


def summary(cases: list[StoredCase]) -> dict[str, Any]:
    """Cases, slices, the shares of slices with liver and lesion, and voxels of background, liver and lesion."""
    rows = [facts(case) for case in cases]
    slices = sum(row["slices"] for row in rows)
    return {
        "cases": len(rows),
        "cases_without_lesion": sum(row["voxels"][2] == 0 for row in rows),
        "slices": slices,
        "share_with_liver": sum(row["slices_with_liver"] for row in rows) / slices,
        "share_with_lesion": sum(row["slices_with_lesion"] for row in rows) / slices,
        "voxels": np.sum([row["voxels"] for row in rows], axis=0).tolist(),
    }


def text(report: dict[str, Any]) -> str:
    """The report for a terminal."""
    rows = [COLUMNS, *(_cells(case) for case in report["cases"])]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    warnings = [f"warning: {warning}" for case in report["cases"] for warning in case["warnings"]]
    errors = [f"error: {error}" for error in report["errors"]]
    return "\n".join([*lines, "", *warnings, *errors, *_summary_lines(report), RESEARCH_USE])


def page(report: dict[str, Any], cases: list[StoredCase]) -> str:
    """The report as one HTML file with a picture of each case, its pictures inside."""
    head = "".join(f"<th>{escape(column)}" for column in ("", *COLUMNS[:-1], "warnings"))
    body = ""
    for row, case in zip(report["cases"], cases, strict=True):
        cells = "".join(f"<td>{escape(cell)}" for cell in _cells(row)[:-1])
        warnings = "<br>".join(escape(warning) for warning in row["warnings"])
        body += f'<tr><td><img src="data:image/png;base64,{_thumbnail(case)}" alt="">{cells}<td class="w">{warnings}\n'
    errors = "".join(f'<p class="w">error: {escape(error)}' for error in report["errors"])
    return (
        f"<!doctype html><meta charset=utf-8><title>Check of {escape(report['root'])}</title><style>"
        "body{font:14px system-ui,sans-serif;margin:2em}table{border-collapse:collapse}"
        "td,th{padding:.3em .7em;border-bottom:1px solid #ccc;text-align:right}.w{color:#a00;text-align:left}"
        f"</style><h1>Check of {escape(report['root'])}</h1>"
        + "".join(f"<p>{escape(line)}" for line in (*_summary_lines(report), RESEARCH_USE))
        + f"{errors}<p>Each picture: the slice with the most lesion (red), else liver (cyan), as the network sees it."
        + f"<table><tr>{head}\n{body}</table>\n"
    )


def _cells(case: dict[str, Any]) -> tuple[str, ...]:
    return (
        case["case"],
        case["orientation"],
        "×".join(str(n) for n in reversed(case["shape"])),
        "×".join(f"{size:.3g}" for size in case["spacing"]),
        "{:g}…{:g}".format(*case["hu"]),
        "–" if case["liver_hu"] is None else f"{case['liver_hu']:.0f}",
        f"{case['liver_ml']:.0f}",
        f"{case['lesion_ml']:.1f}",
        f"{case['slices_with_liver']} liver, {case['slices_with_lesion']} lesion",
        str(len(case["warnings"]) or ""),
    )


def _summary_lines(report: dict[str, Any]) -> list[str]:
    total = report["summary"]
    background, liver, lesion = total["voxels"]
    return [
        f"{total['cases']} cases in {report['root']}, {total['cases_without_lesion']} of them without lesion; "
        f"{len(report['errors'])} unusable",
        f"{total['slices']:,} slices, {total['share_with_liver']:.1%} with liver, {total['share_with_lesion']:.1%} "
        f"with lesion; voxels: {background:,} background, {liver:,} liver, {lesion:,} lesion",
    ]


def _thumbnail(case: StoredCase, side: int = 128) -> str:
    area = np.array(case.lesion_pixels) * 2**32 + np.array(case.liver_pixels)
    i = int(area.argmax()) if area.any() else len(case) // 2
    picture = Image.fromarray(tinted(case.images[i], case.labels[i])).resize((side, side))
    stream = io.BytesIO()
    picture.save(stream, "png")
    return base64.b64encode(stream.getvalue()).decode()
