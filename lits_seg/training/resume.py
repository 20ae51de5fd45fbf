"""Find the checkpoint and the patients that a training resumes with, and require that the checkpoint fits."""

import logging
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from torch import nn

from lits_seg.common.errors import InputError
from lits_seg.data.copies import require_unseen
from lits_seg.data.datamodule import SliceDataModule
from lits_seg.data.split_record import SplitRecord
from lits_seg.models import Cascade
from lits_seg.runs.folder import BEST, LAST, differences, read_config, recorded_split, run_of, trained
from lits_seg.training.checkpoints import read_checkpoint, require_same_model
from lits_seg.training.module import AUXILIARY, LesionModule

log = logging.getLogger(__name__)

# Parts of a checkpoint that Lightning restores; checkpoints with weights only lack most of them.
STATE = ("state_dict", "optimizer_states", "callbacks", "loops", "pytorch-lightning_version")
RESUMABLE = "a checkpoint that a training can resume from"


def find_checkpoint(ckpt_path: str | None, folder: Path, model: dict[str, Any]) -> Path | None:
    """Return the checkpoint that a training resumes from; None: the training starts from the beginning.

    Args:
        ckpt_path: a checkpoint; ``last``: the last or, without one, the best checkpoint of the run.
        folder: the run's folder.
        model: the network's config in plain containers.

    Raises:
        InputError: if a checkpoint is damaged or contains another network.
    """
    kept = [folder / name for name in (LAST, BEST) if (folder / name).exists()]
    if ckpt_path is None:
        if kept:
            log.warning("%s: training starts from the beginning; ckpt_path=last would resume this run", folder)
        return None
    if ckpt_path != "last":
        require_same_model(ckpt_path, model)
        return Path(ckpt_path)
    if not kept:
        log.info("%s: no checkpoint yet; training starts from the beginning", folder)
        return None
    try:
        for path in kept:
            require_same_model(path, model)
    except InputError as error:
        expected = (
            "readable checkpoints of this run (move a damaged one away, and the training continues from the other)"
        )
        raise InputError(folder, expected, error) from error
    return kept[0]


def recorded_patients(folder: Path, checkpoint: Path | None, data: Mapping[str, Any]) -> SplitRecord | None:
    """Return the split that this run has recorded, or else the run of the checkpoint, if both are split alike.

    Args:
        folder: the run's folder.
        checkpoint: the checkpoint that the training resumes from, if any.
        data: the config of the data in plain containers.

    Returns:
        The split; None: the patients are split anew.

    Raises:
        InputError: if ``split.json`` or ``config.yaml`` is damaged.
    """
    own = _split_of(folder)
    if own is not None or checkpoint is None:
        return own
    source = run_of(checkpoint.resolve())
    record = _split_of(source)
    if record is None:
        return None
    before = read_config(source)["data"]
    keys = ("root", "test_root", "folds", "fold", "val_share", "split_seed", "split", "sources")
    return record if all(before.get(key) == data.get(key) for key in keys) else None


def inherit_patients(setting: str, checkpoint: Path, datamodule: SliceDataModule) -> None:
    """Require test patients that a checkpoint of another run has not seen, and note which patients it has seen.

    Args:
        setting: the setting that names the checkpoint.
        checkpoint: the checkpoint; nothing is required if it is neither in the folder of a run nor packaged.
        datamodule: the volumes, already split anew; its attribute ``inherited`` gets the patients.

    Raises:
        InputError: if that run, or a run before it, has trained on a test patient or been chosen by one; names them.
    """
    record = recorded_split(run_of(checkpoint.resolve()))
    if record is not None:
        record.require_each_once(one_set=False)
        root = datamodule.test_root or datamodule.root
        require_unseen(datamodule.split["test"], record.seen(), root, datamodule.allow_overlap)
        datamodule.inherited |= {f"{place} of {setting}": texts for place, texts in record.seen().items()}


