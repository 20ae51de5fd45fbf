"""Small networks that were never trained, as checkpoints."""

from pathlib import Path

import torch

from experiments.shared.checkpoints import write_checkpoint
from lits_seg.training.module import LesionModule

SETTINGS = {
    "model": {
        "_target_": "lits_seg.models.DSCUNet",
        "upsample": ["bilinear"] * 4,
        "out_channels": 2,
        "encoder_widths": [4, 4, 8, 8],
        "innermost_width": 8,
        "decoder_widths": [8, 8, 4, 4],
    },
    "loss": {"_target_": "lits_seg.training.losses.WeightedCrossEntropy"},
    "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.1},
    "scheduler": None,
    "preprocess": {"_target_": "lits_seg.data.preprocess.Preprocess", "window": [-100, 200], "size": 32},
    "seed": 0,
}


def save_checkpoint(path: Path, seed: int = 0, settings: dict = SETTINGS, **stored: object) -> LesionModule:
    """A network of these settings, drawn by ``seed``. ``stored``: what the file says instead, fitting or not."""
    torch.manual_seed(seed)
    module = LesionModule(**settings)
    module.loss.set_counts([90, 10, 5][: module.classes])
    write_checkpoint(module, path, **stored)
    return module.eval()


def with_model(**changes: object) -> dict:
    """Settings of another network."""
    return {**SETTINGS, "model": {**SETTINGS["model"], **changes}}
