"""Allow only known classes and plain values in the settings of a checkpoint.

A checkpoint names the classes of its network, loss and pre-processing, so a malicious file could name any function.
This is the only allow-list: no other file that somebody else may have written names anything that is called.
"""

import re
from importlib import import_module
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lits_seg.common.errors import InputError
from lits_seg.common.records import from_plain
from lits_seg.data.preprocess import Preprocess
from lits_seg.postprocess import Rules
from lits_seg.runs.renamed import with_new_names

KINDS = {
    "model": nn.Module,
    "loss": nn.Module,
    "optimizer": Optimizer,
    "scheduler": LRScheduler,
    "preprocess": Preprocess,
}
BUILT = ("model", "loss", "preprocess")  # from a checkpoint; training builds the others from its own configuration
OURS = ("models", "training.losses", "training.loss_terms", "training.schedules", "data.preprocess")
PACKAGES = (*(f"lits_seg.{module}." for module in OURS), "torch.nn.", "torch.optim.")
# By name, since other classes of MONAI download files, or run code of a repository (PerceptualLoss).
MONAI = {
    f"monai.{name}"
    for name in (
        *(f"networks.nets.{net}" for net in ("BasicUNet", "BasicUNetPlusPlus", "DynUNet", "SegResNet", "UNet", "VNet")),
        *("networks.nets.AttentionUnet", "losses.DiceLoss", "losses.DiceCELoss", "losses.DiceFocalLoss"),
        *("losses.FocalLoss", "losses.GeneralizedDiceLoss", "losses.GeneralizedDiceFocalLoss", "losses.TverskyLoss"),
    )
}
# Names and words only: no path, URL, or interpolation such as ${oc.env:HOME}.
TEXT = re.compile(r"[\w .-]*")
MOST_VALUES, DEEPEST = 10_000, 20  # a pickle can nest and repeat its containers without end
LARGEST = 2**16  # no network has more channels, and no image more pixels along a side


def require_allowed(settings: dict[str, Any], where: object) -> dict[str, Any]:
    """Require plain settings of a ``LesionModule`` that name allowed classes only.

    Args:
        settings: content of the file, with ``seed``, ``rules``, ``temperature`` and the keys of ``KINDS``.
        where: the file, which errors name.

    Returns:
        The settings, with the current names of renamed classes.

    Raises:
        InputError: if a setting is not a plain value, or names another class; nothing has been called then.
    """
    _leaves(settings, where)  # limits the settings before they are copied
    if type(settings["seed"]) is not int:
        raise InputError(where, "a seed, a whole number", repr(settings["seed"])[:80])
    settings = with_new_names(settings)
    for part, kind in KINDS.items():
        value = settings[part]
        if part == "scheduler" and value is None:
            continue
        if not isinstance(value, dict) or not isinstance(value.get("_target_"), str):
            raise InputError(where, f"settings of a {kind.__name__} ({part})", repr(value)[:200])
        for key, leaf in _leaves(value, where):
            if key == "_target_" and not _allowed(leaf, kind):
                packages = ", ".join(PACKAGES)
                raise InputError(where, f"a {kind.__name__} of {packages} or an allowed one of monai.", leaf)
    for key, leaf in _leaves(settings, where):
        if not _is_name(key) or (key.startswith("_") and key not in ("_target_", "_convert_")):
            raise InputError(where, "names of settings", repr(key)[:80])
        if not (leaf is None or isinstance(leaf, (bool, int, float)) or _is_name(leaf)):
            raise InputError(where, f"a name or a number ({key})", repr(leaf)[:80])
    from_plain(Rules, settings.get("rules") or {}, where)
    if type(settings.get("temperature", 1.0)) not in (int, float):
        raise InputError(where, "a temperature, a number", repr(settings["temperature"])[:80])
    for part in BUILT:
        for key, leaf in _leaves(settings[part], where):
            if isinstance(leaf, int) and abs(leaf) > LARGEST:
                raise InputError(where, f"whole numbers up to {LARGEST} ({part}.{key})", "a larger one")
    return settings


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and TEXT.fullmatch(value) is not None


def _allowed(target: Any, kind: type) -> bool:
    if not _is_name(target) or not (target in MONAI or target.startswith(PACKAGES)):
        return False
    module, _, name = target.rpartition(".")
    try:
        found = getattr(import_module(module), name, None)
    except InputError:  # the class exists, but its package is missing
        raise
    except Exception:  # no such module, or one that cannot be imported: the caller names the class
        return False
    # An allowed module also contains names that it imports, such as Path: its package must also define the class.
    return (
        isinstance(found, type) and issubclass(found, kind) and f"{found.__module__}.".startswith((*PACKAGES, "monai."))
    )


def _leaves(settings: Any, where: object) -> list[tuple[Any, Any]]:
    """Return all values in nested containers, each with its key."""
    leaves, waiting, count = [], [("", settings, 0)], 0
    while waiting:
        key, value, depth = waiting.pop()
        if not isinstance(value, (dict, list, tuple)):
            leaves.append((key, value))
            continue
        count += len(value)
        if count > MOST_VALUES or depth > DEEPEST:
            raise InputError(where, f"at most {MOST_VALUES} settings in {DEEPEST} levels", "more")
        inside = value.items() if isinstance(value, dict) else ((key, inner) for inner in value)
        waiting += [(name, inner, depth + 1) for name, inner in inside]
    return leaves