def require_training_state(path: Path, module: LesionModule) -> None:
    """Require that a training can resume from a checkpoint, and log the settings that differ from it.

    Args:
        path: the checkpoint.
        module: the network of the command, which gets the weights.

    Raises:
        InputError: if a part of the state is missing, damaged, or does not fit the network or the optimizer, or if the
            liver network of a cascade is another.
    """
    checkpoint = read_checkpoint(path)
    missing = [key for key in STATE if not checkpoint.get(key)]
    if missing:
        raise InputError(path, RESUMABLE, f"no {', '.join(missing)}")
    if isinstance(module.network, Cascade):
        _require_same_liver(path, checkpoint["state_dict"], module.network.liver)
    stored = checkpoint["hyper_parameters"]
    differing = differences(stored, {key: module.hparams[key] for key in stored})
    # Callbacks add their modules only when the training starts, see LesionModule.on_load_checkpoint.
    added = {
        name: value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith(AUXILIARY) and isinstance(value, torch.Tensor)
    }
    needed = _moments(module, list(added.values()))
    try:
        module.load_state_dict({k: v for k, v in checkpoint["state_dict"].items() if k not in added})
        moments = {i: _shapes(state) for i, state in checkpoint["optimizer_states"][0]["state"].items()}
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.automatic_optimization.optim_progress"]
        counts = (checkpoint["global_step"], checkpoint["epoch"], progress["optimizer"]["step"]["total"]["completed"])
        sound = all(type(count) is int and count >= 0 for count in counts)
        for state in checkpoint["callbacks"].values():
            sound &= isinstance(state.get("best_model_path", ""), str) and isinstance(
                state.get("best_k_models", {}), dict
            )
        same_kind = all(moments[i].keys() == needed[i].keys() for i in moments) and bool(moments) == any(
            needed.values()
        )
        sound &= not same_kind or all(moments[i] == needed[i] for i in moments)
    except Exception as error:  # a damaged file may raise anything
        raise InputError(path, RESUMABLE, f"a damaged file ({type(error).__name__})") from error
    if not sound:
        raise InputError(path, RESUMABLE, "a damaged file (counters, or moments of other weights)")
    if not same_kind:
        found = f"moments of another optimizer ({'; '.join(differing)})"
        raise InputError(path, "moments that this optimizer can continue with", found)
    if differing:
        log.info("%s: the training continues with other settings: %s", path, "; ".join(differing))


def while_restoring(error: Exception) -> bool:
    """Return whether an error was raised while Lightning restored the state in a checkpoint."""
    frames = traceback.extract_tb(error.__traceback__)
    return any(
        Path(frame.filename).stem == "checkpoint_connector" and "restore" in frame.name for frame in frames
    ) and not isinstance(error, (InputError, OSError))


def _split_of(run: Path) -> SplitRecord | None:
    """Return the split of a run that has trained; before that, the run may still be split anew."""
    return recorded_split(run) if trained(run) else None


def _require_same_liver(path: Path, stored: Mapping[str, Any], liver: nn.Module) -> None:
    for name, weight in liver.state_dict().items():
        found = stored.get(f"network.liver.{name}")
        if not isinstance(found, torch.Tensor) or not torch.equal(found, weight):
            expected = f"the liver network in {path}, which the training would continue with"
            raise InputError("liver_ckpt", expected, f"another ({name} differs)")


def _moments(module: LesionModule, added: Sequence[torch.Tensor]) -> dict[int, dict[str, Any]]:
    """Return the shapes of the moments that the module's optimizer keeps for each weight, found by a step of zeros.

    Args:
        module: the module.
        added: further weights that the optimizer trains, which callbacks have added.
    """
    weights = [nn.Parameter(torch.zeros_like(weight)) for weight in (*module.network.parameters(), *added)]
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    optimizer = instantiate(module.hparams["optimizer"], params=weights)
    optimizer.step(lambda: torch.zeros(()))
    return {i: _shapes(optimizer.state[weight]) for i, weight in enumerate(weights)}


def _shapes(state: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value.shape if isinstance(value, torch.Tensor) else type(value) for key, value in state.items()}
