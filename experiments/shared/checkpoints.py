"""Checkpoints of networks that were never trained."""

from collections.abc import Sequence
from pathlib import Path

import torch
from hydra.utils import instantiate

from experiments.shared.command import train_config
from lits_seg.training.module import LesionModule


def untrained(overrides: Sequence[str], seed: int = 0) -> LesionModule:
    """Make a module with random weights.

    Args:
        overrides: of the configuration of ``lits_seg.train``.
        seed: of the weights.
    """
    torch.manual_seed(seed)
    return instantiate(train_config(*overrides).module)


def write_checkpoint(module: LesionModule, path: Path, **settings: object) -> Path:
    """Write a module as a checkpoint without a run.

    Args:
        module: weights and settings to store.
        path: of the checkpoint, which is returned.
        settings: stored instead of the module's own, fitting or not.
    """
    torch.save({"state_dict": module.state_dict(), "hyper_parameters": {**module.hparams, **settings}}, path)
    return path
