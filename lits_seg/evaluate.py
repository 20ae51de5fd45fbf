"""``python -m lits_seg.evaluate``: score masks the LiTS way, compare two programs' masks, or score a checkpoint."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from lits_seg import __version__
from lits_seg.cli import entry, require_paths
from lits_seg.common.errors import InputError
from lits_seg.data.layouts import is_phantom
from lits_seg.evaluation.masks import score_masks
from lits_seg.evaluation.score_tables import DEFINITIONS, write_comparison, write_scores


@entry("evaluate")
def main(cfg: DictConfig) -> None:
    """Prints the tables and writes them into ``output``."""
    require_paths(cfg, "ckpt", "predictions", "a", "b", "references", "output")
    given = tuple(name for name in ("ckpt", "predictions", "a", "b") if cfg[name] is not None)
    if given == ("predictions",):
        print(evaluate_masks(cfg))
    elif given == ("a", "b"):
        print(compare_masks(cfg))
    elif given == ("ckpt",):
        from lits_seg.evaluation.checkpoint import (
            evaluate_checkpoint,  # masks do without Lightning, which starts slowly
        )

        print(evaluate_checkpoint(cfg))
    else:
        found = ", ".join(f"{name}=" for name in given) or "none of them"
        raise InputError("evaluate", "predictions=, or a= and b=, or ckpt=", found)
    print(f"written to: {cfg.output}")


def evaluate_masks(cfg: DictConfig) -> str:
    """Scores a folder of masks."""
    cases = score_masks(cfg.predictions, _references(cfg), cfg.grid, cfg.workers)
    facts = {"predictions": str(cfg.predictions), **_reference_facts(cfg)}
    return write_scores(Path(cfg.output), cases, facts)


def compare_masks(cfg: DictConfig) -> str:
    """Scores two folders of masks and compares them patient by patient."""
    a, b = (score_masks(folder, _references(cfg), cfg.grid, cfg.workers) for folder in (cfg.a, cfg.b))
    return write_comparison(Path(cfg.output), a, b, {"a": str(cfg.a), "b": str(cfg.b), **_reference_facts(cfg)})


def _references(cfg: DictConfig) -> str:
    if cfg.references is None:
        raise InputError("references", "a folder with reference masks (references=…)", "none")
    return cfg.references


def _reference_facts(cfg: DictConfig) -> dict[str, Any]:
    return {
        "references": str(cfg.references),
        "synthetic": is_phantom(cfg.references) or None,  # None: not known
        "grid": cfg.grid,
        "definitions": DEFINITIONS,
        "research_use_only": True,
        "lits_seg": __version__,
    }


if __name__ == "__main__":
    main()
