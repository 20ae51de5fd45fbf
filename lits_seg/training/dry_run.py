"""Check all settings of a training before anything is read, computed or written.

Settings are first compared with the signatures of the classes in the configuration. Then every object is made once, the
network without memory for its weights, and network, loss and augmentation are called on an empty slice.
"""

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytorch_lightning as pl
import torch
from annotated_types import Ge, Gt, Le, Len, MinLen
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.utils import instantiate
from monai.transforms import Compose
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import ModelCheckpoint, Timer
from torch import Generator, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lits_seg.cli import errors_for_users
from lits_seg.common.constructors import TARGET, require_arguments
from lits_seg.common.errors import InputError
from lits_seg.common.settings import (
    Count,
    CountOrZero,
    Place,
    Seed,
    Width,
    Widths,
    annotations,
    arguments,
    as_typed,
    read_settings,
    require_json,
)
from lits_seg.data.augment import RotateZoomBend
from lits_seg.data.datamodule import SliceDataModule
from lits_seg.data.preprocess import Preprocess
from lits_seg.metrics.overlap import SCORES
from lits_seg.models.upsample import UPSAMPLERS
from lits_seg.runs.naming import require_decoder_applies
from lits_seg.training.messages import hide_chatter
from lits_seg.training.module import LesionModule
from lits_seg.training.patient_scores import PatientScores

LARGEST = 2_000_000_000  # parameters of a network


@dataclass(frozen=True)
class Decoder:
    """The group ``decoder``."""

    levels: Annotated[list[Literal[tuple(UPSAMPLERS)]], Len(1, 8)]  # type: ignore[valid-type]


@dataclass(frozen=True)
class Settings:
    """The settings in ``conf/train.yaml`` that are no arguments of a class."""

    seed: Seed
    ckpt_path: Place | None
    init_from: Place | None
    weights: Place | None
    minutes: Annotated[float, Gt(0), Le(1_000_000)] | None
    baseline: bool
    runs: Place
    name: Place
    sweep: Place | None
    output_dir: Place
    store: Place
    decoder: Decoder


# Settings of train that are texts stay as typed.
TEXTS = {**dict(annotations(Settings)), **arguments(SliceDataModule, "data.")}
# The class of the object that each group makes. An optional group may be null.
KINDS: dict[str, Any] = {
    "augment": RotateZoomBend | Compose,
    "data": SliceDataModule,
    "model": nn.Module,
    "loss": nn.Module,
    "optimizer": Optimizer,
    "scheduler": LRScheduler,
    "trainer": pl.Trainer,
}
OPTIONAL = ("augment", "scheduler")
LISTS: dict[str, type] = {"callbacks": pl.Callback, "logger": pl.loggers.Logger}
GROUPS = (*KINDS, *LISTS, "module")
GIVEN = {"optimizer": ("params",), "scheduler": ("optimizer",), "trainer": ("callbacks", "logger", "default_root_dir")}
MONITORED = [f"{part}{name}" for part in ("", "liver/") for name in (*SCORES, "dice_global")]
# Limits that classes of other packages do not have, or that other parts of a run rely on.
PRECISION = Literal["auto", "16-true", "16-mixed", "bf16-true", "bf16-mixed", "32-true", "64-true", 16, 32, 64]
LEARNING_RATE = Annotated[float, Gt(0), Le(10)]
LIMITS: dict[str, Any] = {
    "model.spatial_dims": Literal[2],
    "model.in_channels": Width,
    "model.out_channels": Annotated[Literal[2, 3], "2 (lesion or not) or 3 (background, liver, lesion)"],
    "model.features": Widths,
    "model.filters": Widths,
    "model.init_filters": Width,
    "optimizer.lr": LEARNING_RATE,
    "optimizer.weight_decay": Annotated[float, Ge(0), Le(10)],
    "scheduler.max_lr": LEARNING_RATE,
    "trainer.devices": Annotated[int, Ge(-1), Le(1024)] | Annotated[str, MinLen(1)] | list[CountOrZero],
    "trainer.fast_dev_run": bool | Annotated[int, Ge(0), Le(1000)],
    "trainer.max_epochs": Annotated[int, Ge(-1), Le(1_000_000)] | None,
    "trainer.max_steps": Annotated[int, Ge(-1), Le(1_000_000_000)],
    "trainer.max_time": Annotated[None, "null, since another setting limits the time (minutes=720)"],
    "trainer.check_val_every_n_epoch": Count | None,
    "trainer.num_sanity_val_steps": Annotated[int, Ge(-1), Le(1_000_000)] | None,
    "trainer.precision": PRECISION,
    "trainer.log_every_n_steps": CountOrZero,
    "trainer.use_distributed_sampler": Literal[False],
    "callbacks.best.monitor": Literal[("val/loss", *(f"val/{name}" for name in MONITORED))],
    "callbacks.best.mode": Literal["min", "max"],
    "callbacks.best.filename": Place,
    "callbacks.last.filename": Literal["last"],
    "logger.wandb.notes": str | None,
    "logger.wandb.group": str | None,
    "logger.wandb.tags": list[str] | None,
}


