"""Start an experiment, compose a training configuration, and publish a table."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from lits_seg.cli import CONF, entry
from lits_seg.common.files import write_text
from lits_seg.common.ownership import Kind, require_free, text_file

Settings = TypeVar("Settings")
PUBLISHED = text_file("table", "python -m experiments.")


def command(
    name: str, settings: type[Settings], outputs: Mapping[str, Kind]
) -> Callable[[Callable[[Settings], None]], Callable[[], Any]]:
    """Return a decorator that turns a function of the settings into a command.

    Args:
        name: ``data_speed/settings`` for ``experiments/data_speed/settings.yaml``.
        settings: dataclass of the settings, with the folder ``output``.
        outputs: kind of each file that the command writes into ``output``; no other file is overwritten.
    """

    def decorate(task: Callable[[Settings], None]) -> Callable[[], Any]:
        @functools.wraps(task)
        def checked(cfg: Any) -> None:
            require_free({Path(cfg.output) / name: kind for name, kind in outputs.items()})
            task(cfg)

        return entry(name, settings, folder=Path(__file__).parents[1])(checked)

    return decorate


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
