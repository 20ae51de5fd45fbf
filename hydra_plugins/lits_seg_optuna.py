"""``hydra/sweeper=optuna``: run the jobs of a Hydra sweep as the trials of an Optuna search.

Hydra finds plugins only in the namespace ``hydra_plugins``, and imports all of them at every start. This module
therefore imports Optuna only when a search starts.
"""

import importlib.util
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from lits_seg.common.dependencies import install
from lits_seg.common.errors import InputError
from lits_seg.common.files import write_text


class OptunaSweeper(Sweeper):
    """Ask Optuna for ``n_jobs`` trials, launch them and record their values, until ``n_trials`` have ended.

    Intervals, ranges and choices among Hydra's overrides are searched. All other overrides apply to every job. A job
    that raises, or returns None or NaN, is a failed trial. The same command resumes a killed search from the journal,
    with the same proposals if ``sampler`` has a seed. After each batch, ``search.csv`` and ``best.yaml`` are written
    into the sweep's folder.

    Args:
        n_trials: total number of trials.
        n_jobs: number of trials that the launcher gets at the same time.
        direction: ``maximize`` or ``minimize``.
        study_name: name of the search in the journal.
        storage: file of Optuna's journal.
        sampler: the config of Optuna's sampler.

    Raises:
        InputError: if no parameter is searched, the folder belongs to another search, or Optuna is missing.
    """

    hydra_context: HydraContext
    config: DictConfig
    launcher: Launcher

    def __init__(
        self, n_trials: int, n_jobs: int, direction: str, study_name: str, storage: str, sampler: DictConfig
    ) -> None:
        self.n_trials = n_trials
        self.n_jobs = n_jobs
        self.direction = direction
        self.study_name = study_name
        self.storage = Path(storage)
        self.sampler = sampler

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep Hydra's context and make the launcher. Hydra calls this before ``sweep``."""
        self.hydra_context = hydra_context
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run the search, or the rest of an interrupted search."""
        _require_optuna()
        from lits_seg.sweeps import search
        from lits_seg.sweeps import space as search_space

        search.require_settings(self.n_trials, self.n_jobs, self.direction, self.sampler)
        overrides = OverridesParser.create(config_loader=self.hydra_context.config_loader).parse_overrides(arguments)
        space = search_space.distributions(overrides)
        # Check now, so that a wrong key or choice is a single error of the command instead of an error of each trial.
        self.validate_batch_is_legal([search_space.job(overrides, values) for values in search_space.examples(space)])

        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        with search.opened(self.storage, self.study_name, self.direction, overrides) as study:
            write_text(folder / "multirun.yaml", OmegaConf.to_yaml(self.config))
            search.write_tables(study, folder)
            while (done := search.count(study)) < self.n_trials:
                batch = range(done, min(done + self.n_jobs, self.n_trials))
                trials = [search.ask(study, space, self.sampler, number) for number in batch]
                jobs = [tuple(search_space.job(overrides, search.parameters(trial))) for trial in trials]
                # Equal trials share a job, because two equal jobs at the same time would share a folder.
                once = list(dict.fromkeys(jobs))
                returns = dict(zip(once, self.launcher.launch(once, initial_job_idx=done), strict=True))
                for trial, job in zip(trials, jobs, strict=True):
                    search.tell(study, trial, returns[job])
                search.write_tables(study, folder)
            print(search.summary(study, folder))


def _require_optuna() -> None:
    if importlib.util.find_spec("optuna") is None:
        raise InputError("hydra/sweeper=optuna", f"Optuna ({install('sweep')})", "not installed")
