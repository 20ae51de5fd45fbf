"""``lits-seg train``: train a network on one fold, and test the best checkpoint on the held-out patients."""

if __name__ == "__main__":
    from lits_seg.cli import start

    start("train")

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
from pytorch_lightning.callbacks import Timer, WeightAveraging
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.exceptions import SIGTERMException

from lits_seg.cli import entry
from lits_seg.common.errors import InputError
from lits_seg.common.files import write_text
from lits_seg.common.records import as_plain
from lits_seg.common.tables import json_text
from lits_seg.data.datamodule import SliceDataModule
from lits_seg.data.layouts import find_cases
from lits_seg.models.cascade import learned_part
from lits_seg.models.cost import count_macs, measure_latency
from lits_seg.models.pretrained import load_pretrained
from lits_seg.packaged.card import CHECKPOINT, packaged_file
from lits_seg.runs.folder import BEST, FINISHED, RESULT, claimed, finished, held, in_run
from lits_seg.runs.ranks import can_wait, first_rank_trains, followed
from lits_seg.runs.result import Baseline, Latency, RunFacts, RunResult, mean_scores, read_result, table
from lits_seg.sweeps.jobs import run_job
from lits_seg.training.cascades import UnseenBy, module_settings
from lits_seg.training.checkpoints import fill_weights, network_facts
from lits_seg.training.liver_threshold import threshold_in_liver
from lits_seg.training.messages import hide_chatter
from lits_seg.training.module import LesionModule
from lits_seg.training.patient_scores import PatientScores
from lits_seg.training.precision import chosen_precision
from lits_seg.training.resume import (
    RESUMABLE,
    find_checkpoint,
    recorded_patients,
    require_training_state,
    while_restoring,
)
from lits_seg.training.signatures import TEXTS

log = logging.getLogger(__name__)


@entry("train", texts=TEXTS)
def main(cfg: DictConfig) -> float | None:
    """Train, test and print the scores. Return the validation Dice of the best checkpoint, if any, for sweepers."""
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return run_job(cfg)
    folder = Path(cfg.output_dir)
    if rank_zero_only.rank > 0:
        if first_rank_trains(folder):
            train(cfg, folder)
        return None
    with held(folder, wait=can_wait()), followed(folder) as let_others_train, claimed(folder, cfg):
        if finished(folder):
            result = _result(folder)
            print(f"{folder}: this run is finished; training is not repeated")
        else:
            let_others_train()
            result = train(cfg, folder)
    if result is None:
        return None
    print(table([result]), f"\nrun folder: {folder}", sep="\n")
    return result.val_dice


def train(cfg: DictConfig, folder: Path) -> RunResult | None:
    """Train and test a network.

    Args:
        cfg: the whole configuration.
        folder: folder of the run, for ``result.json`` and all other files.

    Returns:
        The result; None on ranks other than the first, for a ``fast_dev_run``, which keeps no checkpoint, and if there
        is no patient to test. Such a training writes ``finished.json`` instead of ``result.json``.
    """
    hide_chatter()
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    resume = None
    try:
        settings, liver = module_settings(_plain(cfg))
        resume = find_checkpoint(cfg.ckpt_path, folder, settings["model"])
        recorded = recorded_patients(folder, resume, _plain(cfg.data))
        datamodule: SliceDataModule = instantiate(cfg.data, recorded=as_plain(recorded))
        module = LesionModule(**settings)
        others = {}  # checkpoints that may not have seen the test patients, by setting
        if liver is not None:
            module.network.liver.load_state_dict(liver.network.state_dict())
            others["liver_ckpt"] = packaged_file(cfg.liver_ckpt, CHECKPOINT)
        if cfg.weights is not None and resume is None:
            log.info(load_pretrained(learned_part(module.network), cfg.weights))
        if cfg.init_from is not None and resume is None:
            start = packaged_file(cfg.init_from, CHECKPOINT)
            log.info(fill_weights(module, start))
            others["init_from"] = start
        if resume is not None:
            require_training_state(resume, module)
        trainer: pl.Trainer = instantiate(
            cfg.trainer,
            **({} if cfg.minutes is None else {"max_epochs": -1, "max_steps": -1}),
            precision=chosen_precision(cfg.trainer.precision, cfg.trainer.accelerator),
            # The average of the weights is made last, since other callbacks may add modules.
            callbacks=sorted(
                [*instantiate(cfg.callbacks).values(), *(UnseenBy(*other) for other in others.items())],
                key=lambda one: isinstance(one, WeightAveraging),
            ),
            logger=_loggers(cfg, folder, resume),
            default_root_dir=folder,  # where Lightning saves and finds its checkpoint on Slurm's USR1
        )
        facts = _facts(cfg, trainer, module, datamodule)
        for logger in trainer.loggers:
            logger.log_hyperparams(as_plain(facts))
        # Lightning's handler stops after the current step and requeues Slurm jobs. An earlier handler would run, too.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        trainer.fit(module, datamodule, ckpt_path=resume, weights_only=True)
        return _test(cfg, folder, trainer, module, datamodule, facts)
    except SIGTERMException:
        sys.exit(128 + signal.SIGTERM)  # without this, the exception would end the process with status 0
    except Exception as error:
        if resume is None or not while_restoring(error):
            raise
        raise InputError(resume, RESUMABLE, f"a damaged file ({type(error).__name__}: {error})") from error
    finally:
        _finish_wandb()


