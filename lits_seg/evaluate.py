"""``python -m lits_seg.evaluate``: score masks the LiTS way, compare two programs' masks, or score a checkpoint."""

import json
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from lits_seg import runs
from lits_seg.callbacks import CaseScores, Overlays, progress
from lits_seg.checkpoint import describe_network, load_segmenter
from lits_seg.cli import entry
from lits_seg.complexity import count_macs
from lits_seg.data.datamodule import SliceDataModule
from lits_seg.errors import InputError
from lits_seg.masks import score_masks
from lits_seg.module import LesionSegmenter
from lits_seg.report import summary, table
from lits_seg.scores import is_synthetic, write_comparison, write_scores


@entry("evaluate")
def main(cfg: DictConfig) -> None:
    """Prints the tables and writes them into ``output``."""
    given = tuple(name for name in ("ckpt", "predictions", "a", "b") if cfg[name] is not None)
    if given == ("predictions",):
        print(evaluate_masks(cfg))
    elif given == ("a", "b"):
        print(compare_masks(cfg))
    elif given == ("ckpt",):
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


def evaluate_checkpoint(cfg: DictConfig) -> str:
    """Scores a checkpoint; writes ``evaluation.json``, ``test_cases.csv`` and ``overlays.png``."""
    segmenter = load_segmenter(cfg.ckpt)
    datamodule = _volumes(cfg, segmenter)
    output = Path(cfg.output)
    output.mkdir(parents=True, exist_ok=True)
    cases = CaseScores(output)
    trainer = pl.Trainer(
        accelerator=cfg.accelerator,
        devices=1,
        precision=cfg.precision,
        logger=False,
        callbacks=[cases, Overlays(output), progress()],
        use_distributed_sampler=False,
    )
    trainer.test(segmenter, datamodule, verbose=False)
    result = {**_facts(cfg, segmenter, datamodule), "scores": summary(segmenter.overlap.compute()[:, 0].cpu())}
    runs.write_text(output / "evaluation.json", json.dumps({**result, "cases": cases.rows}, indent=2))
    return table([result])


def _references(cfg: DictConfig) -> str:
    if cfg.references is None:
        raise InputError("references", "a folder with reference masks (references=…)", "none")
    return cfg.references


def _reference_facts(cfg: DictConfig) -> dict[str, Any]:
    return {
        "references": str(cfg.references),
        "synthetic": is_synthetic(cfg.references),
        "grid": cfg.grid,
        "definitions": "LiTS challenge (2018 correction); lesions connect by faces; undefined values are null",
        "research_use_only": True,
        "lits_seg": runs.versions()["lits-seg"],
    }


def _volumes(cfg: DictConfig, segmenter: LesionSegmenter) -> SliceDataModule:
    if cfg.references is not None:
        return SliceDataModule(
            root=cfg.references,
            test_root=cfg.references,
            store=cfg.store,
            preprocess=segmenter.preprocess,
            context=segmenter.context,
            eval_batch_size=cfg.batch_size,
            workers=cfg.workers,
        )
    config = Path(cfg.ckpt).absolute().parent.parent / runs.CONFIG
    if not config.exists():
        raise InputError(cfg.ckpt, "references=FOLDER, or a checkpoint within its run folder", f"no {config}")
    return instantiate(OmegaConf.load(config).data)


def _facts(cfg: DictConfig, segmenter: LesionSegmenter, datamodule: SliceDataModule) -> dict[str, Any]:
    network = describe_network(segmenter)
    return {
        "checkpoint": str(cfg.ckpt),
        "model": network["network"],
        "decoder": network["decoder"],
        "parameters": network["parameters"],
        "data": str(datamodule.test_root or datamodule.root),
        "synthetic": datamodule.synthetic,
        "selected_on_test": datamodule.val_share == 0 and datamodule.test_root is None,
        "size": datamodule.preprocess.size,
        "macs": count_macs(segmenter.network, datamodule.context, datamodule.preprocess.size),
    }


if __name__ == "__main__":
    main()
