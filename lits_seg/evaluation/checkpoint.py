"""The third door of ``evaluate``: a checkpoint, on its own test patients or on other volumes."""

import json
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from lits_seg.common.errors import InputError
from lits_seg.data.datamodule import SliceDataModule
from lits_seg.evaluation.score_tables import DEFINITIONS, write_scores
from lits_seg.models.cost import count_macs
from lits_seg.runs.folder import CONFIG, SPLIT
from lits_seg.runs.renamed import with_new_names
from lits_seg.runs.result import summary, table
from lits_seg.training.callbacks import progress
from lits_seg.training.checkpoints import describe_network, load_segmenter
from lits_seg.training.messages import hide_chatter
from lits_seg.training.module import LesionModule
from lits_seg.training.patient_scores import PatientScores


def evaluate_checkpoint(cfg: DictConfig) -> str:
    """Scores a checkpoint on whole volumes, without keeping its masks; draws overlays, too."""
    hide_chatter()
    segmenter = load_segmenter(cfg.ckpt)
    datamodule = checkpoint_volumes(cfg, segmenter)
    output = Path(cfg.output)
    output.mkdir(parents=True, exist_ok=True)
    scores = PatientScores(output)
    trainer = pl.Trainer(
        accelerator=cfg.accelerator,
        devices=1,
        precision=cfg.precision,
        logger=False,
        callbacks=[scores, progress()],
        use_distributed_sampler=False,
    )
    trainer.test(segmenter, datamodule, verbose=False)
    facts = _facts(cfg, segmenter, datamodule)
    result = {**facts, "scores": summary(segmenter.overlap.compute()[:, 0].cpu())}
    about = {"references": facts["data"], "definitions": DEFINITIONS, "research_use_only": True}
    warnings = _known_patients(cfg, [case["case"] for case in scores.cases])
    return "\n\n".join((write_scores(output, scores.cases, {**result, **about}), table([result]), *warnings))


def _known_patients(cfg: DictConfig, names: list[str]) -> list[str]:
    """A warning where patients have the names of such that the checkpoint's own run trained or was chosen on."""
    split = Path(cfg.ckpt).absolute().parent.parent / SPLIT
    if cfg.references is None or not split.exists():
        return []
    known = json.loads(split.read_text())
    same = [name for name in names if name in known["train"] + known["val"]]
    if not same:
        return []
    return [
        f"warning: the run of this checkpoint trained or was chosen on patients of the same name: {', '.join(same)}"
    ]


def checkpoint_volumes(cfg: DictConfig, segmenter: LesionModule) -> SliceDataModule:
    """The volumes in ``cfg.references``, or those of the run that ``cfg.ckpt`` is from."""
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
    config = Path(cfg.ckpt).absolute().parent.parent / CONFIG
    if not config.exists():
        raise InputError(cfg.ckpt, "references=FOLDER, or a checkpoint within its run folder", f"no {config}")
    return instantiate(with_new_names(OmegaConf.to_container(OmegaConf.load(config).data)))


def _facts(cfg: DictConfig, segmenter: LesionModule, datamodule: SliceDataModule) -> dict[str, Any]:
    network = describe_network(segmenter)
    return {
        "checkpoint": str(cfg.ckpt),
        "model": network["network"],
        "decoder": network["decoder"],
        "parameters": network["parameters"],
        "data": str(datamodule.test_root or datamodule.root),
        "synthetic": datamodule.synthetic or None,
        "selected_on_test": datamodule.val_share == 0 and datamodule.test_root is None,
        "size": datamodule.preprocess.size,
        "macs": count_macs(segmenter.network, datamodule.context, datamodule.preprocess.size),
    }
