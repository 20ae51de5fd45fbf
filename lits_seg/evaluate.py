"""``lits-seg evaluate``: score masks as LiTS does, compare the masks of two programs, or score a checkpoint."""

if __name__ == "__main__":
    from lits_seg.cli import start

    start("evaluate")

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from omegaconf import OmegaConf

from lits_seg.cli import entry
from lits_seg.common.errors import InputError
from lits_seg.common.ownership import require_free
from lits_seg.common.records import as_plain
from lits_seg.common.settings import Accelerator, BatchSize, CountOrZero, Place, Precision, Workers
from lits_seg.data.layouts import is_phantom
from lits_seg.data.named_splits import count_folds, read_split
from lits_seg.evaluation.mask_scores import score_masks
from lits_seg.evaluation.score_tables import (
    References,
    comparison_files,
    score_files,
    write_comparison,
    write_scores,
)
from lits_seg.packaged.card import CHECKPOINT, packaged_file
from lits_seg.postprocess import Changes
from lits_seg.runs.folder import CONFIG
from lits_seg.runs.provenance import provenance


@dataclass(frozen=True)
class Overlap:
    """Whether a checkpoint may be scored or calibrated on CTs on which it was trained."""

    allow_overlap: bool


@dataclass(frozen=True)
class Settings:
    """The settings of ``conf/commands/evaluate.yaml``."""

    predictions: Place | None
    a: Place | None
    b: Place | None
    ckpt: Place | None
    liver_ckpt: Place | None
    references: Place | None
    split: Place | None
    fold: CountOrZero
    data: Overlap
    output: Place
    grid: Literal["affine", "voxels"]
    store: Place
    accelerator: Accelerator
    precision: Precision
    batch_size: BatchSize
    workers: Workers
    rules: Changes


@entry("commands/evaluate", Settings)
def main(cfg: Settings) -> None:
    """Print the tables and write them into ``output``; fail at the end if masks could not be scored."""
    given = tuple(name for name in ("ckpt", "predictions", "a", "b") if getattr(cfg, name) is not None)
    output, unscored = Path(cfg.output), list[str]()
    if cfg.rules != Changes() and "ckpt" not in given:
        raise InputError("rules", "ckpt=FILE: rules need its probabilities, and the CT", "masks, which have neither")
    if cfg.liver_ckpt is not None and cfg.ckpt is None:
        raise InputError("liver_ckpt", "the lesion stage as well (ckpt=…)", "none")
    if cfg.split is not None and cfg.ckpt is not None:
        raise InputError("split", "masks (predictions=, or a= and b=)", "ckpt, whose run has a split")
    if cfg.predictions and given == ("predictions",):
        require_free(score_files(output))
        text = evaluate_masks(cfg, cfg.predictions, unscored)
    elif cfg.a and cfg.b and given == ("a", "b"):
        require_free(comparison_files(output))
        text = compare_masks(cfg, cfg.a, cfg.b, unscored)
    elif cfg.ckpt and given == ("ckpt",):
        require_free(score_files(output))
        if (output / CONFIG).exists():
            raise InputError(output, "a folder other than a run's, which has its own scores (output=…)", CONFIG)
        # Imported only here, because Lightning starts slowly and scoring masks does not need Lightning.
        from lits_seg.evaluation.checkpoint_scores import evaluate_checkpoint

        liver = cfg.liver_ckpt and packaged_file(cfg.liver_ckpt, CHECKPOINT)
        cfg = replace(cfg, ckpt=packaged_file(cfg.ckpt, CHECKPOINT), liver_ckpt=liver)
        text = evaluate_checkpoint(OmegaConf.create(asdict(cfg)), cfg.rules)
    else:
        found = ", ".join(f"{name}=" for name in given) or "none of them"
        raise InputError("evaluate", "predictions=, or a= and b=, or ckpt=", found)
    print(text, *_scored(cfg), f"written to: {cfg.output}", sep="\n")
    if unscored:
        found = "\n".join([f"{len(unscored)} that cannot be scored:", *unscored])
        raise InputError(cfg.predictions or f"{cfg.a}, {cfg.b}", "masks that can be scored", found)


def evaluate_masks(cfg: Settings, predictions: str, unscored: list[str]) -> str:
    """Score a folder of masks and return the text to print.

    Args:
        cfg: settings of the command.
        predictions: a folder of masks, or a single mask.
        unscored: list to which the error of each mask that cannot be scored is added.
    """
    references = _references(cfg)
    cases = score_masks(predictions, references, cfg.grid, cfg.workers, unscored, True, _patients(cfg))
    return write_scores(Path(cfg.output), cases, _described(references, unscored), _facts(cfg, predictions=predictions))


def compare_masks(cfg: Settings, a: str, b: str, unscored: list[str]) -> str:
    """Score two folders of masks, compare them patient by patient, and return the text to print.

    Args:
        cfg: settings of the command.
        a: the first folder of masks, or a single mask.
        b: the second folder of masks, or a single mask.
        unscored: list to which the error of each mask that cannot be scored is added.
    """
    references = _references(cfg)
    cases_a, cases_b = (
        score_masks(folder, references, cfg.grid, cfg.workers, unscored, patients=_patients(cfg)) for folder in (a, b)
    )
    unscored[:] = dict.fromkeys(unscored)  # a reference that cannot be read is in both
    in_both = {case.case for case in cases_a} & {case.case for case in cases_b}
    if not in_both:
        raise InputError(f"{a}, {b}", "a patient that can be scored in both", "\n".join(["none:", *unscored]))
    cases_a, cases_b = ([case for case in cases if case.case in in_both] for cases in (cases_a, cases_b))
    described = _described(references, unscored)
    return write_comparison(Path(cfg.output), cases_a, cases_b, described, _facts(cfg, a=a, b=b))


def _references(cfg: Settings) -> str:
    if cfg.references is None:
        raise InputError("references", "a folder with reference masks (references=…)", "none")
    return cfg.references


def _patients(cfg: Settings) -> list[str] | None:
    if cfg.split is None:
        return None
    patients = read_split(cfg.split, cfg.fold).test
    if not patients:
        raise InputError(cfg.split, "patients for the test", "none")
    return patients


def _scored(cfg: Settings) -> list[str]:
    """Return a line that names the fold; none if ``split`` has no folds."""
    folds = count_folds(cfg.split) if cfg.split is not None else None
    return [] if folds is None else [f"scored: the test patients of fold {cfg.fold}, one of {folds} in {cfg.split}"]


def _described(references: str, unscored: list[str]) -> References:
    folder = Path(references).parent if Path(references).is_file() else Path(references)
    return References(references, is_phantom(folder) or None, unscored)


def _facts(cfg: Settings, **folders: str) -> dict[str, Any]:
    split = {} if cfg.split is None else {"split": cfg.split, "fold": cfg.fold}
    return {**as_plain(provenance()), **folders, "grid": cfg.grid, **split}
