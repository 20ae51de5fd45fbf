"""Search hyper-parameters with an Optuna study that survives kills, and write the results into files."""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from filelock import FileLock, Timeout
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.storages.journal import JournalFileBackend, JournalStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from lits_seg.cli import explain
from lits_seg.common.errors import InputError
from lits_seg.common.files import write_text
from lits_seg.common.tables import csv_text
from lits_seg.runs.folder import differences
from lits_seg.sweeps.space import Distribution, distributions

TABLE = "search.csv"
BEST = "best.yaml"

_SEARCH = "search"  # attribute of the study: the overrides that define the search
_INTERRUPTED = "interrupted"  # attribute of the study: numbers of interrupted trials
_AGAIN = "again"  # attribute of a trial: number of the interrupted trial that this trial repeats

log = logging.getLogger(__name__)


def require_settings(n_trials: Any, n_jobs: Any, direction: Any, sampler: DictConfig) -> None:
    """Check the settings of ``hydra.sweeper``.

    Args:
        n_trials: total number of trials.
        n_jobs: number of trials at the same time.
        direction: ``maximize`` or ``minimize``.
        sampler: the config of Optuna's sampler.

    Raises:
        InputError: if a setting is out of range. An unknown sampler raises Hydra's own error.
    """
    for name, number in (("n_trials", n_trials), ("n_jobs", n_jobs)):
        if not isinstance(number, int) or number < 1:
            raise InputError(f"hydra.sweeper.{name}", "a whole number, at least 1", number)
    if direction not in ("maximize", "minimize"):
        raise InputError("hydra.sweeper.direction", "maximize or minimize", direction)
    seed = sampler.get("seed")
    if seed is not None and (not isinstance(seed, int) or seed < 0):
        raise InputError("hydra.sweeper.sampler.seed", "a whole number, at least 0, or null", seed)
    instantiate(sampler)


@contextmanager
def opened(path: Path, name: str, direction: str, overrides: Sequence[Override]) -> Iterator[optuna.Study]:
    """Open or create the study in a journal. Interrupted trials are marked failed and queued for a retry.

    Args:
        path: the journal file.
        name: name of the study.
        direction: ``maximize`` or ``minimize``.
        overrides: overrides of the command, which define the search.

    Raises:
        InputError: if another process has the journal open, or if the journal belongs to another search.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    asked = {override.get_key_element(): str(override.input_line).partition("=")[2] for override in overrides}
    asked["hydra.sweeper.direction"] = direction
    with _journal(path) as storage:
        others = set(optuna.get_all_study_names(storage)) - {name}
        if others:
            raise InputError(path, f"a folder without a search, or hydra.sweeper.study_name={name}", ", ".join(others))
        study = optuna.create_study(
            storage=storage, study_name=name, direction=StudyDirection[direction.upper()], load_if_exists=True
        )
        differing = differences(study.user_attrs.get(_SEARCH, asked), asked)
        if differing:
            raise InputError(path, "a folder without a search, or with this search", "; ".join(differing))
        study.set_user_attr(_SEARCH, asked)
        _repeat_interrupted(study, distributions(overrides).keys())
        yield study


def count(study: optuna.Study) -> int:
    """Return the number of trials that ended without an interruption, failed or not."""
    interrupted = _interrupted(study)
    return sum(trial.state.is_finished() and trial.number not in interrupted for trial in study.trials)


def ask(study: optuna.Study, space: Mapping[str, Distribution], sampler: DictConfig, number: int) -> Trial:
    """Return the next trial: the retry of an interrupted trial, or a proposal of the sampler.

    The sampler is seeded for each trial by its seed and the trial's number. A resumed search therefore proposes the
    same trials as an uninterrupted one. With one random generator for all trials, a resumed search would propose the
    first trials again.

    Args:
        study: the search.
        space: distribution of each searched value, by key.
        sampler: the config of Optuna's sampler.
        number: number of earlier trials.
    """
    seed = sampler.get("seed")
    drawn = {} if seed is None else {"seed": int(np.random.SeedSequence((seed, number)).generate_state(1)[0])}
    study.sampler = instantiate(sampler, **drawn)
    return study.ask({**space})


def tell(study: optuna.Study, trial: Trial, returned: JobReturn) -> None:
    """Record and log the value of a trial, or its failure.

    Args:
        study: the search.
        trial: the trial of the job.
        returned: return of Hydra's launcher for the job.
    """
    try:
        value = returned.return_value
        reason = f"the job returned {value}"
    except Exception as error:  # any exception of the job is a failed trial; other trials continue
        value, reason = None, explain(error) or repr(error)
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        study.tell(trial, state=TrialState.FAIL)
        log.error("trial %d failed: %s", trial.number, reason)
        return
    study.tell(trial, value)
    log.info("trial %d: %.4f (best: %.4f, trial %d)", trial.number, value, study.best_value, study.best_trial.number)


def parameters(trial: Trial | FrozenTrial) -> dict[str, Any]:
    """Return a trial's values by key, in the form in which the job gets them."""
    return {key: _rounded(value, trial.distributions[key]) for key, value in trial.params.items()}


