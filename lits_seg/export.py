"""``lits-seg export``: export a checkpoint to files that run without PyTorch, verify and compare them."""

if __name__ == "__main__":
    from lits_seg.cli import start

    start("export")

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from omegaconf import OmegaConf

from lits_seg import RESEARCH_USE
from lits_seg.cli import entry
from lits_seg.common.errors import InputError
from lits_seg.common.files import scratch_folder, sha256, write_text
from lits_seg.common.ownership import EXPORTED, json_file, require_free, require_not_inputs, text_file
from lits_seg.common.records import as_plain
from lits_seg.common.settings import BatchSize, Count, CountOrZero, Place, Threads, Workers
from lits_seg.common.tables import json_text
from lits_seg.exporters.check_volumes import Volumes, find_volumes
from lits_seg.exporters.comparison_table import LEAST_GAIN, MOST_LOST, Row, table
from lits_seg.exporters.formats import ENDINGS, open_file, pairs, write_file
from lits_seg.exporters.metadata import describe_export
from lits_seg.exporters.onnx import export_parts
from lits_seg.exporters.parity import lesion_dice, milliseconds, network_images, parity, slices_of
from lits_seg.inference.ensemble import Ensemble
from lits_seg.inference.segmenter import Segmenter
from lits_seg.models.cost import processor
from lits_seg.packaged.card import CHECKPOINT as CHECKPOINT_FILE
from lits_seg.packaged.card import packaged_file
from lits_seg.runs.provenance import provenance
from lits_seg.training.cascades import load_cascade
from lits_seg.training.module import LesionModule

CHECKPOINT = "checkpoint (PyTorch)"
WORTH = "A file is worth it if it loses at most"
TEXT = text_file("table", WORTH)
JSON = json_file("table", "lits_seg", "pytorch", "files")


@dataclass(frozen=True)
class Settings:
    """The settings in ``conf/commands/export.yaml``."""

    ckpt: Place
    liver_ckpt: Place | None
    format: list[str]
    precision: list[str]
    output: Place
    name: str
    references: Place | None
    slices: Count
    calibration: Count
    patients: CountOrZero | None
    threads: Threads | None
    store: Place
    batch_size: BatchSize
    workers: Workers


@entry("commands/export", Settings)
def main(cfg: Settings) -> None:
    """Write the files, ``exports.md`` and ``exports.json``; fail if a file's labels differ from the checkpoint's."""
    cfg = replace(cfg, ckpt=packaged_file(cfg.ckpt, CHECKPOINT_FILE))
    wanted = pairs(cfg.format, cfg.precision)
    if not cfg.name or Path(cfg.name).name != cfg.name:
        raise InputError("name", "the first part of a file name", repr(cfg.name))
    output = Path(cfg.output)
    targets = {output / f"{cfg.name}_{precision}{ENDINGS[format]}": EXPORTED for format, precision in wanted}
    targets |= {output / "exports.md": TEXT, output / "exports.json": JSON}
    require_not_inputs(targets, [Path(path) for path in (cfg.ckpt, cfg.liver_ckpt) if path is not None])
    require_free(targets)
    torch.set_num_threads(cfg.threads or os.cpu_count() or 1)
    module = load_cascade(cfg.ckpt, cfg.liver_ckpt)
    volumes = find_volumes(OmegaConf.create(asdict(cfg)), module)
    new = not output.exists()
    output.mkdir(parents=True, exist_ok=True)
    try:
        with scratch_folder(output, ".export-") as scratch:
            checkpoint, *rows = _export(cfg, module, volumes, wanted, scratch)
            for row in rows:
                (scratch / row.file).replace(output / row.file)
    finally:
        if new and not any(output.iterdir()):
            output.rmdir()
    text = _text(cfg, table(checkpoint, rows), volumes, len(checkpoint.dice))
    write_text(output / "exports.md", text)
    about = {
        **as_plain(provenance(cfg.ckpt)),
        **({} if cfg.liver_ckpt is None else {"liver_checkpoint": cfg.liver_ckpt}),
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


def _export(
    cfg: Settings, module: LesionModule, volumes: Volumes, wanted: list[tuple[str, str]], scratch: Path
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
        path = scratch / f"{cfg.name}_{precision}{ENDINGS[format]}"
        metadata = describe_export(cfg.ckpt, module, format, precision)
        if format == "executorch":
            metadata = replace(metadata, plane=list(checked.shape[2:]))
        write_file(module, parts, calibration, path, metadata)
        exported = open_file(path, cfg.threads)
        found = parity(module, exported, checked, pixel_mm)
        found.require(path.name, precision)
        print(f"{path.name}: written, {found.labels:.4%} of the labels match PyTorch's", flush=True)
        segmenters[path.name] = exported
        rows.append(Row(format, precision, path.name, path.stat().st_size, found))
    taken = milliseconds(segmenters, checked, tuple(pixel_mm[0]))
    rows = [replace(row, ms=taken[row.file]) for row in rows]
    patients = volumes.test[: cfg.patients]
    print(f"computing the lesion Dice of {len(rows)} models on {len(patients)} patients …", flush=True)
    return [
        # ExecuTorch files accept slices of a single size, and the volumes may have others.
        row
        if row.format == "executorch"
        else replace(row, dice=lesion_dice(segmenters[row.file], patients, cfg.batch_size))
        for row in rows
    ]


def _text(cfg: Settings, rows: str, volumes: Volumes, patients: int) -> str:
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
            f"Lesion Dice is the mean over {patients} {'patient' if patients == 1 else 'patients'} {patients_are}.",
            f"{WORTH} {MOST_LOST} lesion Dice and is at least {LEAST_GAIN} times as",
            "fast as the fp32 file of its format.",
            RESEARCH_USE,
            "",
        ]
    )
