"""``lits-seg calibrate``: fit the rules and the temperature of a checkpoint on its validation patients."""

if __name__ == "__main__":
    from lits_seg.cli import start

    start("calibrate")

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from omegaconf import OmegaConf

from lits_seg import RESEARCH_USE
from lits_seg.cli import entry
from lits_seg.common.errors import InputError
from lits_seg.common.files import scratch_folder, write_text
from lits_seg.common.ownership import PICTURE, Kind, json_file, require_free, require_not_inputs
from lits_seg.common.records import as_plain
from lits_seg.common.settings import BatchSize, Place, Workers
from lits_seg.common.tables import json_text
from lits_seg.data.stored_case import StoredCase
from lits_seg.evaluation.calibration import calibrate, path_next_to, summary, with_calibration
from lits_seg.evaluation.checkpoint_scores import checkpoint_volumes
from lits_seg.evaluation.reliability import draw
from lits_seg.runs.provenance import provenance
from lits_seg.training.checkpoints import load_module, read_checkpoint
from lits_seg.training.messages import hide_chatter
from lits_seg.training.module import LesionModule


@dataclass(frozen=True)
class Overlap:
    """Whether a checkpoint may be calibrated on CTs on which it was trained."""

    allow_overlap: bool


@dataclass(frozen=True)
class Settings:
    """The settings in ``conf/commands/calibrate.yaml``."""

    ckpt: Place
    references: Place | None
    data: Overlap
    store: Place
    batch_size: BatchSize
    workers: Workers
    crf: bool


@entry("commands/calibrate", Settings)
def main(cfg: Settings) -> None:
    """Write the calibrated checkpoint, a report and a reliability diagram next to the checkpoint."""
    hide_chatter()
    target, report, picture = (path_next_to(cfg.ckpt, ending) for ending in (".ckpt", ".json", ".png"))
    kinds = {target: CHECKPOINT, report: json_file("calibration", "temperature", "trials"), picture: PICTURE}
    require_not_inputs(kinds, [Path(cfg.ckpt)])
    require_free(kinds)
    module = load_module(cfg.ckpt)
    found = calibrate(module, _cases(cfg, module), cfg.crf)
    with scratch_folder(target.parent, ".calibrate-") as scratch:
        torch.save(with_calibration(read_checkpoint(cfg.ckpt), found), scratch / target.name)
        draw(found, scratch / picture.name)
        write_text(scratch / report.name, json_text({**as_plain(provenance(cfg.ckpt)), **as_plain(found)}))
        for path in (picture, report, target):
            (scratch / path.name).replace(path)
    print(summary(found), f"written: {target}, {report.name}, {picture.name}", RESEARCH_USE, sep="\n")


def _cases(cfg: Settings, module: LesionModule) -> list[StoredCase]:
    """Return the validation patients of the run, or the patients in ``references``."""
    datamodule = checkpoint_volumes(OmegaConf.create(asdict(cfg)), module)
    datamodule.prepare_data()
    datamodule.setup("test" if cfg.references else "fit")
    cases = datamodule.split["test" if cfg.references else "val"]
    if not cases:
        raise InputError(cfg.ckpt, "a run with validation patients, or references=FOLDER", "a run without")
    return cases


def _is_checkpoint(path: Path) -> bool:
    try:
        read_checkpoint(path)
    except InputError:
        return False
    return True


CHECKPOINT = Kind("checkpoint", _is_checkpoint)
