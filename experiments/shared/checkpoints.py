"""Make untrained networks and write checkpoints of them."""

from collections.abc import Sequence
from pathlib import Path

import torch
from hydra.utils import instantiate

from experiments.shared.command import train_config
from lits_seg.training.module import LesionModule


def untrained(overrides: Sequence[str], seed: int = 0) -> LesionModule:
    """Return a module with random weights.

    Args:
        overrides: overrides of the configuration of ``lits_seg.train``.
        seed: seed of the weights.
    """
    torch.manual_seed(seed)
    return instantiate(train_config(*overrides).module)


def write_checkpoint(module: LesionModule, path: Path, **settings: object) -> Path:
    """Write a module as a checkpoint that belongs to no run, and return the path.

    Args:
        module: module whose weights and settings are stored.
        path: path of the checkpoint.
        settings: settings that replace the module's, even if they do not fit.
    """
    torch.save({"state_dict": module.state_dict(), "hyper_parameters": {**module.hparams, **settings}}, path)
    return path
