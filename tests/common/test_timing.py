"""The fastest pass counts, and the first does not."""

import time
from collections.abc import Callable

from lits_seg.common.timing import fastest, fastest_in_turns, seconds


def sleeps(*durations: float) -> Callable[[], None]:
    """A task that takes these seconds, pass by pass."""
    left = iter(durations)
    return lambda: time.sleep(next(left))


def test_a_single_pass() -> None:
    assert seconds(sleeps(0.02)) >= 0.02


def test_the_first_pass_does_not_count() -> None:
    assert 0.02 <= fastest(sleeps(0, 0.4, 0.02), passes=2) < 0.4


def test_tasks_take_turns() -> None:
    order: list[str] = []
    times = fastest_in_turns({name: lambda name=name: order.append(name) for name in "ab"}, passes=2)
    assert order == ["a", "b"] * 3
    assert times.keys() == {"a", "b"}
    times = fastest_in_turns({"slow": sleeps(0, 0.03, 0.5), "fast": sleeps(0.5, 0.02, 0.01)}, passes=2)
    assert 0.03 <= times["slow"] < 0.5
    assert 0.01 <= times["fast"] < 0.5
