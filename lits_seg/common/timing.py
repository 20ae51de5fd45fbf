"""The one way to time a task: several passes, of which the fastest counts."""

import timeit
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
Task = Callable[[], object]


def seconds(task: Task) -> float:
    """Return the seconds of a single pass."""
    return timeit.timeit(task, number=1)


def fastest(task: Task, passes: int = 2) -> float:
    """Return the seconds of the fastest pass: other work on the machine can only slow a pass down.

    Args:
        task: called once a pass; a task on the GPU waits for the GPU itself.
        passes: timed passes, after one that fills caches and starts threads.
    """
    return min(timeit.repeat(task, number=1, repeat=1 + passes)[1:])


def fastest_in_turns(tasks: Mapping[Key, Task], passes: int = 2) -> dict[Key, float]:
    """Return the seconds of each task's fastest pass, timed in turns so that other work meets all tasks alike.

    Args:
        tasks: see ``fastest``.
        passes: timed passes of each task, after one that does not count.
    """
    turns = [{key: seconds(task) for key, task in tasks.items()} for _ in range(1 + passes)]
    return {key: min(turn[key] for turn in turns[1:]) for key in tasks}
