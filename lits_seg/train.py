"""``lits-seg train``: train a network on a fold, then test the best checkpoint on held-out patients."""

if __name__ == "__main__":
    from lits_seg.cli import start

    start("train")

import json
import logging
import signal
import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Timer
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.exceptions import SIGTERMException

from lits_seg.cli import entry
from lits_seg.common.errors import InputError
from lits_seg.common.files import write_text
from lits_seg.common.tables import json_text
from lits_seg.data.datamodule import SliceDataModule
from lits_seg.data.layouts import find_cases
from lits_seg.models.cost import count_macs, count_parameters, measure_latency
from lits_seg.runs.folder import LAST, RESULT, describe_run, held
from lits_seg.runs.result import summary, table
from lits_seg.sweeps.jobs import run_job
from lits_seg.training import baseline
from lits_seg.training.checkpoints import require_same_model
from lits_seg.training.messages import hide_chatter
from lits_seg.training.module import LesionSegmenter
from lits_seg.training.patient_scores import PatientScores

log = logging.getLogger(__name__)


@entry("train")
def main(cfg: DictConfig) -> float | None:
    """Train, test and print the table; return the validation Dice of the best checkpoint, for sweepers."""
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return run_job(cfg)
    folder = Path(cfg.output_dir)
    if rank_zero_only.rank > 0:
        train(cfg, folder)
        return None
    with held(folder):
        describe_run(folder, cfg)
        if (folder / RESULT).exists():
            print(f"{folder}: this run is finished; nothing is repeated")
            result = json.loads((folder / RESULT).read_text())
        else:
            result = train(cfg, folder)
    if result is None:
        return None
    print(table([result]), f"\nrun folder: {folder}", sep="\n")
    return result["val_dice"]


def train(cfg: DictConfig, folder: Path) -> dict[str, Any] | None:
    """One run. The result is also written to ``result.json``; None from ranks other than the first, and from
    a ``fast_dev_run``, which keeps no checkpoint."""
    hide_chatter()
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    try:
        resume = _resume_from(cfg, folder)
        datamodule: SliceDataModule = instantiate(cfg.data)
        module: LesionSegmenter = instantiate(cfg.module)
        trainer: pl.Trainer = instantiate(
            cfg.trainer,
            callbacks=list(instantiate(cfg.callbacks).values()),
            logger=list(instantiate(cfg.logger).values()),
            default_root_dir=folder,  # Slurm's USR1 makes Lightning save, and look for, a checkpoint there
        )
        facts = _facts(cfg, module, datamodule)
        for logger in trainer.loggers:
            logger.log_hyperparams(facts)
        # Lightning ends at the end of a step, or requeues a job of Slurm; it would call our handler after its own.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        trainer.fit(module, datamodule, ckpt_path=resume, weights_only=True)
        return _test(cfg, folder, trainer, module, datamodule, facts)
    except SIGTERMException:
        sys.exit(128 + signal.SIGTERM)  # Lightning alone would end with status 0
    finally:
        _finish_wandb()


def _test(
    cfg: DictConfig,
    folder: Path,
    trainer: pl.Trainer,
    module: LesionSegmenter,
    datamodule: SliceDataModule,
    facts: dict[str, Any],
) -> dict[str, Any] | None:
    if trainer.fast_dev_run:
        trainer.test(module, datamodule, verbose=False)
        return None
    checkpoint = next(saver for saver in trainer.checkpoint_callbacks if saver.monitor is not None)
    timer, cases = (_callback(trainer, kind) for kind in (Timer, PatientScores))
    # Before the test, which brings back the best checkpoint's own clock.
    done = {"steps": trainer.global_step, "train_seconds": timer.time_elapsed("train")}
    if not checkpoint.best_model_path:  # max_steps came before the first validation
        trainer.validate(module, datamodule, verbose=False)
        checkpoint.best_model_score = trainer.callback_metrics[checkpoint.monitor]
        checkpoint.best_model_path = str(folder / LAST.parent / "best.ckpt")
        trainer.save_checkpoint(checkpoint.best_model_path)
    trainer.test(module, datamodule, ckpt_path=checkpoint.best_model_path, weights_only=True, verbose=False)
    if not trainer.is_global_zero:
        return None
    counts = module.overlap.compute().cpu()[:, 0]
    result = {
        **facts,
        "synthetic": datamodule.synthetic,
        **done,
        "val_dice": float(checkpoint.best_model_score),
        "best_checkpoint": str(Path(checkpoint.best_model_path).absolute().relative_to(folder.absolute())),
        "scores": summary(counts),
        "device": _device(trainer),
        "latency": measure_latency(module.network, datamodule.context, datamodule.preprocess.size),
        "cases": cases.cases,
    }
    if cfg.baseline:
        result["baseline"] = _baseline(datamodule)
    write_text(folder / RESULT, json_text(result))
    return result


def _resume_from(cfg: DictConfig, folder: Path) -> str | None:
    if cfg.ckpt_path is None:
        return None
    path = folder / LAST if cfg.ckpt_path == "last" else Path(cfg.ckpt_path)
    if cfg.ckpt_path == "last" and not path.exists():
        log.info("%s: no checkpoint yet, training starts from the beginning", folder)
        return None
    require_same_model(path, _plain(cfg.model))
    return str(path)


def _facts(cfg: DictConfig, module: LesionSegmenter, datamodule: SliceDataModule) -> dict[str, Any]:
    """What dashboards and tables compare runs by."""
    choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    return {
        "model": choices.get("model"),
        "decoder": choices.get("decoder"),
        "levels": list(cfg.decoder.levels),
        "data": str(datamodule.test_root or choices.get("data")),
        "fold": datamodule.fold,
        "folds": datamodule.folds,
        "selected_on_test": datamodule.val_share == 0 and datamodule.test_root is None,
        "seed": cfg.seed,
        "size": datamodule.preprocess.size,
        "parameters": count_parameters(module.network),
        "macs": count_macs(module.network, datamodule.context, datamodule.preprocess.size),
    }


def _baseline(datamodule: SliceDataModule) -> dict[str, Any]:
    train = {case.name: case for case in find_cases(datamodule.root)}
    test = {case.name: case for case in find_cases(datamodule.test_root or datamodule.root)}
    counts, description = baseline.threshold_in_liver(
        [train[case.name] for case in datamodule.split["train"]],
        [test[case.name] for case in datamodule.split["test"]],
    )
    return {"name": "threshold in the true liver", "description": description, "scores": summary(counts)}


def _device(trainer: pl.Trainer) -> str:
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return f"{trainer.world_size} x {name}" if trainer.world_size > 1 else name


def _callback(trainer: pl.Trainer, kind: type) -> Any:
    return next(callback for callback in trainer.callbacks if isinstance(callback, kind))


def _plain(node: DictConfig) -> dict[str, Any]:
    plain = OmegaConf.to_container(node, resolve=True)
    if not isinstance(plain, dict):
        raise InputError("configuration", "a mapping", plain)
    return {str(key): value for key, value in plain.items()}


def _finish_wandb() -> None:
    # W&B keeps one run a process: without this, the runs of a sweep would merge into one.
    if "wandb" in sys.modules and sys.modules["wandb"].run is not None:
        sys.modules["wandb"].finish()
