"""Write and check run folders; name the files in them: configuration, versions, split and result."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf

from lits_seg.common.errors import InputError
from lits_seg.common.files import write_text
from lits_seg.common.untrusted import read_yaml
from lits_seg.data.split_record import SplitRecord
from lits_seg.runs.provenance import versions
from lits_seg.runs.renamed import with_new_names

CONFIG = "config.yaml"
VERSIONS = "versions.json"
SPLIT = "split.json"
RESULT = "result.json"
FINISHED = "finished.json"  # instead of a result, if there was no patient to test
FAILED = "failed.txt"
DECISION = ".ranks"  # of the first rank, see ranks.py
CURVES = "curves.png"
CASES = "test_cases.csv"
OVERLAYS = "overlays.png"
PICTURES = "overlays"
BEST, LAST = Path("checkpoints", "best.ckpt"), Path("checkpoints", "last.ckpt")
CALIBRATED = Path("checkpoints", "best_calibrated.json")  # of lits-seg calibrate
# The files that a run writes with its checkpoints, and replaces when it is started again.
FILES = (CONFIG, VERSIONS, SPLIT, RESULT, FINISHED, CURVES, CASES, OVERLAYS)
# What Hydra and Lightning write before the first step of a training.
EARLY = (".lock", DECISION, "train.log", ".hydra/*.yaml", "metrics/version_*/hparams.yaml")
MODULE = "lits_seg.training.module.LesionModule"
# Callbacks of conf/callbacks/default.yaml that change nothing in a run; the others learn, or choose the checkpoint.
WATCHING = ("last", "restored", "finite", "timer", "progress", "split", "patients", "curves", "hparams")
# Keys that do not change what a run computes, such as paths and loggers.
FREE = (
    *("name", "runs", "sweep", "output_dir", "logger", "data.allow_overlap"),
    *(f"callbacks.{name}" for name in WATCHING),
    *(f"callbacks.best.{key}" for key in ("dirpath", "filename", "auto_insert_metric_name", "enable_version_counter")),
)

# A run continues from the checkpoint of this key; with these values from its own, or from none.
CONTINUED = "ckpt_path"
OWN = (None, "", "null", "last")


@contextmanager
def claimed(folder: Path, cfg: DictConfig) -> Iterator[None]:
    """Describe a run in its folder; a run that ends without a checkpoint, as by a wrong setting, leaves no claim on it.

    If the run has not logged a value either, as by unusable data, the folder is removed.

    Args:
        folder: the run's folder.
        cfg: the whole configuration.

    Raises:
        InputError: see ``describe_run``.
    """
    _release(folder)  # of an earlier command that was killed before its first checkpoint
    describe_run(folder, cfg)
    try:
        yield
    except BaseException:
        _release(folder)
        _remove_unused(folder, cfg)
        raise


def finished(folder: Path) -> bool:
    """Return whether a run has ended: with a result, or without one if there was no patient to test."""
    return (folder / RESULT).exists() or (folder / FINISHED).exists()


def trained(folder: Path) -> bool:
    """Return whether a run is finished or has a checkpoint, of an epoch or of Slurm's time limit."""
    patterns = ("checkpoints/*.ckpt", "hpc_ckpt_*.ckpt")
    return finished(folder) or any(True for pattern in patterns for _ in folder.glob(pattern))


def run_of(ckpt: str | Path) -> Path:
    """Return the run's folder of a checkpoint: that of the split next to the checkpoint, else the parent folder.

    The split of the packaged network is next to it.

    Args:
        ckpt: the checkpoint.
    """
    folder = Path(ckpt).absolute().parent
    return folder if (folder / SPLIT).exists() else folder.parent


def in_run(folder: Path, checkpoint: Path | None) -> bool:
    """Return whether a checkpoint is in the folder of a run.

    Args:
        folder: the run's folder.
        checkpoint: the checkpoint, if any.
    """
    return checkpoint is not None and folder.resolve() in checkpoint.resolve().parents


def recorded_split(folder: Path) -> SplitRecord | None:
    """Read ``split.json`` of a run; return None if the folder has none.

    Raises:
        InputError: if the file is damaged.
    """
    path = folder / SPLIT
    return SplitRecord.read(path) if path.exists() else None


def read_config(folder: Path) -> dict[str, Any]:
    """Return the configuration that a run has recorded, with the current names of classes.

    Raises:
        InputError: if ``config.yaml`` is missing, damaged, or a file of another program.
    """
    config = with_new_names(read_yaml(folder / CONFIG, "the configuration of a run"))
    for key in ("model", "data"):
        if not isinstance(config.get(key), dict):
            raise InputError(
                folder / CONFIG, f"the configuration of a run, with {key} as keys and values", "another file"
            )
    return config


