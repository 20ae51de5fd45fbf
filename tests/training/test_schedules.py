"""Learning rates by the progress of a run."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lits_seg.common.errors import InputError
from lits_seg.training.schedules import Decay, Exponential


def rates(progress: list[float], kind: type[Decay] = Decay, **settings: float | None) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule, found = kind(optimizer, **settings), []
    optimizer.step()
    for share in progress:
        schedule.progress = share
        schedule.step()
        found.append(optimizer.param_groups[0]["lr"])
    return found


@settings(deadline=None)
@given(warmup=st.floats(0, 0.9), power=st.none() | st.floats(0.5, 3), end=st.floats(0, 0.5))
def test_the_rate_rises_to_its_highest_and_falls_to_its_end(warmup: float, power: float | None, end: float) -> None:
    rising = rates([0.0, warmup / 2, warmup], warmup=warmup, power=power, end=end)
    falling = rates([warmup + (1 - warmup) * i / 10 for i in range(11)], warmup=warmup, power=power, end=end)
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)
    assert falling[0] == pytest.approx(0.1)
    assert falling[-1] == pytest.approx(0.1 * end, abs=1e-7)


def test_cosine_and_polynomial_by_hand() -> None:
    assert rates([0.25, 0.5], warmup=0) == pytest.approx([0.1 * (1 + math.cos(math.pi / 4)) / 2, 0.05])
    assert rates([0.25, 0.5], warmup=0, power=0.9) == pytest.approx([0.1 * 0.75**0.9, 0.1 * 0.5**0.9])


def test_an_exponential_falls_by_a_tenth_in_each_of_50_epochs() -> None:
    assert rates([0.0, 0.02, 0.5, 1.0], Exponential, end=0.9**50) == pytest.approx(
        [0.1, 0.09, 0.1 * 0.9**25, 0.1 * 0.9**50]
    )
    with pytest.raises(InputError, match=r"scheduler\.end: expected above 0"):
        rates([], Exponential, end=0.0)


@pytest.mark.parametrize("wrong", [{"warmup": 1.0}, {"warmup": -0.1}, {"power": 0.0}, {"end": 2.0}])
def test_values_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(InputError, match=f"scheduler.{next(iter(wrong))}: expected"):
        rates([], **wrong)
