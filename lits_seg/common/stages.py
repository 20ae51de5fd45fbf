"""Values that change at given shares of a run."""

from collections.abc import Sequence
from typing import Annotated, TypeVar

from annotated_types import Ge, Le, MinLen

from lits_seg.common.errors import InputError
from lits_seg.common.settings import Probability

T = TypeVar("T", int, float)
# From each share of the run on, a value: [[0, 1.0], [0.3, 0.5]].
Stages = Annotated[Sequence[tuple[Probability, Annotated[float, Ge(0), Le(1_000_000)]]], MinLen(1)]


def require_stages(key: str, stages: Sequence[tuple[float, T]], what: str = "value") -> Sequence[tuple[float, T]]:
    """Require stages in ascending order from the start of the run, and return them.

    Args:
        key: the setting, which the error names.
        stages: the stages.
        what: name of the values.

    Raises:
        InputError: if the stages do not ascend from 0.
    """
    starts = [start for start, _ in stages]
    if starts != sorted(set(starts)) or starts[:1] != [0]:
        raise InputError(
            key, f"[share of the run, {what}] in ascending order from 0", [list(stage) for stage in stages]
        )
    return stages


def at_stage(stages: Sequence[tuple[float, T]], progress: float) -> T:
    """Return the value at a share of the run.

    Args:
        stages: see ``require_stages``.
        progress: share of the run that is done, in [0, 1].
    """
    return [value for start, value in stages if progress >= start][-1]