class DryRun(Callback):
    """Check the settings before Hydra makes the run's folder."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """End the command with a message if a setting is invalid."""
        HydraConfig.instance().set_config(config)  # for interpolations; Hydra itself sets it only later
        with errors_for_users():  # exits: Hydra would turn other exceptions into warnings
            require_settings(config)


def require_settings(config: DictConfig) -> None:
    """Check the configuration of ``train``.

    Args:
        config: the composed configuration, with the node ``hydra``.

    Raises:
        InputError: if a setting is invalid; names its key.
    """
    plain = resolved(config)
    require_signatures(plain)
    require_dry_run(plain)
    require_decoder_applies(plain["model"], config.hydra.overrides.task)


def require_signatures(plain: Mapping[str, Any]) -> None:
    """Compare the resolved settings with the signatures of their classes, see ``require_settings``."""
    require_json(plain)
    read_settings(Settings, {key: value for key, value in plain.items() if key not in GROUPS})
    for key, kind in KINDS.items():
        if plain[key] is not None or key not in OPTIONAL:
            node = _with_steps(plain[key], 1) if key == "scheduler" else plain[key]
            require_arguments(key, node, kind, given=GIVEN.get(key, ()), limits=LIMITS)
    for group, kind in LISTS.items():
        for name, node in _mapping(group, plain[group]).items():
            require_arguments(f"{group}.{name}", node, kind, limits=LIMITS)
    require_arguments("module", plain["module"], LesionModule)
    copied = {**plain, "preprocess": plain["data"]["preprocess"]}
    for key, value in plain["module"].items():
        if not key.startswith("_") and value != copied[key]:
            raise InputError(f"module.{key}", f"the value of {key}", "another value")


def require_dry_run(plain: Mapping[str, Any]) -> None:
    """Make every object of the resolved settings once, see ``require_settings``."""
    hide_chatter()
    with warnings.catch_warnings(action="ignore"):  # the training itself shows them
        datamodule = _made("data", plain["data"])
        _require_network(plain["model"], datamodule.context, datamodule.preprocess)
        _require_loss(plain["loss"], plain["model"]["out_channels"])
        _require_augmentation(datamodule)
        optimizer = _made("optimizer", plain["optimizer"], params=[nn.Parameter(torch.zeros(1))])
        if plain["scheduler"] is not None:
            _made("scheduler", _with_steps(plain["scheduler"], 1000), optimizer=optimizer)
        _require_trainer(plain)


def resolved(config: DictConfig) -> dict[str, Any]:
    """Return the settings in plain containers.

    Raises:
        InputError: if a group is missing, or the settings that name the run's folder are invalid.
    """
    settings = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    for key in GROUPS:
        if key not in settings or (settings[key] is None and key not in OPTIONAL):
            raise InputError(key, f"a choice ({key}=…, see lits-seg train --help)", "null")
    run = OmegaConf.is_interpolation(settings, "output_dir")  # Hydra's folder, known when the run has started
    settings.output_dir = "folder of the run" if run else settings.output_dir
    plain = {key: _plain(settings, key) for key in map(str, settings) if key not in GROUPS}
    read_settings(Settings, plain)
    if run:
        plain["output_dir"] = settings.output_dir = str(Path(config.hydra.run.dir).absolute())
    plain |= {key: _plain(settings, key) for key in GROUPS}
    return plain


def _plain(settings: DictConfig, key: str) -> Any:
    value = settings[key]
    if isinstance(value, DictConfig):
        return OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _mapping(key: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(key, "a mapping", value)
    return value


def _with_steps(settings: Any, steps: int) -> Any:
    if not isinstance(settings, Mapping):
        return settings
    return {key: steps if value == "auto" else value for key, value in settings.items()}


def _made(key: str, config: Mapping[str, Any], **given: Any) -> Any:
    """Make an object; report errors of its class as errors of the configuration's key."""
    try:
        return instantiate(config, **given)
    except Exception as error:  # classes of other packages raise errors of any kind
        raise _blamed(key, config, error) from None


def _blamed(key: str, config: Mapping[str, Any], error: Exception) -> InputError:
    cause = error.__cause__ or error  # Hydra wraps the errors of classes
    if isinstance(cause, InputError):
        return cause
    reason = " ".join(str(cause).split()) or type(cause).__name__
    return InputError(key, f"settings with which {config[TARGET]} works", reason)


