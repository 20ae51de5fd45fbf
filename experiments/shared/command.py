"""Start an experiment, compose a training configuration, and publish a table."""

from functools import partial
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from lits_seg.cli import CONF, entry
from lits_seg.common.files import write_text

# @command("data_speed/settings") makes a function a command with the settings of experiments/data_speed/settings.yaml.
command = partial(entry, folder=Path(__file__).parents[1])


def train_config(*overrides: str) -> DictConfig:
    """Compose the configuration of ``lits_seg.train`` with overrides, even while Hydra runs another command."""
    state = GlobalHydra.instance()
    running, state.hydra = state.hydra, None
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose("train", list(overrides))
    finally:
        GlobalHydra.instance().hydra = running


def publish(text: str, path: Path) -> None:
    """Write and print a text.

    Args:
        text: the text.
        path: file to write; the folder is made if needed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    print(text)
