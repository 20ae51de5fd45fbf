"""``python -m lits_seg.export``: write a checkpoint as files that run without PyTorch, check and compare them."""

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, ListConfig

from lits_seg import RESEARCH_USE
from lits_seg.cli import entry, require_number, require_paths
from lits_seg.common.errors import InputError
from lits_seg.common.files import sha256, write_text
from lits_seg.common.records import as_plain
from lits_seg.common.tables import json_text
from lits_seg.exporters.comparison_table import LEAST_GAIN, MOST_LOST, Row, table
from lits_seg.exporters.files import ENDINGS, open_file, pairs, write_file
from lits_seg.exporters.metadata import describe_export
from lits_seg.exporters.onnx import export_parts
from lits_seg.exporters.parity import lesion_dice, milliseconds, network_images, parity, slices_of
from lits_seg.exporters.references import Volumes, find_volumes
from lits_seg.inference.ensemble import Ensemble
from lits_seg.inference.segmenter import Segmenter
from lits_seg.models.cost import processor
from lits_seg.runs.provenance import provenance
from lits_seg.training.checkpoints import load_segmenter
from lits_seg.training.module import LesionModule

CHECKPOINT = "the checkpoint, by PyTorch"


@entry("export")
def main(cfg: DictConfig) -> None:
    """Write the files and ``exports.md``. A file that disagrees with the checkpoint is an error and is deleted."""
    require_paths(cfg, "ckpt", "output", "references")
    wanted = pairs(_texts(cfg.format), _texts(cfg.precision))
    _require_numbers(cfg)
    torch.set_num_threads(cfg.threads or os.cpu_count() or 1)
    module = load_segmenter(cfg.ckpt)
    volumes = find_volumes(cfg, module)
    output = Path(cfg.output)
    new = not output.exists()
    output.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".export-", dir=output) as scratch:
            checkpoint, *rows = _export(cfg, module, volumes, wanted, Path(scratch))
            for row in rows:
                Path(scratch, row.file).replace(output / row.file)
    finally:
        if new and not any(output.iterdir()):
            output.rmdir()
    text = _text(cfg, table(checkpoint, rows), volumes, len(checkpoint.dice))
    write_text(output / "exports.md", text)
    about = {
        **as_plain(provenance(cfg.ckpt)),
        "volumes": str(volumes.root),
        "synthetic": volumes.synthetic,
        "patients": [case.name for case in volumes.test[: cfg.patients]],
        "slices": cfg.slices,
        "threads": cfg.threads or os.cpu_count(),
        "processor": processor(),
    }
    files = [{**as_plain(row), "sha256": sha256(output / row.file)} for row in rows]
    write_text(output / "exports.json", json_text({**about, "pytorch": as_plain(checkpoint), "files": files}))
    print(text)


def _require_numbers(cfg: DictConfig) -> None:
    for name in ("slices", "calibration", "batch_size"):
        require_number(cfg, name)
    require_number(cfg, "threads", or_null=True)
    require_number(cfg, "patients", least=0, or_null=True)
    if not str(cfg.name) or Path(str(cfg.name)).name != str(cfg.name):
        raise InputError("name", "the beginning of a file's name", repr(cfg.name))


def _export(
    cfg: DictConfig, module: LesionModule, volumes: Volumes, wanted: list[tuple[str, str]], scratch: Path
) -> list[Row]:
    """Write the files into ``scratch``, check and measure them; the first row is the checkpoint's own."""
    parts = export_parts(module, scratch)
    calibration = network_images(module, slices_of(volumes.train, cfg.calibration, module.context))
    checked = slices_of(volumes.test, cfg.slices, module.context)
    segmenters: dict[str, Segmenter] = {CHECKPOINT: Ensemble([cfg.ckpt], device="cpu")}
    rows = [Row("PyTorch", "fp32", CHECKPOINT, Path(cfg.ckpt).stat().st_size)]
    for format, precision in wanted:
        path = scratch / f"{cfg.name}_{precision}{ENDINGS[format]}"
        metadata = describe_export(cfg.ckpt, module, format, precision)
        if format == "executorch":
            metadata = replace(metadata, plane=list(checked.shape[2:]))
        write_file(module, parts, calibration, path, metadata)
        exported = open_file(path, cfg.threads)
        found = parity(module, exported, checked)
        found.require(path.name, precision)
        print(f"{path.name}: written, {found.labels:.4%} of the labels match PyTorch's", flush=True)
        segmenters[path.name] = exported
        rows.append(Row(format, precision, path.name, path.stat().st_size, found))
    taken = milliseconds(segmenters, checked)
    rows = [replace(row, ms=taken[row.file]) for row in rows]
    patients = volumes.test[: cfg.patients]
    print(f"lesion Dice of {len(rows)} on {len(patients)} patients …", flush=True)
    return [
        # ExecuTorch's files take slices of one size, which not all volumes have.
        row
        if row.format == "executorch"
        else replace(row, dice=lesion_dice(segmenters[row.file], patients, cfg.batch_size))
        for row in rows
    ]


def _text(cfg: DictConfig, rows: str, volumes: Volumes, patients: int) -> str:
    kind = "synthetic volumes" if volumes.synthetic else "volumes"
    same = volumes.train == volumes.test
    patients_are = "of the same volumes, which int8 was calibrated on, too" if same else "that were kept for tests"
    threads = cfg.threads or os.cpu_count()
    return "\n".join(
        [
            f"# {cfg.ckpt}, exported",
            "",
            rows,
            "",
            f"Parity and time: {cfg.slices} slices of {kind} ({volumes.root}), from HU to labels, measured in turns,",
            f"the fastest of several rounds; {threads} threads of {processor()}. Lesion Dice per case: of {patients}",
            f"{'patient' if patients == 1 else 'patients'} {patients_are}.",
            f"Worth it: loses at most {MOST_LOST} lesion Dice, and is {LEAST_GAIN} times as fast as the format's fp32.",
            RESEARCH_USE,
            "",
        ]
    )


def _texts(value: Any) -> list[str]:
    return [str(part) for part in (value if isinstance(value, ListConfig) else [value])]


if __name__ == "__main__":
    main()
