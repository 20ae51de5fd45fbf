"""Searches by hydra/sweeper=optuna with a quick task as their jobs."""

import csv
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import hydra
from omegaconf import DictConfig

from lits_seg.common.files import CONF

SEARCH = ("optimizer.lr=tag(log, interval(1e-4,1e-2))", "model.dropout=interval(0,0.3)", "decoder=bilinear,subpixel")
FROM_THIRD = "hydra.sweeper.sampler.n_startup_trials=2"
WHOLE = (*SEARCH, "data.fold=2", FROM_THIRD, "hydra.sweeper.n_trials=6")

# Some keys of train.yaml, for Hydra to compose in no time; the sweeper and the decoders are those of conf/.
CONFIG = f"""
defaults: [_self_, {{decoder: subpixel}}]
optimizer: {{lr: 0.001}}
model: {{dropout: 0}}
data: {{fold: 0}}
seed: 0
ckpt_path: null
hydra: {{searchpath: ['file://{CONF}']}}
"""


def quadratic(cfg: DictConfig) -> float:
    """Highest, 0, at a learning rate of 0.001 and a dropout of 0.1."""
    return -((math.log10(cfg.optimizer.lr) + 3) ** 2) - (cfg.model.dropout - 0.1) ** 2


def search(folder: Path, *arguments: str, task: Callable[[DictConfig], Any] = quadratic) -> list[dict[str, str]]:
    """Runs a search by Hydra's own launcher in this process; the rows of its table."""
    hydra_settings = ("hydra/launcher=basic", f"hydra.sweep.dir={folder}", "hydra.sweep.subdir=${hydra.job.num}")
    config = folder.parent / "quadratic" / "config.yaml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(CONFIG)
    argv = ["task", "-m", "hydra/sweeper=optuna", *hydra_settings, *arguments]
    with mock.patch.object(sys, "argv", argv), mock.patch.dict(os.environ, HYDRA_FULL_ERROR="1"):
        hydra.main(version_base="1.3", config_path=str(config.parent), config_name="config")(task)()
    return table(folder)


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "search.csv").open() as file:
        return list(csv.DictReader(file))
