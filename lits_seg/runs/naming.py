"""What the folders of runs are called: resolvers of the configs."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from lits_seg.common.errors import InputError
from lits_seg.runs.folder import FREE, LAST, RESULT

LONGEST = 200  # bytes of a folder's name; file systems take 255

# Told by the name's first part, or without influence on what a job computes.
_UNNAMED = {"model", "decoder", "data.fold", "seed", "experiment", "store", "data.root", "data.workers"}


def run_dir(runs: str, name: str, ckpt_path: str | None) -> str:
    """The folder of a run below ``runs``: ``name``; with ``ckpt_path=last`` and no name of one's own the
    newest run that was cut off.

    The name that the configs make up starts with the date.
    """
    made_up = name[:4].isdigit() and "/" in name
    if ckpt_path == "last" and made_up:
        unfinished = [
            path.parent.parent for path in Path(runs).glob(f"**/{LAST}") if not (path.parent.parent / RESULT).exists()
        ]
        if not unfinished:
            raise InputError(runs, "a run that was cut off, for ckpt_path=last", "none with a checkpoint")
        return str(max(unfinished, key=lambda folder: (folder / LAST).stat().st_mtime))
    return str(Path(runs, name))


def sweep_name(given: str | None, experiment: str | None) -> str:
    """A sweep's folder below ``runs``, the same each time it is started. ``InputError`` for one that is elsewhere."""
    if given and (Path(given).is_absolute() or ".." in Path(given).parts):
        raise InputError("sweep", "a folder's name below runs (runs=… chooses where)", given)
    return given or experiment or "sweep"


def job_name(model: str, decoder: str, fold: int, seed: int, overrides: Sequence[str]) -> str:
    """A job's folder, such as ``unet_deconv_fold0_seed0_lr0.001``.

    ``overrides`` are the job's, ``key=value``: values are told with the last part of their key.
    """
    parts = [model, decoder, f"fold{fold}", f"seed{seed}"]
    for override in sorted(overrides):
        key, _, value = override.lstrip("+~").partition("=")
        if key not in _UNNAMED and key.split(".")[0] not in FREE:
            parts.append(f"{key.rsplit('.', 1)[-1]}{value}" if "." in key else f"{key}-{value or 'none'}")
    name = re.sub(r"[^a-zA-Z0-9_.+-]+", "-", "_".join(parts)).replace("-_", "_").strip("-")
    if len(name) <= LONGEST:
        return name
    return f"{name[: LONGEST - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
