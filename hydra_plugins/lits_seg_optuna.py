"""``hydra/sweeper=optuna``: the jobs of a Hydra sweep are the trials of an Optuna search.

Hydra takes plugins from the namespace ``hydra_plugins`` alone, and imports all of them at every start: Optuna, and what
needs it, waits for a search.
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

from lits_seg.common.errors import InputError
from lits_seg.common.files import write_text


class OptunaSweeper(Sweeper):
    """Asks Optuna for ``n_jobs`` trials, has the launcher run them, tells what they returned; until ``n_trials``.

    Arguments are Hydra's: intervals, ranges and choices are searched, anything else is the same in every job. A job
    returns the value; one that raises, or returns None or NaN, is a failed trial. ``storage`` is Optuna's journal: the
    same command goes on from it after a kill, to the same proposals (``sampler`` with a seed). The sweep's folder has
    ``search.csv`` and ``best.yaml`` after each batch.

    Raises ``InputError`` for a search that is none, in a folder of another one, and without Optuna.
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
        """Hydra's: called before ``sweep``."""
        self.hydra_context = hydra_context
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Runs the search, or what is left of it."""
        _require_optuna()
        from lits_seg.sweeps import search
        from lits_seg.sweeps import space as search_space

        search.require_settings(self.n_trials, self.n_jobs, self.direction, self.sampler)
        overrides = OverridesParser.create(config_loader=self.hydra_context.config_loader).parse_overrides(arguments)
        space = search_space.distributions(overrides)
        # A wrong key or choice is an error of the command, not of twenty trials.
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
                # Equal trials are one job: side by side, two would share a folder.
                once = list(dict.fromkeys(jobs))
                returns = dict(zip(once, self.launcher.launch(once, initial_job_idx=done), strict=True))
                for trial, job in zip(trials, jobs, strict=True):
                    search.tell(study, trial, returns[job])
                search.write_tables(study, folder)
            print(search.summary(study, folder))


def _require_optuna() -> None:
    if importlib.util.find_spec("optuna") is None:
        raise InputError("hydra/sweeper=optuna", "Optuna (pip install 'lits_seg[sweep]')", "not installed")
