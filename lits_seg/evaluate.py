"""``python -m lits_seg.evaluate``: score masks the LiTS way, compare two programs' masks, or score a checkpoint."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from lits_seg.cli import entry, require_paths
from lits_seg.common.errors import InputError
from lits_seg.common.records import as_plain
from lits_seg.data.layouts import is_phantom
from lits_seg.evaluation.masks import score_masks
from lits_seg.evaluation.score_tables import References, write_comparison, write_scores
from lits_seg.runs.provenance import provenance


@entry("evaluate")
def main(cfg: DictConfig) -> None:
    """Print the tables and write them into ``output``."""
    require_paths(cfg, "ckpt", "predictions", "a", "b", "references", "output")
    given = tuple(name for name in ("ckpt", "predictions", "a", "b") if cfg[name] is not None)
    if given == ("predictions",):
        print(evaluate_masks(cfg))
    elif given == ("a", "b"):
        print(compare_masks(cfg))
    elif given == ("ckpt",):
        # Scoring masks does not need Lightning, whose import takes seconds.
        from lits_seg.evaluation.checkpoint import evaluate_checkpoint

        print(evaluate_checkpoint(cfg))
    else:
        found = ", ".join(f"{name}=" for name in given) or "none of them"
        raise InputError("evaluate", "predictions=, or a= and b=, or ckpt=", found)
    print(f"written to: {cfg.output}")


def evaluate_masks(cfg: DictConfig) -> str:
    """Score a folder of masks and return the text to print."""
    cases = score_masks(cfg.predictions, _references(cfg), cfg.grid, cfg.workers)
    return write_scores(Path(cfg.output), cases, _described(cfg), _facts(cfg, "predictions"))


def compare_masks(cfg: DictConfig) -> str:
    """Compare two folders of masks patient by patient and return the text to print."""
    a, b = (score_masks(folder, _references(cfg), cfg.grid, cfg.workers) for folder in (cfg.a, cfg.b))
    return write_comparison(Path(cfg.output), a, b, _described(cfg), _facts(cfg, "a", "b"))


def _references(cfg: DictConfig) -> str:
    if cfg.references is None:
        raise InputError("references", "a folder with reference masks (references=…)", "none")
    return cfg.references


def _described(cfg: DictConfig) -> References:
    return References(str(cfg.references), is_phantom(cfg.references) or None)


def _facts(cfg: DictConfig, *folders: str) -> dict[str, Any]:
    return {**as_plain(provenance()), **{name: str(cfg[name]) for name in folders}, "grid": cfg.grid}


if __name__ == "__main__":
    main()
