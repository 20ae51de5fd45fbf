"""Time tasks: of several passes, the fastest counts."""

import timeit
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
Task = Callable[[], object]


def seconds(task: Task) -> float:
    """Return the time of a single pass in s."""
    return timeit.timeit(task, number=1)


def fastest(task: Task, passes: int = 2) -> float:
    """Return the time of the fastest pass in s, since other work on the machine can only slow a pass down.

    Args:
        task: called once per pass; a task on the GPU must synchronise itself.
        passes: number of timed passes, after a warm-up pass.
    """
    return min(timeit.repeat(task, number=1, repeat=1 + passes)[1:])


def fastest_in_turns(tasks: Mapping[Key, Task], passes: int = 2) -> dict[Key, float]:
    """Return the time of each task's fastest pass in s.

    The tasks take turns, so that other work on the machine affects all tasks alike.

    Args:
        tasks: the tasks, see ``fastest``.
        passes: number of timed passes of each task, after a warm-up pass.
    """
    turns = [{key: seconds(task) for key, task in tasks.items()} for _ in range(1 + passes)]
    return {key: min(turn[key] for turn in turns[1:]) for key in tasks}
