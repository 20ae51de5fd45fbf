"""Check all settings of a training before anything is read, computed or written.

Settings are first compared with the signatures of the classes in the configuration (``signatures``). Then every object
is made once, the network without memory for its weights, and network, loss and augmentation are called on an empty
slice.
"""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.utils import instantiate
from omegaconf import DictConfig
from pytorch_lightning.callbacks import ModelCheckpoint, Timer
from torch import Generator, nn

from lits_seg.cli import errors_for_users
from lits_seg.common.constructors import TARGET
from lits_seg.common.errors import InputError
from lits_seg.common.settings import as_typed
from lits_seg.data.augment import RotateZoomBend
from lits_seg.data.datamodule import SliceDataModule
from lits_seg.runs.naming import require_decoder_applies
from lits_seg.training.cascades import module_settings
from lits_seg.training.losses import set_counts
from lits_seg.training.messages import hide_chatter
from lits_seg.training.patient_scores import PatientScores
from lits_seg.training.rates import factors
from lits_seg.training.schedules import with_steps
from lits_seg.training.signatures import require_signatures, resolved
from lits_seg.training.targets import Targets

LARGEST = 2_000_000_000  # parameters of a network


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


def require_dry_run(plain: Mapping[str, Any]) -> None:
    """Make every object of the resolved settings once, see ``require_settings``."""
    hide_chatter()
    with warnings.catch_warnings(action="ignore"):  # the training itself shows them
        datamodule = _made("data", plain["data"])
        factors(_require_network(plain["model"], datamodule), plain["rates"] or {})
        module_settings(plain)  # of a cascade: both checkpoints must fit
        if plain["loss_region"] == "predicted_liver" and plain["liver_ckpt"] is None:
            raise InputError("loss_region", "all or liver, without a liver network (liver_ckpt=…)", "predicted_liver")
        if plain["weights"] is not None and plain["init_from"] is not None:
            expected = f"null with init_from={plain['init_from']}, whose weights would replace these"
            raise InputError("weights", expected, plain["weights"])
        if plain["baseline"] and plain["foreground"] == "liver":
            raise InputError("baseline", "false with foreground=liver, since the threshold marks lesions", "true")
        _require_loss(plain["loss"], plain["model"]["out_channels"])
        _require_augmentation(datamodule)
        optimizer = _made("optimizer", plain["optimizer"], params=[nn.Parameter(torch.zeros(1))])
        if plain["scheduler"] is not None:
            _made("scheduler", with_steps(plain["scheduler"], 1000), optimizer=optimizer)
        _require_trainer(plain)


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


def _require_network(config: Mapping[str, Any], data: SliceDataModule) -> nn.Module:
    """Require that the network maps slices to logits of the labelled slices; return it, its weights take no memory."""
    with torch.device("meta"):
        network = _made("model", config)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    if parameters > LARGEST:
        raise InputError("model", f"a network of at most {LARGEST:,} parameters", f"{parameters:,}")
    slices = int(getattr(network, "out_slices", 1))
    if slices != data.label_context:
        expected = f"{slices}, the number of slices for which the network returns logits"
        raise InputError("data.label_context", expected, data.label_context)
    for size in dict.fromkeys([data.preprocess.size, *_crops(data)]):
        _require_logits(network.train(), config, data.context, size)
    return network


def _crops(data: SliceDataModule) -> list[int]:
    """Return the sides of the crops in training."""
    if not isinstance(data.augment, RotateZoomBend):
        return []
    stages, crop = data.augment.stages, data.augment.crop
    return [side for _, side in stages] or ([] if crop is None else [crop])


def _require_logits(network: nn.Module, config: Mapping[str, Any], context: int, size: int) -> None:
    """Require logits of all classes for images of a size."""
    classes, slices = config["out_channels"], int(getattr(network, "out_slices", 1))
    try:
        with torch.device("meta"), torch.no_grad():
            outputs = network(torch.zeros(2, context, size, size))
    except Exception as error:  # a layer may raise anything
        raise _blamed(f"model, for {context} x {size} x {size} pixels", config, error) from None
    logits = outputs[0] if isinstance(outputs, tuple) else outputs  # without side outputs
    if logits.shape != (2, classes, *([slices] if slices > 1 else []), size, size):
        expected = f"a network that maps (B, {context}, {size}, {size}) to (B, {classes}, {size}, {size})"
        raise InputError("model", expected, tuple(logits.shape))


def _require_loss(config: Mapping[str, Any], classes: int) -> None:
    loss = _made("loss", config)
    set_counts(loss, [100] * classes)
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
        for share in [share for share, _ in data.augment.stages] or [0.0]:  # a later stage's crop may be too large
            data.augment.at(share)(image, labels, Generator().manual_seed(0))
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
    missing = [kind.__name__ for kind in (Timer, PatientScores, ModelCheckpoint) if not _has(callbacks, kind)]
    if missing:
        raise InputError("callbacks", "Timer, PatientScores, and a ModelCheckpoint", f"no {missing[0]}")
    structures = Targets(3 if plain["liver_ckpt"] else classes, plain["foreground"], plain["loss_region"]).structures
    for saver in trainer.checkpoint_callbacks:
        structure = "liver" if "/liver/" in str(saver.monitor) else "lesion"
        if saver.monitor not in (None, "val/loss") and structure not in structures:
            expected = f"a score of the {structures[0]}, since model.out_channels=2 and foreground={structures[0]}"
            raise InputError("callbacks.best.monitor", expected, f"one of the {structure}")
        mode = "min" if saver.monitor == "val/loss" else "max"
        if saver.monitor is not None and saver.mode != mode:
            raise InputError("callbacks.best.mode", f"{mode}, since {saver.monitor} chooses the checkpoint", saver.mode)
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
