"""Make untrained networks and write checkpoints of them."""

from collections.abc import Sequence
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from experiments.shared.command import train_config
from lits_seg.training.cascades import module_settings
from lits_seg.training.module import LesionModule


def untrained(overrides: Sequence[str], seed: int = 0) -> LesionModule:
    """Return a module with random weights.

    Args:
        overrides: overrides of the configuration of ``lits_seg.train``.
        seed: seed of the weights.
    """
    torch.manual_seed(seed)
    return module_of(train_config(*overrides))


def module_of(cfg: DictConfig) -> LesionModule:
    """Return the module that ``lits_seg.train`` makes from a configuration."""
    names = ("module", "liver_ckpt", "liver_margin", "liver_enlarge")
    plain = {name: OmegaConf.to_container(cfg[name], resolve=True) if name == "module" else cfg[name] for name in names}
    return LesionModule(**module_settings({**plain, "data": {"context": cfg.data.context}})[0])


def write_checkpoint(module: LesionModule, path: Path, **settings: object) -> Path:
    """Write a module as a checkpoint that belongs to no run, and return the path.

    Args:
        module: module whose weights and settings are stored.
        path: path of the checkpoint.
        settings: settings that replace the module's, even if they do not fit.
    """
    torch.save({"state_dict": module.state_dict(), "hyper_parameters": {**module.hparams, **settings}}, path)
    return path
