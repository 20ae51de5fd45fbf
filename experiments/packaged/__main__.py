"""``python -m experiments.packaged``: write the packaged network, its card, and the results of the model card."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from experiments.packaged.results import FIGURES, Evaluation, results
from experiments.shared.checkpoints import write_checkpoint
from experiments.shared.command import command
from lits_seg.calibrate import CHECKPOINT as CHECKPOINT_KIND
from lits_seg.common.errors import InputError
from lits_seg.common.files import scratch_folder, sha256, write_text
from lits_seg.common.ownership import EXPORTED, json_file
from lits_seg.common.records import as_plain, read_record
from lits_seg.common.settings import Place
from lits_seg.common.tables import json_text
from lits_seg.data.layouts import find_cases
from lits_seg.data.split_record import SplitRecord
from lits_seg.evaluation.score_tables import EVALUATION
from lits_seg.exporters.formats import write_file
from lits_seg.exporters.metadata import describe_export
from lits_seg.exporters.onnx import export_parts
from lits_seg.exporters.parity import parity, slices_of
from lits_seg.inference.exported import ExportedModel
from lits_seg.metrics.statistics import summarise_cases
from lits_seg.models.cost import count_parameters
from lits_seg.packaged.card import CARD, CHECKPOINT, ONNX, SPLIT, Card
from lits_seg.phantom.write import write_phantom
from lits_seg.postprocess import Changes, Rules
from lits_seg.runs.folder import run_of
from lits_seg.runs.provenance import PERMITTED_USE, CheckpointFile
from lits_seg.training.checkpoints import load_module
from lits_seg.training.module import LesionModule

LARGEST = 6_000_000  # bytes of a file
START, END = "<!-- results: written by python -m experiments.packaged -->", "<!-- end of results -->"
KINDS = {
    CHECKPOINT: CHECKPOINT_KIND,
    ONNX: EXPORTED,
    SPLIT: json_file("split", "train", "val", "test"),
    CARD: json_file("card", "research_use_only", "sha256"),  # last: only then do the other files belong together
}


@dataclass(frozen=True)
class Settings:
    """The settings in ``settings.yaml``."""

    ckpt: Place
    evaluations: list[str]
    healthy: Place | None
    output: Place
    page: Place
    name: str
    version: str
    summary: str
    licence: str
    trained_on: str
    measured_on: str
    not_for: str
    rules: Changes


@command("packaged/settings", Settings, KINDS)
def main(cfg: Settings) -> None:
    """Write the files, and print the results."""
    page, output, module = Path(cfg.page), Path(cfg.output), load_module(cfg.ckpt)
    before, after = around_results(page)
    rules = cfg.rules.of(module.rules)
    folds = [read_evaluation(Path(folder), module, rules) for folder in cfg.evaluations]
    require_each_once(cfg.evaluations, folds)
    healthy = None if cfg.healthy is None else read_evaluation(Path(cfg.healthy), module, rules)
    split = SplitRecord.read(run_of(cfg.ckpt) / SPLIT)
    cases = [case for fold in folds for case in fold.cases]
    summary = summarise_cases(cases)
    output.mkdir(parents=True, exist_ok=True)
    with scratch_folder(output, ".packaged-") as scratch:
        write_checkpoint(module, scratch / CHECKPOINT, rules=rules.plain())
        write_onnx(scratch / CHECKPOINT, scratch / ONNX)
        write_text(scratch / SPLIT, json_text(as_plain(split)))
        card = Card(
            research_use_only=PERMITTED_USE,
            name=cfg.name,
            version=cfg.version,
            summary=cfg.summary,
            licence=cfg.licence,
            trained_on=cfg.trained_on,
            measured_on=cfg.measured_on,
            patients=len(cases),
            figures={name: summary[name] for name in FIGURES},
            not_for=cfg.not_for,
            sha256={name: sha256(scratch / name) for name in KINDS if name != CARD},
        )
        write_text(scratch / CARD, json_text(as_plain(card)))
        for name in KINDS:
            (scratch / name).replace(output / name)
    text = results(folds, healthy)
    write_text(page, f"{before}{START}\n\n{text}\n\n{END}{after}")
    print(text, *(f"{output / name}: {(output / name).stat().st_size / 1e6:.2f} MB" for name in KINDS), sep="\n")


def read_evaluation(folder: Path, module: LesionModule, rules: Rules) -> Evaluation:
    """Read the scores of a fold.

    Args:
        folder: output of ``lits-seg evaluate``.
        module: the packaged network.
        rules: its rules.

    Raises:
        InputError: if the file is missing or damaged, or if its network or its rules are others.
    """
    path = folder / EVALUATION
    found = read_record(Evaluation, path, "an evaluation of a checkpoint (lits-seg evaluate ckpt=…)")
    for name, ours, theirs in (
        ("parameters", count_parameters(module.network), found.parameters),
        ("rules", rules.plain(), found.rules.plain()),
    ):
        if ours != theirs:
            raise InputError(path, f"the {name} of the packaged network ({ours})", theirs)
    return found


def require_each_once(folders: Sequence[str], folds: Sequence[Evaluation]) -> None:
    """Require patients, and no patient twice.

    Args:
        folders: the folders, which the error names.
        folds: their evaluations.
    """
    names = [case.case for fold in folds for case in fold.cases]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        raise InputError(", ".join(folders), "patients, each in one fold", ", ".join(twice) or "none")


def write_onnx(checkpoint: Path, path: Path) -> None:
    """Export a checkpoint, and compare the file with the checkpoint on slices of synthetic CT.

    Args:
        checkpoint: the checkpoint.
        path: the file to write; the folder also receives files that are not needed afterwards.

    Raises:
        InputError: if the labels differ, or if a file is too large for the package.
    """
    module, scratch = load_module(checkpoint), path.parent
    metadata = describe_export(checkpoint, module, "onnx", "fp32")
    metadata = replace(metadata, checkpoint=CheckpointFile(checkpoint.name, sha256(checkpoint)))
    write_file(module, export_parts(module, scratch), np.empty(0), path, metadata)
    write_phantom(scratch / "phantom", cases=1, seed=0, size=128, slices=16)
    checked = slices_of(find_cases(scratch / "phantom"), 4, module.context)
    parity(module, ExportedModel(path), *checked).require(path.name, "fp32")
    for file in (checkpoint, path):
        if (size := file.stat().st_size) > LARGEST:
            raise InputError(file.name, f"at most {LARGEST / 1e6:g} MB", f"{size / 1e6:.2f} MB")


def around_results(page: Path) -> tuple[str, str]:
    """Return the text of a page before and after its results; raise ``InputError`` if the page has no marks of them."""
    if not page.is_file():
        raise InputError(page, "the page of the model card", "no such file")
    before, start, rest = page.read_text(encoding="utf-8").partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise InputError(page, f"a page with {START} and {END}", "a page without them")
    return before, after


if __name__ == "__main__":
    main()
