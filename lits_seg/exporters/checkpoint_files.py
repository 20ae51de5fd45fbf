"""Export a checkpoint: write its files, verify and measure them, and compare them in a table."""

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from lits_seg import RESEARCH_USE
from lits_seg.browser.bundle import write_page
from lits_seg.common.files import sha256, write_text
from lits_seg.common.records import as_plain
from lits_seg.common.tables import json_text, plural
from lits_seg.exporters.check_volumes import Volumes, find_volumes, phantom_volumes
from lits_seg.exporters.choices import BROWSER, ENDINGS, WORTH
from lits_seg.exporters.comparison_table import LEAST_GAIN, MOST_LOST, Row, table
from lits_seg.exporters.formats import import_executorch, open_file, write_file
from lits_seg.exporters.metadata import describe_export
from lits_seg.exporters.onnx import export_parts
from lits_seg.exporters.output_files import move, new_files, size_of
from lits_seg.exporters.parity import milliseconds, network_images, parity, slices_of, volume_dice
from lits_seg.inference.ensemble import Ensemble
from lits_seg.inference.segmenter import Segmenter
from lits_seg.models.cost import processor
from lits_seg.packaged.card import is_packaged
from lits_seg.runs.provenance import provenance
from lits_seg.training.cascades import load_cascade
from lits_seg.training.module import LesionModule

CHECKPOINT = "checkpoint (PyTorch)"


def export_checkpoint(cfg: Any, wanted: list[tuple[str, str]]) -> str:
    """Write the files, ``exports.md`` and ``exports.json``.

    Args:
        cfg: the settings in ``conf/commands/export.yaml``.
        wanted: pairs of format and precision.

    Returns:
        The text of ``exports.md``.

    Raises:
        InputError: if a file's labels differ from the checkpoint's.
    """
    if any(format == "executorch" for format, _ in wanted):
        import_executorch()  # if the package is missing, fail before other files are written
    output = Path(cfg.output)
    torch.set_num_threads(cfg.threads or os.cpu_count() or 1)
    module = load_cascade(cfg.ckpt, cfg.liver_ckpt)
    with new_files(output) as scratch:
        if cfg.references is None and is_packaged(cfg.ckpt):
            volumes = phantom_volumes(scratch / "phantom")
        else:
            volumes = find_volumes(OmegaConf.create(asdict(cfg)), module)
        checkpoint, *rows = _export(cfg, module, volumes, wanted, scratch)
        move([scratch / row.file for row in rows], output)
    structure = module.structures[0]
    text = _text(cfg, table(checkpoint, rows, structure), volumes, len(checkpoint.dice), structure)
    write_text(output / "exports.md", text)
    about = {
        **as_plain(provenance(cfg.ckpt)),
        **({} if cfg.liver_ckpt is None else {"liver_checkpoint": cfg.liver_ckpt}),
        "volumes": str(volumes.root),
        "synthetic": volumes.synthetic,
        "patients": [case.name for case in volumes.test[: cfg.patients]],
        "structure": structure,
        "slices": cfg.slices,
        "threads": cfg.threads or os.cpu_count(),
        "processor": processor(),
    }
    files = [{**as_plain(row), "sha256": sha256(_first_file(output / row.file))} for row in rows]
    write_text(output / "exports.json", json_text({**about, "pytorch": as_plain(checkpoint), "files": files}))
    return text


def _export(
    cfg: Any, module: LesionModule, volumes: Volumes, wanted: list[tuple[str, str]], scratch: Path
) -> list[Row]:
    """Write the files into ``scratch``, verify and measure them.

    Args:
        cfg: the settings.
        module: the checkpoint's network, on the CPU.
        volumes: volumes for calibration and measurement.
        wanted: pairs of format and precision.
        scratch: folder to write into.

    Returns:
        The row of the checkpoint, followed by a row for each file.
    """
    parts = export_parts(module, scratch)
    calibration = network_images(module, *slices_of(volumes.train, cfg.calibration, module.context))
    checked, pixel_mm = slices_of(volumes.test, cfg.slices, module.context)
    segmenters: dict[str, Segmenter] = {CHECKPOINT: Ensemble([cfg.ckpt], device="cpu", liver_ckpt=cfg.liver_ckpt)}
    rows = [Row("PyTorch", "fp32", CHECKPOINT, Path(cfg.ckpt).stat().st_size)]
    for format, precision in wanted:
        path = scratch / f"{cfg.name}_{precision}{ENDINGS['onnx' if format in BROWSER else format]}"
        metadata = describe_export(cfg.ckpt, module, "onnx" if format in BROWSER else format, precision)
        if format == "executorch":
            metadata = replace(metadata, plane=list(checked.shape[2:]))
        write_file(module, parts, calibration, path, metadata)
        exported = open_file(path, cfg.threads)
        found = parity(module, exported, checked, pixel_mm)
        found.require(path.name, precision)
        if format in BROWSER:
            path = write_page(format, path, scratch / f"{cfg.name}_{precision}{ENDINGS[format]}")
        print(f"{path.name}: written, {found.labels:.4%} of the labels match PyTorch's", flush=True)
        segmenters[path.name] = exported
        rows.append(Row(format, precision, path.name, size_of(path), found))
    taken = milliseconds(segmenters, checked, tuple(pixel_mm[0]))
    rows = [replace(row, ms=taken[row.file]) for row in rows]
    patients = volumes.test[: cfg.patients]
    print(f"computing the {module.structures[0]} Dice of {len(rows)} models on {len(patients)} patients …", flush=True)
    return [
        # ExecuTorch files accept slices of a single size, and the volumes may have others.
        row
        if row.format == "executorch"
        else replace(row, dice=volume_dice(segmenters[row.file], patients, cfg.batch_size))
        for row in rows
    ]


def _first_file(path: Path) -> Path:
    """Return the file that identifies an export: itself, or the page of a folder."""
    return path / "index.html" if path.is_dir() else path


def _text(cfg: Any, rows: str, volumes: Volumes, patients: int, structure: str) -> str:
    kind = "synthetic volumes" if volumes.synthetic else "volumes"
    same = volumes.train == volumes.test
    patients_are = "of the same volumes, on which int8 was also calibrated" if same else "of the test set"
    threads = cfg.threads or os.cpu_count()
    return "\n".join(
        [
            f"# {cfg.ckpt}, exported",
            "",
            rows,
            "",
            f"Parity and time were measured on {cfg.slices} slices of {kind} ({volumes.root}), from HU to labels.",
            f"Times are the fastest of several rounds, measured in turns on {threads} threads of {processor()}.",
            f"{structure.capitalize()} Dice is the mean over {plural(patients, 'patient')} {patients_are}.",
            f"{WORTH} {MOST_LOST} {structure} Dice and is at least {LEAST_GAIN} times as",
            "fast as the fp32 file of its format.",
            RESEARCH_USE,
            "",
        ]
    )