def _require_network(config: Mapping[str, Any], context: int, preprocess: Preprocess) -> None:
    """Require that the network maps slices to logits of the same size; its weights take no memory."""
    classes, size = config["out_channels"], preprocess.size
    with torch.device("meta"):
        network = _made("model", config)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        if parameters > LARGEST:
            raise InputError("model", f"a network of at most {LARGEST:,} parameters", f"{parameters:,}")
        try:
            with torch.no_grad():
                logits = network.train()(torch.zeros(2, context, size, size))
        except Exception as error:  # a layer may raise anything
            raise _blamed(f"model, for {context} x {size} x {size} pixels", config, error) from None
    if logits.shape != (2, classes, size, size):
        expected = f"a network that maps (B, {context}, {size}, {size}) to (B, {classes}, {size}, {size})"
        raise InputError("model", expected, tuple(logits.shape))


def _require_loss(config: Mapping[str, Any], classes: int) -> None:
    loss = _made("loss", config)
    if hasattr(loss, "set_counts"):
        loss.set_counts([100] * classes)
    try:
        value = loss(torch.zeros(2, classes, 8, 8), torch.zeros(2, 8, 8, dtype=torch.long))
    except Exception as error:  # a loss may raise anything
        raise _blamed("loss", config, error) from None
    if not torch.isfinite(value).all():
        raise InputError("loss", "a loss that is finite for slices without lesion", float(value))


def _require_augmentation(data: SliceDataModule) -> None:
    image = torch.zeros(1, data.context, data.preprocess.size, data.preprocess.size)
    labels = torch.zeros(1, *image.shape[2:])
    if isinstance(data.augment, RotateZoomBend):
        data.augment(image, labels, Generator().manual_seed(0))
    elif data.augment is not None:
        data.augment.set_random_state(seed=0)
        try:
            data.augment({"image": image[0], "label": labels})
        except Exception as error:  # a transform may raise anything
            found = error.__cause__ or error
            raise InputError("augment", "settings with which MONAI's transforms work", found) from None


def _require_trainer(plain: Mapping[str, Any]) -> None:
    folder = Path(plain["output_dir"]).absolute()
    for name, node in plain["callbacks"].items():
        for key in ("dirpath", "folder"):
            if key in node and not Path(node[key] or "").absolute().is_relative_to(folder):
                found = as_typed(node[key])
                raise InputError(f"callbacks.{name}.{key}", f"a folder in the run's folder {folder}", found)
    callbacks = [_made(f"callbacks.{name}", node) for name, node in plain["callbacks"].items()]
    loggers = [_made(f"logger.{name}", node) for name, node in plain["logger"].items()]
    config, classes = dict(plain["trainer"]), plain["model"]["out_channels"]
    if config.get("precision") == "auto":  # chosen by the training, see training.precision
        config["precision"] = "32-true"
    trainer: pl.Trainer = _made("trainer", config, callbacks=callbacks, logger=loggers, default_root_dir=folder)
    monitored = any(saver.monitor is not None for saver in trainer.checkpoint_callbacks)
    kinds = {Timer: True, PatientScores: True, ModelCheckpoint: monitored}
    missing = [kind.__name__ for kind, used in kinds.items() if not used or not _has(callbacks, kind)]
    if missing:
        raise InputError("callbacks", "Timer, PatientScores, and a ModelCheckpoint with a monitor", f"no {missing[0]}")
    if any("/liver/" in str(saver.monitor) for saver in trainer.checkpoint_callbacks) and classes == 2:
        raise InputError("callbacks.best.monitor", "a score of lesions, since model.out_channels=2", "one of the liver")
    if trainer.fast_dev_run:
        return
    timed = any(node.get("minutes") is not None for node in plain["callbacks"].values())
    endless = trainer.max_epochs == -1 and trainer.max_steps == -1 and not timed
    if trainer.max_epochs == 0 or trainer.max_steps == 0 or endless:
        found = f"max_epochs={trainer.max_epochs}, max_steps={trainer.max_steps}"
        raise InputError("trainer.max_epochs", "at least 1; or -1 with trainer.max_steps, at least 1", found)
    most = 4 * (os.cpu_count() or 1)
    if trainer.strategy.root_device.type == "cpu" and trainer.num_devices > most:
        raise InputError("trainer.devices", f"at most {most} processes on this machine's CPU", trainer.num_devices)


def _has(callbacks: list[pl.Callback], kind: type) -> bool:
    return any(isinstance(callback, kind) for callback in callbacks)