def describe_run(folder: Path, cfg: DictConfig) -> None:
    """Write the resolved configuration and the versions into a run's folder.

    Args:
        folder: the run's folder.
        cfg: the whole configuration.

    Raises:
        InputError: if the folder contains a run with another configuration, with a list of the differences; or if it
            contains files of a run, but no configuration.
    """
    if (folder / CONFIG).exists():
        require_same_run(folder, cfg)
        return
    found = [name for name in FILES if (folder / name).exists()]
    found += [str(path.relative_to(folder)) for path in sorted(folder.glob("checkpoints/*.ckpt"))]
    if found:
        expected = f"a folder without a run, or with its {CONFIG} (name=… chooses another folder)"
        raise InputError(folder, expected, f"{', '.join(found)} without {CONFIG}")
    write_text(folder / CONFIG, OmegaConf.to_yaml(OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))))
    write_text(folder / VERSIONS, json.dumps(versions(), indent=2))


def require_same_run(folder: Path, cfg: DictConfig) -> None:
    """Require that a run's folder has the same configuration.

    Args:
        folder: the run's folder.
        cfg: the whole configuration.

    Raises:
        InputError: if the configurations differ; lists the differences.
    """
    before = read_yaml(folder / CONFIG, "the configuration of this run (name=… chooses another folder)")
    after: Any = OmegaConf.to_container(cfg, resolve=True)
    if cfg.get(CONTINUED) and in_run(folder, Path(cfg[CONTINUED])):
        after[CONTINUED] = "last"
    differing = differences(before, after)
    if differing:
        expected = "no run, or this run, in the folder (name=…, or sweep=… for a sweep, chooses another folder)"
        raise InputError(folder / CONFIG, expected, "; ".join(differing))


@contextmanager
def held(folder: Path, wait: bool = True) -> Iterator[None]:
    """Lock a run's folder; if another process holds the lock, wait for its release.

    Args:
        folder: the run's folder.
        wait: whether to wait.

    Raises:
        InputError: if another process holds the lock, and ``wait`` is false.
    """
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not wait:
            raise InputError(folder, "a run that no other process works on", "another process that does") from None
        print(f"{folder}: another process works on this run; waiting for its end", flush=True)
        lock.acquire()
        folder.mkdir(parents=True, exist_ok=True)  # the other process may have failed, and removed the folder
    try:
        yield
    finally:
        lock.release()


def differences(before: Any, after: Any) -> list[str]:
    """Return a text for each difference between two configurations that changes what a run computes.

    A run may be resumed from its own checkpoint, or from a copy of it. Only two named checkpoints are a difference.

    Args:
        before: the earlier configuration, a mapping.
        after: the current configuration, a mapping.
    """
    return _differences(_essence(before), _essence(after))


def _release(folder: Path) -> None:
    """Remove what a run without a checkpoint has written; files next to a foreign ``config.yaml`` are not its own."""
    try:
        module = with_new_names(read_yaml(folder / CONFIG, CONFIG)).get("module")
    except InputError:
        return
    if isinstance(module, Mapping) and module.get("_target_") == MODULE and not trained(folder):
        for name in FILES:
            (folder / name).unlink(missing_ok=True)


def _remove_unused(folder: Path, cfg: DictConfig) -> None:
    """Remove the folder of a run that has made no step, unless there are other files in it, and its empty parents.

    Args:
        folder: the run's folder.
        cfg: the whole configuration, with the folder of all runs, which stays.
    """
    early = {path for pattern in EARLY for path in folder.glob(pattern)}
    if any(path not in early for path in folder.rglob("*") if not path.is_dir()):
        return
    runs = Path(cfg.runs).absolute()
    with suppress(OSError):  # the reason why the run ended matters more
        shutil.rmtree(folder)
        for parent in folder.absolute().parents:
            if parent == runs or not parent.is_relative_to(runs):
                break
            parent.rmdir()


def _essence(config: Any) -> dict[str, Any]:
    return {key: with_new_names(value) for key, value in config.items()}


def _differences(before: Any, after: Any, key: str = "") -> list[str]:
    if key in FREE or (key == CONTINUED and _continues(before, after)):
        return []
    if isinstance(before, dict) and isinstance(after, dict):
        keys = sorted(before.keys() | after.keys(), key=str)
        return [
            text for k in keys for text in _differences(before.get(k), after.get(k), f"{key}.{k}" if key else str(k))
        ]
    return [] if before == after else [f"{key} was {_brief(before)}, now {_brief(after)}"]


def _continues(before: str | None, after: str | None) -> bool:
    return before in OWN or after in OWN or Path(str(before)).resolve() == Path(str(after)).resolve()


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
