"""``lits-seg calibrate``: fit the rules and the temperature of a checkpoint on patients that did not train it."""

if __name__ == "__main__":
    from lits_seg.cli import start

    start("calibrate")

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf

from lits_seg import RESEARCH_USE
from lits_seg.cli import entry
from lits_seg.common.errors import InputError
from lits_seg.common.files import scratch_folder, write_text
from lits_seg.common.ownership import PICTURE, Kind, json_file, require_free, require_not_inputs
from lits_seg.common.records import as_plain
from lits_seg.common.settings import Accelerator, BatchSize, Place, Workers
from lits_seg.common.tables import json_text
from lits_seg.evaluate import Overlap
from lits_seg.evaluation.calibration import Labelled, calibrate, path_next_to, summary, with_calibration
from lits_seg.evaluation.checkpoint_scores import checkpoint_volumes
from lits_seg.evaluation.reliability import draw
from lits_seg.models import for_inference
from lits_seg.packaged import card as packaged
from lits_seg.runs.provenance import provenance
from lits_seg.training.checkpoints import load_module, read_checkpoint
from lits_seg.training.messages import hide_chatter


@dataclass(frozen=True)
class Settings:
    """The settings in ``conf/commands/calibrate.yaml``."""

    ckpt: Place
    references: Place | None
    folds: list[str] | None
    data: Overlap
    store: Place
    accelerator: Accelerator
    batch_size: BatchSize
    workers: Workers
    crf: bool


@entry("commands/calibrate", Settings)
def main(cfg: Settings) -> None:
    """Write calibrated checkpoints, a report and a reliability diagram next to the checkpoints."""
    hide_chatter()
    if cfg.ckpt == packaged.NAME:  # the results would lie in the package
        hint = f"(copy {packaged.CHECKPOINT} and {packaged.SPLIT} from {packaged.FOLDER}, and name the copy)"
        expected = "a checkpoint in your own folder, in which the calibrated one is written"
        raise InputError("ckpt", expected, f"{packaged.NAME} {hint}")
    target, report, picture = (path_next_to(cfg.ckpt, ending) for ending in (".ckpt", ".json", ".png"))
    copies = {path: path_next_to(path, ".ckpt") for path in cfg.folds or ()}
    kinds = {
        **dict.fromkeys((target, *copies.values()), CHECKPOINT),
        report: json_file("calibration", "temperature", "trials"),
        picture: PICTURE,
    }
    require_not_inputs(kinds, [Path(path) for path in (cfg.ckpt, *copies)])
    require_free(kinds)
    checkpoint = read_checkpoint(cfg.ckpt)
    if cfg.folds is None:
        groups = [_labelled(cfg, "test" if cfg.references else "val")]
    else:
        groups = _folds(cfg, cfg.folds, checkpoint)
    with scratch_folder(target.parent, ".calibrate-") as scratch:
        found = calibrate(groups, scratch, cfg.batch_size, cfg.crf)
        torch.save(with_calibration(checkpoint, found), scratch / target.name)
        draw(found, scratch / picture.name)
        about = {**as_plain(provenance(cfg.ckpt)), "folds": cfg.folds}
        write_text(scratch / report.name, json_text({**about, **as_plain(found)}))
        for path in (picture, report, target):
            (scratch / path.name).replace(path)
    for fold, copy in copies.items():  # to score, by evaluate, what the network does with these rules
        with scratch_folder(copy.parent, ".calibrate-") as scratch:
            torch.save(with_calibration(read_checkpoint(fold), found), scratch / copy.name)
            (scratch / copy.name).replace(copy)
    written = ", ".join(map(str, (target, report.name, picture.name, *copies.values())))
    print(summary(found), f"written: {written}", RESEARCH_USE, sep="\n")


def _labelled(cfg: Settings, part: Literal["val", "test"]) -> Labelled:
    """Return the network of ``cfg.ckpt`` with patients of its run, or with those in ``references``."""
    # Only its choice of a device is used, which is that of evaluate ckpt=.
    trainer = pl.Trainer(accelerator=cfg.accelerator, devices=1, logger=False, enable_checkpointing=False)
    module = load_module(cfg.ckpt)
    volumes = checkpoint_volumes(OmegaConf.create(asdict(cfg)), module, part)
    volumes.prepare_data()
    volumes.setup("test" if part == "test" else "fit")
    module.network = for_inference(module.network)
    return Labelled(module.to(trainer.strategy.root_device), volumes, part)


def _folds(cfg: Settings, folds: list[str], checkpoint: dict) -> list[Labelled]:
    """Return the network of each fold with its test patients.

    Args:
        cfg: the settings.
        folds: the checkpoints of the folds.
        checkpoint: content of the checkpoint to calibrate, whose network and pre-processing the folds must have.

    Raises:
        InputError: if a fold is repeated, is the checkpoint itself or has another network, or if two folds test the
            same patient.
    """
    if cfg.references is not None:
        raise InputError("folds and references", "one of them", "both")
    if not folds or len({Path(path).resolve() for path in (cfg.ckpt, *folds)}) <= len(folds):
        raise InputError("folds", f"checkpoints of folds, each once and not {cfg.ckpt}", ", ".join(folds) or "none")
    for path in folds:
        settings = read_checkpoint(path)["hyper_parameters"]
        for name in ("model", "preprocess"):
            if settings[name] != checkpoint["hyper_parameters"][name]:
                raise InputError(
                    path, f"{name} as in {cfg.ckpt}: {checkpoint['hyper_parameters'][name]}", settings[name]
                )
    groups = [_labelled(replace(cfg, ckpt=path), "test") for path in folds]
    names = [case.name for group in groups for case in group.cases]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError("folds", "each patient tested by one fold", f"more than one: {', '.join(twice)}")
    return groups


def _is_checkpoint(path: Path) -> bool:
    try:
        read_checkpoint(path)
    except InputError:
        return False
    return True


CHECKPOINT = Kind("checkpoint", _is_checkpoint)
