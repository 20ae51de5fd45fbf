"""Compare the settings of a training with the signatures of the classes that they configure."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytorch_lightning as pl
from annotated_types import Ge, Gt, Le, Len, MinLen
from monai.transforms import Compose
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lits_seg.common.constructors import require_arguments
from lits_seg.common.errors import InputError
from lits_seg.common.settings import (
    Count,
    CountOrZero,
    Place,
    Precision,
    Seed,
    Width,
    Widths,
    annotations,
    arguments,
    read_settings,
    require_json,
)
from lits_seg.data.augment import RotateZoomBend
from lits_seg.data.datamodule import SliceDataModule
from lits_seg.metrics.overlap import SCORES
from lits_seg.models.cascade import Margin
from lits_seg.models.upsample import UPSAMPLERS
from lits_seg.postprocess import Changes
from lits_seg.training.module import LesionModule
from lits_seg.training.rates import Rates
from lits_seg.training.schedules import with_steps
from lits_seg.training.targets import Foreground, LossRegion


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
    foreground: Foreground
    loss_region: LossRegion
    liver_ckpt: Place | None
    liver_margin: Margin | None
    liver_enlarge: bool
    rates: Rates | None
    baseline: bool
    runs: Place
    name: Place
    sweep: Place | None
    output_dir: Place
    store: Place
    decoder: Decoder
    rules: Changes


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
    "trainer.precision": Precision,
    "trainer.log_every_n_steps": CountOrZero,
    "trainer.use_distributed_sampler": Literal[False],
    "callbacks.best.monitor": Literal[("val/loss", *(f"val/{name}" for name in MONITORED))] | None,
    "callbacks.best.mode": Literal["min", "max"],
    "callbacks.best.filename": Place,
    "callbacks.last.filename": Literal["last"],
    "logger.wandb.notes": str | None,
    "logger.wandb.group": str | None,
    "logger.wandb.tags": list[str] | None,
}


def require_signatures(plain: Mapping[str, Any]) -> None:
    """Compare the resolved settings with the signatures of their classes, see ``dry_run.require_settings``."""
    require_json(plain)
    read_settings(Settings, {key: value for key, value in plain.items() if key not in GROUPS})
    for key, kind in KINDS.items():
        if plain[key] is not None or key not in OPTIONAL:
            node = with_steps(plain[key], 1) if key == "scheduler" else plain[key]
            require_arguments(key, node, kind, given=GIVEN.get(key, ()), limits=LIMITS)
    for group, kind in LISTS.items():
        for name, node in _mapping(group, plain[group]).items():
            require_arguments(f"{group}.{name}", node, kind, limits=LIMITS)
    require_arguments("module", plain["module"], LesionModule)
    copied = {**plain, "preprocess": plain["data"]["preprocess"]}
    for key, value in plain["module"].items():
        if not key.startswith("_") and value != copied[key]:
            raise InputError(f"module.{key}", f"the value of {key}", "another value")


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
