"""Learning rates that follow the progress of a run, by steps or by minutes."""

import math
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from hydra.utils import instantiate
from pytorch_lightning.callbacks import Timer
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lits_seg.common.errors import InputError
from lits_seg.common.stages import Stages, at_stage, require_stages


class Decay(LRScheduler):
    """A learning rate that rises linearly, and then falls by a cosine or a polynomial to its end.

    The base class counts steps. ``LesionModule`` instead sets ``progress``, the share of the run that is done: a run
    may be limited by steps or by minutes.

    Args:
        optimizer: the optimizer; its learning rates are the highest.
        warmup: share of the run in which the rate rises, in [0, 1).
        power: exponent of the polynomial ``(1 - progress) ** power``; None: a cosine.
        end: last rate as a share of the highest.

    Raises:
        InputError: if a value is out of range.
    """

    progress = 0.0

    def __init__(
        self, optimizer: Optimizer, warmup: float = 0.05, power: float | None = None, end: float = 0.0
    ) -> None:
        if not 0 <= warmup < 1:
            raise InputError("scheduler.warmup", "0 or more, less than 1", warmup)
        if power is not None and power <= 0:
            raise InputError("scheduler.power", "above 0, or null", power)
        if not 0 <= end <= 1:
            raise InputError("scheduler.end", "between 0 and 1", end)
        self.warmup, self.power, self.end = warmup, power, end
        super().__init__(optimizer)

    def get_lr(self) -> list[Any]:
        """Return the rates at ``progress``."""
        return [rate * self._factor() for rate in self.base_lrs]

    def _factor(self) -> float:
        if self.progress < self.warmup:
            return max(0.01, self.progress / self.warmup)
        done = min(1.0, (self.progress - self.warmup) / (1 - self.warmup))
        shape = (1 + math.cos(math.pi * done)) / 2 if self.power is None else (1 - done) ** self.power
        return self.end + (1 - self.end) * shape


class Exponential(Decay):
    """A learning rate that falls exponentially to its end, such as by a tenth in every epoch.

    Args:
        optimizer: the optimizer.
        end: last rate as a share of the first, above 0.

    Raises:
        InputError: if ``end`` is out of range.
    """

    def __init__(self, optimizer: Optimizer, end: float) -> None:
        if not 0 < end <= 1:
            raise InputError("scheduler.end", "above 0, at most 1", end)
        super().__init__(optimizer, end=end)

    def _factor(self) -> float:
        return self.end**self.progress


class Steps(Decay):
    """A learning rate that changes at given shares of the run.

    Args:
        optimizer: the optimizer.
        stages: from each share of the run on, the rate as a share of the optimizer's.

    Raises:
        InputError: if ``stages`` do not ascend from 0.
    """

    def __init__(self, optimizer: Optimizer, stages: Stages) -> None:
        self.stages = require_stages("scheduler.stages", stages)
        super().__init__(optimizer)

    def _factor(self) -> float:
        return at_stage(self.stages, self.progress)


def scheduler_of(config: Mapping[str, Any], optimizer: Optimizer, trainer: pl.Trainer) -> LRScheduler:
    """Return a scheduler at its first step.

    Args:
        config: the scheduler's config, where ``auto`` is the number of steps of the run.
        optimizer: the optimizer.
        trainer: the trainer, which knows the end of the run.

    Raises:
        InputError: if the scheduler ends before the run, needs the end of a run without one, or has a single rate for
            layers with several.
    """
    steps = trainer.estimated_stepping_batches
    if math.isinf(steps) and "auto" in config.values():
        raise InputError("scheduler", "a run with an end in steps, or scheduler=cosine or poly", "none")
    if "max_lr" in config and len(optimizer.param_groups) > 1:
        raise InputError("scheduler", "one that keeps the rates of the layers (rates=…), such as cosine", "max_lr")
    scheduler = instantiate(with_steps(config, steps), optimizer=optimizer)
    if isinstance(scheduler, Decay):
        scheduler.progress = progress(trainer)
    total = getattr(scheduler, "total_steps", steps)
    if total < steps:
        raise InputError("scheduler.total_steps", f"auto, or at least the {steps} steps of the run", total)
    return scheduler


def progress(trainer: pl.Trainer) -> float:
    """Return the share of the training that is done, by steps or by time, in [0, 1].

    All ranks must call this function equally often: they get the first rank's time.
    """
    by_steps = trainer.global_step / trainer.estimated_stepping_batches
    timers = [callback for callback in trainer.callbacks if isinstance(callback, Timer)]
    limits = [(timer.time_elapsed(), timer.time_remaining()) for timer in timers]
    by_time = [elapsed / (elapsed + left) for elapsed, left in limits if left is not None]
    done = min(1.0, max([by_steps, *by_time]))
    return trainer.strategy.broadcast(done) if by_time else done


def with_steps(settings: Any, steps: int) -> Any:
    """Replace ``auto`` in the settings of a scheduler.

    Args:
        settings: the settings; anything but a mapping is returned as given.
        steps: number of steps of the run.
    """
    if not isinstance(settings, Mapping):
        return settings
    return {key: steps if value == "auto" else value for key, value in settings.items()}
