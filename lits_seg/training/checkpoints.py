"""Read checkpoints of this package without running any code that a file contains."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from hydra.utils import get_object
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lits_seg.common.errors import InputError
from lits_seg.data.preprocess import Preprocess
from lits_seg.models.cost import count_parameters
from lits_seg.runs.naming import decoder_levels, decoder_name
from lits_seg.runs.renamed import with_new_names
from lits_seg.runs.result import NetworkFacts
from lits_seg.training.module import LesionModule

# A checkpoint names the classes to instantiate, so a malicious file could name any function. Only subclasses of KINDS
# from PACKAGES are allowed.
KINDS = (nn.Module, Optimizer, LRScheduler, Preprocess)
PACKAGES = (
    "lits_seg.",
    "monai.networks.",
    "monai.losses.",
    "segmentation_models_pytorch.",
    "torch.nn.",
    "torch.optim.",
)
SETTINGS = frozenset(inspect.signature(LesionModule.__init__).parameters) - {"self"}


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a Lightning checkpoint of a ``LesionModule`` onto the CPU.

    Raises:
        InputError: if the file is missing or damaged, was not written by lits_seg, or refers to a class outside the
            allowed packages.
    """
    if Path(path).is_dir():
        inside = Path(path, "checkpoints", "best.ckpt")
        raise InputError(path, "a checkpoint", f"a folder{f'; there is {inside}' if inside.exists() else ''}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(path, "a checkpoint", "no such file") from None
    except Exception as error:  # a damaged file may raise anything
        raise InputError(
            path, "a checkpoint of lits_seg", f"another or damaged file ({type(error).__name__})"
        ) from error
    settings = checkpoint.get("hyper_parameters") if isinstance(checkpoint, dict) else None
    if (
        not isinstance(settings, dict)
        or settings.keys() != SETTINGS
        or not isinstance(settings["model"], dict)
        or not isinstance(checkpoint.get("state_dict"), dict)
    ):
        raise InputError(path, "a checkpoint of lits_seg", "a checkpoint of another program or version")
    checkpoint["hyper_parameters"] = with_new_names(settings)
    for key, value in _texts(checkpoint["hyper_parameters"]):
        if "${" in value or (key == "_target_" and not _trusted(value)):
            raise InputError(path, f"networks, losses and optimizers from {', '.join(PACKAGES)}", value)
    return checkpoint


def load_module(path: str | Path) -> LesionModule:
    """Return the ``LesionModule`` of a checkpoint, in eval mode, on the CPU.

    Raises:
        InputError: if ``read_checkpoint`` rejects the file, or the weights do not fit the settings.
    """
    checkpoint = read_checkpoint(path)
    module = LesionModule(**checkpoint["hyper_parameters"])
    try:
        module.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        raise InputError(path, "weights that fit the settings in the checkpoint", str(error).splitlines()[0]) from error
    return module.eval()


def network_facts(module: LesionModule) -> NetworkFacts:
    """Return the network's class, decoder and number of parameters."""
    model = module.hparams["model"]
    return NetworkFacts(
        network=model["_target_"].rsplit(".", 1)[-1],
        decoder=decoder_name(model),
        levels=decoder_levels(model),
        parameters=count_parameters(module.network),
    )


def require_same_model(path: str | Path, model: dict[str, Any]) -> dict[str, Any]:
    """Read a checkpoint that must contain the network of a config.

    Args:
        path: the checkpoint.
        model: the network's config in plain containers.

    Raises:
        InputError: if the checkpoint contains another network; lists the settings that differ.
    """
    checkpoint = read_checkpoint(path)
    stored = checkpoint["hyper_parameters"]["model"]
    differing = [key for key in sorted(stored.keys() | model.keys()) if stored.get(key) != model.get(key)]
    if differing:
        expected = ", ".join(f"{key}={model.get(key)}" for key in differing)
        found = ", ".join(f"{key}={stored.get(key)}" for key in differing)
        raise InputError(path, f"a checkpoint of this model ({expected})", found)
    return checkpoint


def _trusted(target: str) -> bool:
    if not target.startswith(PACKAGES):
        return False
    try:
        found = get_object(target)
    except Exception as error:  # the name does not exist
        if isinstance(error.__cause__, InputError):  # the name exists, but its package is missing
            raise error.__cause__ from error
        return False
    # A trusted module also contains names that it imports, such as Path: its package must also define the class.
    return isinstance(found, type) and issubclass(found, KINDS) and found.__module__.startswith(PACKAGES)


def _texts(settings: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield all texts in nested containers, each with its key."""
    if isinstance(settings, str):
        yield key, settings
    elif isinstance(settings, dict):
        for name, value in settings.items():
            yield from _texts(name)
            yield from _texts(value, str(name))
    elif isinstance(settings, (list, tuple)):
        for value in settings:
            yield from _texts(value, key)
