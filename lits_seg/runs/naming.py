"""Name run folders and decoders; ``cli`` registers most of these functions as resolvers for the configs."""

import functools
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import ListConfig, OmegaConf

from lits_seg.common.errors import InputError
from lits_seg.common.files import CONF
from lits_seg.runs.folder import CONTINUED, FREE, LAST, OWN, finished

LONGEST = 200  # longest folder name in bytes; file systems allow 255
OWN_DECODER = "own"
_DEFAULT = re.compile(r"\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d-\d{6}_")  # start of a run's name in conf/train.yaml

# Keys that job_name leaves out: they are in its first part, or do not change what a job computes.
_UNNAMED = {
    "model",
    "decoder",
    "decoder.levels",
    "model.upsample",
    "data.fold",
    "seed",
    "store",
    "data.workers",
}
# Keys that it leaves out if the sweep's command gives them a single value.
_SHARED = {"experiment", "data.root", CONTINUED}


def decoder_levels(model: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the upsampler of each decoder level, deepest first, from a network's settings as in ``conf/model``."""
    levels = model.get("upsample") or ()
    if isinstance(levels, str) or not isinstance(levels, Sequence) or not all(isinstance(name, str) for name in levels):
        raise InputError("decoder.levels", "a list of names, deepest level first", levels)
    return tuple(levels)


def decoder_name(model: Mapping[str, Any]) -> str:
    """Return the name of a network's decoder from the network's settings, as in ``conf/model``.

    A decoder with the levels of a file in ``conf/decoder`` has the name of that file, such as ``deconv``. Any other
    decoder is named after its levels, such as ``bilinear-bilinear-deconv-subpixel``. The decoder of a network without
    ``upsample`` cannot be exchanged and is called ``own``.
    """
    levels = decoder_levels(model)
    return _presets().get(levels, "-".join(levels)) if levels else OWN_DECODER


def require_decoder_applies(model: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Reject a ``decoder`` override if the network has a fixed decoder.

    Args:
        model: the network's settings, as in ``conf/model``.
        overrides: the user's overrides, ``key=value``.

    Raises:
        InputError: if the overrides contain ``decoder=`` or ``decoder.levels=``, but the decoder cannot be exchanged.
    """
    given = [override for override in overrides if re.match(r"[+~]*decoder[.=]", override)]
    if given and not decoder_levels(model):
        network = str(model.get("_target_")).rsplit(".", 1)[-1]
        found = f"{network}, which has a fixed decoder: decoder= does not apply to that model"
        raise InputError(given[0], "a model with an exchangeable decoder (model=dsc_unet, model=unet)", found)


def run_dir(runs: str, name: str, ckpt_path: str | None) -> str:
    """Return the folder of a run.

    Args:
        runs: folder of all runs.
        name: the run's name; a default name from the configs starts with the date.
        ckpt_path: with ``last`` and a default name, the newest interrupted run is resumed.

    Raises:
        InputError: if there is no interrupted run to resume, or if the folder would be outside ``runs``.
    """
    _require_below("name", name)
    if ckpt_path == "last" and _DEFAULT.match(name):
        trained = [path.parent.parent for path in Path(runs).glob(f"**/{LAST}")]
        unfinished = [folder for folder in trained if not finished(folder)]
        if not unfinished:
            raise InputError(runs, "an interrupted run, for ckpt_path=last", "none with a checkpoint")
        return str(max(unfinished, key=lambda folder: (folder / LAST).stat().st_mtime))
    return str(Path(runs, name))


def sweep_name(given: str | None, shared: Mapping[str, Any]) -> str:
    """Return the name of a sweep's folder below ``runs``, which stays the same when a sweep is started again.

    Args:
        given: name chosen by the user.
        shared: what all jobs have, from ``shared_by_jobs``; their experiment is the default name.

    Raises:
        InputError: if the folder would be outside ``runs``.
    """
    _require_below("sweep", given or "")
    return given or shared["experiment"] or "sweep"


def _require_below(key: str, name: str) -> None:
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise InputError(key, "a folder name below runs (runs=… chooses another parent folder)", name)


def shared_by_jobs(experiment: str | None, overrides: Sequence[str]) -> dict[str, Any]:
    """Return what all jobs of a sweep have: an experiment, if it is the same, and the keys with a single value.

    The resolver is cached, and Hydra copies the cache of a sweep to its jobs. Each job therefore gets what the sweep
    has, such as no experiment if the command lists several.

    Args:
        experiment: choice in ``conf/experiment``.
        overrides: the overrides, ``key=value``.
    """
    # Texts as they were given: some interpolations have no value before the jobs.
    texts: Any = OmegaConf.to_container(overrides, resolve=False) if isinstance(overrides, ListConfig) else overrides
    given = OverridesParser.create().parse_overrides(list(texts))
    return {"experiment": experiment, "keys": [one.key_or_group for one in given if not one.is_sweep_override()]}


def job_name(
    model: str, decoder: str, fold: int, seed: int, overrides: Sequence[str], shared: Mapping[str, Any]
) -> str:
    """Return the name of a job's folder, such as ``unet_deconv_fold0_seed0_lr0.001``.

    Args:
        model: choice in ``conf/model``.
        decoder: name of the decoder, from ``decoder_name``.
        fold: number of the fold.
        seed: seed of the run.
        overrides: the job's overrides, ``key=value``; the name contains only the last part of each key. Long names,
            and those with letters outside ASCII, end with a hash.
        shared: what all jobs have, from ``shared_by_jobs``.
    """
    parts = [model, decoder, f"fold{fold}", f"seed{seed}"]
    for override in sorted(overrides):
        key, _, value = override.lstrip("+~").partition("=")
        if _is_named(key, value, shared["keys"]):
            parts.append(f"{key.rsplit('.', 1)[-1]}{value}" if "." in key else f"{key}-{value or 'none'}")
    name = re.sub(r"[^a-zA-Z0-9_.+\x80-\U0010ffff-]+", "-", "_".join(parts)).replace("-_", "_").strip("-")
    if name.isascii() and len(name) <= LONGEST:
        return name
    # Other alphabets are only in the hash: file systems may count bytes, or not know some letters.
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{re.sub(r'[^!-~]+', '-', name)[: LONGEST - 9]}-{digest}"


def _is_named(key: str, value: str, shared: Sequence[str]) -> bool:
    if key == CONTINUED and value.strip("'\"") in OWN:
        return False
    return key not in shared if key in _SHARED else key not in _UNNAMED and key.split(".")[0] not in FREE


@functools.cache
def _presets() -> dict[tuple[str, ...], str]:
    files = sorted((CONF / "decoder").glob("*.yaml"))
    return {tuple(OmegaConf.select(OmegaConf.load(file), "levels")): file.stem for file in files}
