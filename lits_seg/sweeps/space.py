"""Convert Hydra's sweep overrides into Optuna's distributions, and a trial's values into overrides."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep, Sweep, Transformer
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from lits_seg.common.errors import InputError

Distribution = CategoricalDistribution | FloatDistribution | IntDistribution


def distributions(overrides: Sequence[Override]) -> dict[str, Distribution]:
    """Return the distribution of each searched value, by key.

    Raises:
        InputError: if no override is a sweep, or if Optuna has no distribution for a sweep.
    """
    searched = [override for override in overrides if override.is_sweep_override()]
    space = {override.get_key_element(): _distribution(override) for override in searched}
    if not space:
        raise InputError(
            "hydra/sweeper=optuna",
            "a value to search, such as optimizer.lr=interval(1e-4,1e-2)",
            " ".join(str(override.input_line) for override in overrides) or "nothing",
        )
    return space


def examples(space: Mapping[str, Distribution]) -> list[dict[str, Any]]:
    """Return sample values that together use every choice at least once."""
    options = {
        key: list(part.choices) if isinstance(part, CategoricalDistribution) else [part.low]
        for key, part in space.items()
    }
    first = {key: values[0] for key, values in options.items()}
    return [first, *({**first, key: value} for key, values in options.items() for value in values[1:])]


def job(overrides: Sequence[Override], values: Mapping[str, Any]) -> list[str]:
    """Return the overrides of a job, in the order of the command.

    Args:
        overrides: overrides of the command, including sweeps.
        values: the job's value of each sweep, by key.
    """
    return [
        f"{override.get_key_element()}={values[override.get_key_element()]}"
        if override.is_sweep_override()
        else str(override.input_line)
        for override in overrides
    ]


def _distribution(override: Override) -> Distribution:
    value = override.value()
    tags = value.tags if isinstance(value, Sweep) else set()
    numbers = isinstance(value, (IntervalSweep, RangeSweep))
    if tags - ({"log"} if numbers else set()):
        raise InputError(override.input_line, "no tag except log, on an interval or a range", ", ".join(sorted(tags)))
    if getattr(value, "shuffle", False):
        raise InputError(override.input_line, "values without shuffle(…)", "shuffle")
    try:
        if isinstance(value, IntervalSweep):
            return _between(value.start, value.end, log="log" in tags)
        values: list[Any] = list(override.sweep_iterator(transformer=Transformer.encode))
        if not values:
            raise ValueError("none")
        if isinstance(value, RangeSweep):
            first, last = sorted((values[0], values[-1]))
            return _between(first, last, log="log" in tags, step=abs(value.step))
        return CategoricalDistribution(list(dict.fromkeys(values)))
    except ValueError as error:
        raise InputError(override.input_line, "values to search between or among", error) from error


def _between(low: Any, high: Any, **options: Any) -> Distribution:
    whole = isinstance(low, int) and isinstance(high, int)
    return (IntDistribution if whole else FloatDistribution)(low, high, **options)
