"""Checkpoints: read only files that this package wrote, without running any code from a file."""

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

# A checkpoint names its classes, so a foreign file could name any function to call. Allowed are only classes of these
# kinds, from these packages.
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
    """A Lightning checkpoint of a ``LesionModule``, on the CPU.

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
            path, "a checkpoint of lits_seg", f"another file, or a damaged one ({type(error).__name__})"
        ) from error
    settings = checkpoint.get("hyper_parameters") if isinstance(checkpoint, dict) else None
    if (
        not isinstance(settings, dict)
        or settings.keys() != SETTINGS
        or not isinstance(settings["model"], dict)
        or not isinstance(checkpoint.get("state_dict"), dict)
    ):
        raise InputError(path, "a checkpoint of lits_seg", "one of another program or version")
    checkpoint["hyper_parameters"] = with_new_names(settings)
    for key, value in _texts(checkpoint["hyper_parameters"]):
        if "${" in value or (key == "_target_" and not _trusted(value)):
            raise InputError(path, f"networks, losses and optimizers from {', '.join(PACKAGES)}", value)
    return checkpoint


def load_module(path: str | Path) -> LesionModule:
    """The network of a checkpoint with all that belongs to it, in eval mode, on the CPU."""
    checkpoint = read_checkpoint(path)
    segmenter = LesionModule(**checkpoint["hyper_parameters"])
    try:
        segmenter.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        raise InputError(path, "weights that fit its own settings", str(error).splitlines()[0]) from error
    return segmenter.eval()


def network_facts(segmenter: LesionModule) -> NetworkFacts:
    """Return what the network is: its class, its decoder, and the number of its parameters."""
    model = segmenter.hparams["model"]
    return NetworkFacts(
        network=model["_target_"].rsplit(".", 1)[-1],
        decoder=decoder_name(model),
        levels=decoder_levels(model),
        parameters=count_parameters(segmenter.network),
    )


def require_same_model(path: str | Path, model: dict[str, Any]) -> None:
    """Check that a checkpoint holds a certain network.

    Args:
        path: the checkpoint.
        model: the network's config, as plain containers.

    Raises:
        InputError: if the checkpoint's network differs; names the differing settings.
    """
    stored = read_checkpoint(path)["hyper_parameters"]["model"]
    differing = [key for key in sorted(stored.keys() | model.keys()) if stored.get(key) != model.get(key)]
    if differing:
        expected = ", ".join(f"{key}={model.get(key)}" for key in differing)
        found = ", ".join(f"{key}={stored.get(key)}" for key in differing)
        raise InputError(path, f"a checkpoint of this model ({expected})", found)


def _trusted(target: str) -> bool:
    if not target.startswith(PACKAGES):
        return False
    try:
        found = get_object(target)
    except Exception as error:  # no such thing
        if isinstance(error.__cause__, InputError):  # there is, but its package is missing
            raise error.__cause__ from error
        return False
    # A trusted module also holds its imports, such as Path: the class itself must be defined there.
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
