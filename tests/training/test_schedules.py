"""Learning rates by the progress of a run."""

import math
import time
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lits_seg.common.errors import InputError
from lits_seg.training.callbacks import timer
from lits_seg.training.schedules import Decay, Exponential, progress


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


class Timed(pl.LightningModule):
    """A weight whose learning rate follows the time; each rank saves the weight and starts at another time."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder, self.weight = folder, torch.nn.Parameter(torch.ones(1))

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": Decay(optimizer, 0), "interval": "step"}}

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        scheduler.progress = progress(self.trainer)
        super().lr_scheduler_step(scheduler, metric)

    def on_train_start(self) -> None:
        time.sleep(0.1 * self.global_rank)

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        return (self.weight * batch).sum()

    def on_train_end(self) -> None:
        torch.save(self.weight, self.folder / f"{self.global_rank}.pt")


@pytest.mark.skipif("torch.cuda.is_initialized()", reason="processes that use CUDA cannot be forked")
def test_all_ranks_have_the_rates_of_the_same_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # forked processes cannot start more threads
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(
        accelerator="cpu", devices=2, strategy="ddp_fork", max_epochs=-1, callbacks=[timer(minutes=0.01)],
        enable_checkpointing=False, **quiet,
    )  # fmt: skip
    trainer.fit(Timed(tmp_path), torch.utils.data.DataLoader(torch.ones(8, 1)))
    one, other = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert torch.equal(one, other)
