"""``lits-seg evaluate``: score masks as LiTS does, compare the masks of two programs, or score a checkpoint."""

if __name__ == "__main__":
    from lits_seg.cli import start

    start("evaluate")

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from omegaconf import OmegaConf

from lits_seg.cli import entry
from lits_seg.common.errors import InputError
from lits_seg.common.records import as_plain
from lits_seg.common.settings import BatchSize, Place, Workers
from lits_seg.data.layouts import is_phantom
from lits_seg.evaluation.mask_scores import score_masks
from lits_seg.evaluation.score_tables import References, write_comparison, write_scores
from lits_seg.runs.provenance import provenance


@dataclass(frozen=True)
class Settings:
    """The settings of ``conf/commands/evaluate.yaml``."""

    predictions: Place | None
    a: Place | None
    b: Place | None
    ckpt: Place | None
    references: Place | None
    output: Place
    grid: Literal["affine", "voxels"]
    store: Place
    accelerator: str
    precision: str
    batch_size: BatchSize
    workers: Workers


@entry("commands/evaluate", Settings)
def main(cfg: Settings) -> None:
    """Print the tables and write them into ``output``."""
    given = tuple(name for name in ("ckpt", "predictions", "a", "b") if getattr(cfg, name) is not None)
    if cfg.predictions and given == ("predictions",):
        print(evaluate_masks(cfg, cfg.predictions))
    elif cfg.a and cfg.b and given == ("a", "b"):
        print(compare_masks(cfg, cfg.a, cfg.b))
    elif given == ("ckpt",):
        # Imported only here, because Lightning starts slowly and scoring masks does not need Lightning.
        from lits_seg.evaluation.checkpoint_scores import evaluate_checkpoint

        print(evaluate_checkpoint(OmegaConf.create(asdict(cfg))))
    else:
        found = ", ".join(f"{name}=" for name in given) or "none of them"
        raise InputError("evaluate", "predictions=, or a= and b=, or ckpt=", found)
    print(f"written to: {cfg.output}")


def evaluate_masks(cfg: Settings, predictions: str) -> str:
    """Score a folder of masks and return the text to print.

    Args:
        cfg: settings of the command.
        predictions: a folder of masks, or a single mask.
    """
    references = _references(cfg)
    cases = score_masks(predictions, references, cfg.grid, cfg.workers)
    return write_scores(Path(cfg.output), cases, _described(references), _facts(cfg, predictions=predictions))


def compare_masks(cfg: Settings, a: str, b: str) -> str:
    """Score two folders of masks, compare them patient by patient, and return the text to print.

    Args:
        cfg: settings of the command.
        a: the first folder of masks, or a single mask.
        b: the second folder of masks, or a single mask.
    """
    references = _references(cfg)
    cases_a, cases_b = (score_masks(folder, references, cfg.grid, cfg.workers) for folder in (a, b))
    return write_comparison(Path(cfg.output), cases_a, cases_b, _described(references), _facts(cfg, a=a, b=b))


def _references(cfg: Settings) -> str:
    if cfg.references is None:
        raise InputError("references", "a folder with reference masks (references=…)", "none")
    return cfg.references


def _described(references: str) -> References:
    return References(references, is_phantom(references) or None)


def _facts(cfg: Settings, **folders: str) -> dict[str, Any]:
    return {**as_plain(provenance()), **folders, "grid": cfg.grid}