def write_tables(study: optuna.Study, folder: Path) -> None:
    """Write ``search.csv`` with a row per trial, and ``best.yaml`` if a trial has a value.

    Args:
        study: the search.
        folder: folder of both files.
    """
    trials = [trial for trial in study.trials if trial.state != TrialState.WAITING]
    keys = dict.fromkeys(key for trial in trials for key in trial.params)
    rows = [
        {
            "number": trial.number,
            "state": _state(study, trial),
            "value": trial.value,
            **dict.fromkeys(keys),
            **parameters(trial),
        }
        for trial in trials
    ]
    write_text(folder / TABLE, csv_text(rows, ("number", "state", "value")))
    if any(trial.state == TrialState.COMPLETE for trial in trials):
        best = study.best_trial
        found = {"number": best.number, "value": best.value, "parameters": parameters(best)}
        write_text(folder / BEST, OmegaConf.to_yaml(OmegaConf.create(found)))


def summary(study: optuna.Study, folder: Path) -> str:
    """Return the best trial as text.

    Args:
        study: the search.
        folder: folder of the search, which the text names.

    Raises:
        InputError: if no trial has a value.
    """
    failed = sum(_state(study, trial) == "failed" for trial in study.trials)
    if failed == count(study):
        raise InputError(folder, "a trial that returns a value", f"{failed} failed trials")
    best = study.best_trial
    return "\n".join(
        [
            f"{count(study)} trials, {failed} failed; best: trial {best.number}, value {best.value:.4f}",
            *(f"  {key}={value}" for key, value in parameters(best).items()),
            f"search folder: {folder}",
        ]
    )


def _rounded(value: Any, distribution: BaseDistribution) -> Any:
    # Without rounding, the third value of range(0.1,0.5,0.1) would be 0.30000000000000004.
    stepped = isinstance(distribution, FloatDistribution) and distribution.step is not None
    return float(f"{value:.12g}") if stepped else value


@contextmanager
def _journal(path: Path) -> Iterator[JournalStorage]:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(path, "a search that is not running", "a journal that another process has open") from error
    try:
        yield _repaired(path)
    finally:
        lock.release()


def _repaired(path: Path) -> JournalStorage:
    """Open a journal after removing what a kill may leave: Optuna's lock, and half a line at the end."""
    Path(f"{path}.lock").unlink(missing_ok=True)
    with path.open("ab+") as file:
        file.seek(0)
        content = file.read()
        try:
            storage = JournalStorage(JournalFileBackend(str(path)))
            if not b"{".startswith(content[:1]):
                raise ValueError(content[:20])
        except (ValueError, LookupError, AssertionError) as error:
            raise InputError(path, "the journal of a search", f"another file ({error})") from error
        file.truncate(content.rfind(b"\n") + 1)
    return storage


def _repeat_interrupted(study: optuna.Study, keys: Set[str]) -> None:
    """Mark running trials, which no process runs any more, as failed, and queue retries of interrupted trials."""
    running = [trial.number for trial in study.get_trials(states=(TrialState.RUNNING,))]
    study.set_user_attr(_INTERRUPTED, sorted(_interrupted(study).union(running)))
    for number in running:
        study.tell(number, state=TrialState.FAIL)
    trials = study.trials
    repeated = {trial.user_attrs.get(_AGAIN) for trial in trials}
    for number in _interrupted(study) - repeated:
        if trials[number].params.keys() == keys:  # without all keys, the job never started
            study.enqueue_trial(trials[number].params, user_attrs={_AGAIN: number})


def _interrupted(study: optuna.Study) -> set[int]:
    return set(study.user_attrs.get(_INTERRUPTED, ()))


def _state(study: optuna.Study, trial: FrozenTrial) -> str:
    if trial.number in _interrupted(study):
        return "interrupted"
    return "failed" if trial.state == TrialState.FAIL else trial.state.name.lower()