def _test(
    cfg: DictConfig,
    folder: Path,
    trainer: pl.Trainer,
    module: LesionModule,
    datamodule: SliceDataModule,
    facts: RunFacts,
) -> RunResult | None:
    if trainer.fast_dev_run:
        trainer.test(module, datamodule, verbose=False)
        return None
    # Without a monitor, there is no best checkpoint: the last weights are tested.
    checkpoint = min(trainer.checkpoint_callbacks, key=lambda saver: saver.monitor is None)
    timer, scored = _callback(trainer, Timer), _callback(trainer, PatientScores)
    # Read before the test, which restores the timer and the paths of the best checkpoint.
    steps, seconds = trainer.global_step, timer.time_elapsed("train")
    best, score = Path(checkpoint.best_model_path), checkpoint.best_model_score
    if not checkpoint.best_model_path:  # max_steps was reached before the first validation
        best = folder / BEST
        if checkpoint.monitor is not None:
            trainer.validate(module, datamodule, verbose=False)
            score = trainer.callback_metrics[module.val_dice]
        trainer.save_checkpoint(best, weights_only=False)
    elif checkpoint.monitor not in (None, module.val_dice):  # the best checkpoint has another score than Dice
        trainer.validate(module, datamodule, ckpt_path=best, weights_only=True, verbose=False)
        score = trainer.callback_metrics[module.val_dice]
    if not datamodule.split["test"]:
        log.info("%s: not tested, since every patient trains (data.split=all without data.test_root)", best)
        if trainer.is_global_zero:
            write_text(folder / FINISHED, json_text({"steps": steps, "train_seconds": seconds}))
        return None
    trainer.test(module, datamodule, ckpt_path=best, weights_only=True, verbose=False)
    if not trainer.is_global_zero:
        return None
    result = RunResult(
        **vars(facts),
        synthetic=datamodule.synthetic,
        steps=steps,
        train_seconds=seconds,
        val_dice=None if score is None else float(score),
        best_checkpoint=str(best.resolve().relative_to(folder.resolve())),
        scores=mean_scores([getattr(case.voxels, module.structures[0]) for case in scored.cases]),
        structure=module.structures[0],
        device=_device(trainer),
        precision=str(trainer.precision),
        latency=_latency(module, datamodule),
        cases=tuple(scored.cases),
        baseline=_baseline(datamodule, {case.case for case in scored.cases}) if cfg.baseline else None,
    )
    write_text(folder / RESULT, json_text(as_plain(result)))
    return result


def _result(folder: Path) -> RunResult | None:
    """Read the result of a finished run; return None if it tested no patient."""
    if not (folder / RESULT).exists():
        return None
    try:
        return read_result(folder / RESULT)
    except InputError as error:
        expected = "a readable result (move the file away, and ckpt_path=last tests the best checkpoint again)"
        raise InputError(folder / RESULT, expected, error) from error


def _loggers(cfg: DictConfig, folder: Path, resume: Path | None) -> list[Logger]:
    """Return the loggers; a run that resumes in its own folder continues its W&B run."""
    ids = [path.name.rsplit("-", 1)[-1] for path in sorted(folder.glob("wandb/*run-*-*"))]
    same = bool(ids) and in_run(folder, resume)
    return [
        instantiate(node, id=ids[-1]) if same and name == "wandb" and "id" not in node else instantiate(node)
        for name, node in cfg.logger.items()
    ]


def _facts(cfg: DictConfig, trainer: pl.Trainer, module: LesionModule, datamodule: SliceDataModule) -> RunFacts:
    choices = HydraConfig.get().runtime.choices
    chosen = any(saver.monitor is not None for saver in trainer.checkpoint_callbacks)
    return RunFacts(
        **vars(network_facts(module)),
        model=str(choices["model"]),
        macs=count_macs(module.network, datamodule.context, datamodule.preprocess.size),
        data=str(datamodule.test_root or choices["data"]),
        size=datamodule.preprocess.size,
        selected_on_test=chosen and datamodule.selected_on_test,
        fold=datamodule.fold,
        folds=datamodule.folds,
        seed=cfg.seed,
    )


def _latency(module: LesionModule, datamodule: SliceDataModule) -> Latency:
    image = (datamodule.context, datamodule.preprocess.size)
    has_gpu = torch.cuda.is_available()
    return Latency(
        cpu_ms=measure_latency(module.network, "cpu", *image),
        cpu_threads=torch.get_num_threads(),
        gpu_ms=measure_latency(module.network, "cuda", *image) if has_gpu else None,
        gpu=torch.cuda.get_device_name() if has_gpu else None,
    )


def _baseline(datamodule: SliceDataModule, scored: set[str]) -> Baseline:
    roots = {"": datamodule.root, **{f"{name}-": Path(source.root) for name, source in datamodule.sources.items()}}
    # Files without a counterpart are ignored: with data.on_error=skip, a warning has named them.
    train = {f"{prefix}{case.name}": case for prefix, root in roots.items() for case in find_cases(root, unpaired=[])}
    other = datamodule.test_root
    test = train if other is None else {case.name: case for case in find_cases(other, unpaired=[])}
    counts, description = threshold_in_liver(
        [train[case.name] for case in datamodule.split["train"] if case.lesions_known],
        [test[case.name] for case in datamodule.split["test"] if case.name in scored],
    )
    return Baseline("threshold in the reference liver", description, mean_scores(counts))


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
    # W&B keeps one run per process. Without this, the runs of a sweep would merge into one.
    if "wandb" in sys.modules and sys.modules["wandb"].run is not None:
        sys.modules["wandb"].finish()
