"""Checkpoints: read without unpickling code, and only what this project wrote."""

from pathlib import Path
from typing import Any

import torch

from lits_seg.errors import InputError
from lits_seg.module import LesionSegmenter

# A checkpoint names its classes; these packages alone may be named. A file from elsewhere could otherwise
# have any function of any module called.
TRUSTED = (
    "lits_seg.",
    "monai.networks.",
    "monai.losses.",
    "segmentation_models_pytorch.",
    "torch.nn.",
    "torch.optim.",
)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """A Lightning checkpoint of a ``LesionSegmenter``, on the CPU.

    Raises ``InputError`` for a file that is missing, damaged, not ours, or names classes from elsewhere.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(path, "a checkpoint", "no such file") from None
    except Exception as error:  # a damaged file fails in the reader in any way
        raise InputError(
            path, "a checkpoint of lits_seg", f"a file that does not load safely ({type(error).__name__})"
        ) from error
    settings = checkpoint.get("hyper_parameters", {}) if isinstance(checkpoint, dict) else {}
    if not {"model", "loss", "preprocess"} <= settings.keys() or "state_dict" not in checkpoint:
        raise InputError(path, "a checkpoint of lits_seg", "one of another program")
    for target in _targets(settings):
        if not target.startswith(TRUSTED):
            raise InputError(path, f"classes from {', '.join(TRUSTED)}", target)
    return checkpoint


def load_segmenter(path: str | Path) -> LesionSegmenter:
    """The network of a checkpoint with all that belongs to it, in eval mode, on the CPU."""
    checkpoint = read_checkpoint(path)
    segmenter = LesionSegmenter(**checkpoint["hyper_parameters"])
    try:
        segmenter.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        raise InputError(path, "weights that fit its own settings", str(error).splitlines()[0]) from error
    return segmenter.eval()


def require_same_model(path: str | Path, model: dict[str, Any]) -> None:
    """Raises ``InputError``, naming what differs, where a checkpoint holds another network than ``model``."""
    stored = read_checkpoint(path)["hyper_parameters"]["model"]
    differing = [key for key in sorted(stored.keys() | model.keys()) if stored.get(key) != model.get(key)]
    if differing:
        expected = ", ".join(f"{key}={model.get(key)}" for key in differing)
        found = ", ".join(f"{key}={stored.get(key)}" for key in differing)
        raise InputError(path, f"a checkpoint of this model ({expected})", found)


def _targets(settings: Any) -> list[str]:
    if isinstance(settings, dict):
        own = [str(value) for key, value in settings.items() if key == "_target_"]
        return own + [target for value in settings.values() for target in _targets(value)]
    if isinstance(settings, (list, tuple)):
        return [target for value in settings for target in _targets(value)]
    return []
