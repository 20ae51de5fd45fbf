"""Search for hyper-parameters: an Optuna study that survives kills, and its results as files."""

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

TABLE, BEST = "search.csv", "best.yaml"

# Attributes of the study: the search, and the interrupted trials. Attribute of a trial: the number it repeats.
_SEARCH, _INTERRUPTED, _AGAIN = "search", "interrupted", "again"

log = logging.getLogger(__name__)


def require_settings(n_trials: Any, n_jobs: Any, direction: Any, sampler: DictConfig) -> None:
    """Check the settings of ``hydra.sweeper``.

    Args:
        n_trials: trials in all.
        n_jobs: trials at the same time.
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
    """Open the study in a journal, or create it; interrupted trials are marked failed and queued for a retry.

    Args:
        path: the journal.
        name: the study's name.
        direction: ``maximize`` or ``minimize``.
        overrides: the command's, which say what is searched.

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
            raise InputError(path, "a folder without a search, or this search's own", "; ".join(differing))
        study.set_user_attr(_SEARCH, asked)
        _repeat_interrupted(study, distributions(overrides).keys())
        yield study


def count(study: optuna.Study) -> int:
    """Return how many trials ended by themselves, failed or not."""
    interrupted = _interrupted(study)
    return sum(trial.state.is_finished() and trial.number not in interrupted for trial in study.trials)


def ask(study: optuna.Study, space: Mapping[str, Distribution], sampler: DictConfig, number: int) -> Trial:
    """Return the next trial: the retry of an interrupted trial, or what the sampler proposes.

    Each trial has a random generator of its own, seeded by the sampler's seed and the number. A resumed search thus
    proposes the same trials as an uninterrupted one; one generator for all would propose the first trials twice.

    Args:
        study: the search.
        space: what is searched, by key.
        sampler: the config of Optuna's sampler.
        number: how many trials came before.
    """
    seed = sampler.get("seed")
    drawn = {} if seed is None else {"seed": int(np.random.SeedSequence((seed, number)).generate_state(1)[0])}
    study.sampler = instantiate(sampler, **drawn)
    return study.ask({**space})


def tell(study: optuna.Study, trial: Trial, returned: JobReturn) -> None:
    """Record and log what a job returned.

    Args:
        study: the search.
        trial: the job's trial.
        returned: what Hydra's launcher returned for the job.
    """
    try:
        value = returned.return_value
        reason = f"the job returned {value}"
    except Exception as error:  # whatever the job raised: the other trials continue
        value, reason = None, explain(error) or repr(error)
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        study.tell(trial, state=TrialState.FAIL)
        log.error("trial %d failed: %s", trial.number, reason)
        return
    study.tell(trial, value)
    log.info("trial %d: %.4f (best: %.4f, trial %d)", trial.number, value, study.best_value, study.best_trial.number)


def parameters(trial: Trial | FrozenTrial) -> dict[str, Any]:
    """Return a trial's values by key, as its job gets them."""
    return {key: _rounded(value, trial.distributions[key]) for key, value in trial.params.items()}


def write_tables(study: optuna.Study, folder: Path) -> None:
    """Write ``search.csv`` with a row per trial, and ``best.yaml`` if a trial has a value.

    Args:
        study: the search.
        folder: where to write.
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
        folder: named in the text.

    Raises:
        InputError: if no trial has a value.
    """
    failed = sum(_state(study, trial) == "failed" for trial in study.trials)
    if failed == count(study):
        raise InputError(folder, "a trial that returns a value", f"{failed} failed ones")
    best = study.best_trial
    return "\n".join(
        [
            f"{count(study)} trials, {failed} failed; the best, trial {best.number}: {best.value:.4f}",
            *(f"  {key}={value}" for key, value in parameters(best).items()),
            f"search folder: {folder}",
        ]
    )


def _rounded(value: Any, distribution: BaseDistribution) -> Any:
    # range(0.1,0.5,0.1): 0.3, not 0.1 + 2 * 0.1 = 0.30000000000000004.
    stepped = isinstance(distribution, FloatDistribution) and distribution.step is not None
    return float(f"{value:.12g}") if stepped else value


@contextmanager
def _journal(path: Path) -> Iterator[JournalStorage]:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(path, "no search that is running", "another process that has it open") from error
    try:
        yield _mended(path)
    finally:
        lock.release()


def _mended(path: Path) -> JournalStorage:
    """Open a journal, without what a kill left: Optuna's own lock, and half a line that new lines would follow."""
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
    running = [trial.number for trial in study.get_trials(states=(TrialState.RUNNING,))]
    study.set_user_attr(_INTERRUPTED, sorted(_interrupted(study).union(running)))
    for number in running:
        study.tell(number, state=TrialState.FAIL)
    trials = study.trials
    repeated = {trial.user_attrs.get(_AGAIN) for trial in trials}
    for number in _interrupted(study) - repeated:
        if trials[number].params.keys() == keys:  # else the trial was interrupted before its job started
            study.enqueue_trial(trials[number].params, user_attrs={_AGAIN: number})


def _interrupted(study: optuna.Study) -> set[int]:
    return set(study.user_attrs.get(_INTERRUPTED, ()))


def _state(study: optuna.Study, trial: FrozenTrial) -> str:
    if trial.number in _interrupted(study):
        return "interrupted"
    return "failed" if trial.state == TrialState.FAIL else trial.state.name.lower()
