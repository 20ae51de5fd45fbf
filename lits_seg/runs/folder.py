"""A run is a folder: its configuration, the versions of the code, its patients, and its result."""

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

CONFIG, VERSIONS, SPLIT, RESULT = "config.yaml", "versions.json", "split.json", "result.json"
FAILED, PICTURES = "failed.txt", "overlays"
LAST = Path("checkpoints", "last.ckpt")
# Places and loggers do not change what a run computes.
FREE = ("ckpt_path", "name", "runs", "sweep", "output_dir", "logger", "callbacks")


def describe_run(folder: Path, cfg: DictConfig) -> None:
    """Write the resolved config and the versions into a run's folder.

    Args:
        folder: the run's folder.
        cfg: the whole configuration.

    Raises:
        InputError: if the folder holds a run of another configuration; names the differences.
    """
    if (folder / CONFIG).exists():
        require_same_run(folder, cfg)
        return
    write_text(folder / VERSIONS, json.dumps(versions(), indent=2))
    write_text(folder / CONFIG, OmegaConf.to_yaml(OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))))


def require_same_run(folder: Path, cfg: DictConfig) -> None:
    """Require that a run's folder holds this configuration.

    Args:
        folder: the run's folder.
        cfg: the whole configuration.

    Raises:
        InputError: if the configurations differ; names the differences.
    """
    before = OmegaConf.to_container(OmegaConf.load(folder / CONFIG))
    differing = differences(before, OmegaConf.to_container(cfg, resolve=True))
    if differing:
        expected = "a folder without a run, or this run's own (name=…, for a sweep sweep=…, chooses another)"
        raise InputError(folder, expected, "; ".join(differing))


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Lock a run's folder; wait while another process holds the lock."""
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
    """Return in words how two configurations (mappings) differ in what they compute."""
    return _differences(_essence(before), _essence(after))


def _essence(config: Any) -> dict[str, Any]:
    return {key: with_new_names(value) for key, value in config.items() if key not in FREE}


def _differences(before: Any, after: Any, key: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        keys = sorted(before.keys() | after.keys(), key=str)
        return [
            text for k in keys for text in _differences(before.get(k), after.get(k), f"{key}.{k}" if key else str(k))
        ]
    return [] if before == after else [f"{key} was {before}, now {after}"]
