"""Write and check run folders; name the files in them: configuration, versions, split and result."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf

from lits_seg.common.errors import InputError
from lits_seg.common.files import write_text
from lits_seg.runs.provenance import versions
from lits_seg.runs.renamed import with_new_names

CONFIG = "config.yaml"
VERSIONS = "versions.json"
SPLIT = "split.json"
RESULT = "result.json"
FAILED = "failed.txt"
PICTURES = "overlays"
LAST = Path("checkpoints", "last.ckpt")
# Keys that do not change what a run computes, such as paths and loggers.
FREE = ("ckpt_path", "name", "runs", "sweep", "output_dir", "logger", "callbacks", "data.allow_overlap")


def describe_run(folder: Path, cfg: DictConfig) -> None:
    """Write the resolved configuration and the versions into a run's folder.

    Args:
        folder: the run's folder.
        cfg: the whole configuration.

    Raises:
        InputError: if the folder contains a run with another configuration; lists the differences.
    """
    if (folder / CONFIG).exists():
        require_same_run(folder, cfg)
        return
    write_text(folder / VERSIONS, json.dumps(versions(), indent=2))
    write_text(folder / CONFIG, OmegaConf.to_yaml(OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))))


def require_same_run(folder: Path, cfg: DictConfig) -> None:
    """Require that a run's folder has the same configuration.

    Args:
        folder: the run's folder.
        cfg: the whole configuration.

    Raises:
        InputError: if the configurations differ; lists the differences.
    """
    before = OmegaConf.to_container(OmegaConf.load(folder / CONFIG))
    differing = differences(before, OmegaConf.to_container(cfg, resolve=True))
    if differing:
        expected = "a folder without a run, or with this run (name=…, or sweep=… for a sweep, chooses another folder)"
        raise InputError(folder, expected, "; ".join(differing))


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Lock a run's folder; if another process holds the lock, wait for its release."""
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"{folder}: another process works on this run; waiting for its end", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def differences(before: Any, after: Any) -> list[str]:
    """Return a text for each difference between two configurations that changes what a run computes.

    Args:
        before: the earlier configuration, a mapping.
        after: the current configuration, a mapping.
    """
    return _differences(_essence(before), _essence(after))


def _essence(config: Any) -> dict[str, Any]:
    return {key: with_new_names(value) for key, value in config.items()}


def _differences(before: Any, after: Any, key: str = "") -> list[str]:
    if key in FREE:
        return []
    if isinstance(before, dict) and isinstance(after, dict):
        keys = sorted(before.keys() | after.keys(), key=str)
        return [
            text for k in keys for text in _differences(before.get(k), after.get(k), f"{key}.{k}" if key else str(k))
        ]
    return [] if before == after else [f"{key} was {before}, now {after}"]
