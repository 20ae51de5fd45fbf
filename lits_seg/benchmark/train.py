"""How fast the network trains beside the UNet, as shipped and with each setting changed alone; all in one run."""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytorch_lightning as pl
import torch
from hydra import compose
from hydra.utils import instantiate
from omegaconf import DictConfig

from lits_seg.benchmark.machine import matmul_rate, wait
from lits_seg.benchmark.networks import contiguous_maps
from lits_seg.common.tables import markdown
from lits_seg.models.cost import count_macs, processor
from lits_seg.training.memory import keep_freed_memory
from lits_seg.training.module import LesionModule

NETWORKS = {"dsc_unet": ("model=dsc_unet", "decoder=subpixel"), "unet": ("model=unet", "decoder=deconv")}
PAPER_STEPS, PAPER_BATCH = 100_000, 16


@contextmanager
def _contiguous(module: LesionModule) -> Iterator[None]:
    module.network.to(memory_format=torch.contiguous_format)
    with contiguous_maps():
        yield


@contextmanager
def _compiled(module: LesionModule) -> Iterator[None]:
    module.network.compile()
    yield


def _memory_given_back(module: LesionModule) -> AbstractContextManager:
    return patch("lits_seg.training.module.keep_freed_memory", lambda: keep_freed_memory(False))


@dataclass
class Setting:
    """One way to train: ``overrides`` of the configuration as shipped, or a ``change`` of what it made."""

    name: str
    overrides: tuple[str, ...] = ()
    change: Callable[[LesionModule], AbstractContextManager] = nullcontext


SHIPPED = Setting("as shipped")
SETTINGS = (
    SHIPPED,
    Setting("`trainer.precision=bf16-mixed`", ("trainer.precision=bf16-mixed",)),
    Setting("memory in the order B, C, H, W", change=_contiguous),
    Setting("freed memory given back to the system", change=_memory_given_back),
    Setting("`torch.compile`", change=_compiled),
    Setting("`+optimizer.fused=true`", ("+optimizer.fused=true",)),
    Setting("`augment=paper_one_by_one`", ("augment=paper_one_by_one",)),
    Setting("`augment=none`", ("augment=none",)),
)


@dataclass
class Measured:
    """What the visits to one network with one setting gave."""

    cfg: DictConfig
    module: LesionModule
    seconds: list[float] = field(default_factory=list)  # of a step, one a visit
    peak: int = 0  # bytes on the GPU

    @property
    def rate(self) -> float:
        """Slices a second, of the fastest visit."""
        return self.cfg.data.batch_size / min(self.seconds)


class StepClock(pl.Callback):
    """Takes the time when each training step is over, on the device too."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_end(self, *args: Any) -> None:
        """Takes the time."""
        wait()
        self.times.append(time.perf_counter())

    def seconds(self) -> float:
        """From one step's end to the next one's: loading and augmentation are in it. Median, the first left out."""
        return statistics.median(after - before for before, after in zip(self.times, self.times[1:], strict=False))


def train_speed(size: int, batch: int | None, rounds: int, steps: int | None) -> str:
    """The table, in Markdown.

    Args:
        size: side of the images.
        batch: images in a step; None: 4 on a CPU, 16 on a GPU.
        rounds: visits to each network with each setting, taken in turns.
        steps: of the UNet, timed in each visit; None: 1 on a CPU, 20 on a GPU. The light network takes four times
            as many, in about the same time, so that what else the machine does meets both alike.
    """
    steps = steps or (20 if torch.cuda.is_available() else 1)
    batch = batch or (16 if torch.cuda.is_available() else 4)
    with tempfile.TemporaryDirectory() as folder:
        measured = {
            (setting.name, name): _make(Path(folder), size, batch, (*network, *setting.overrides))
            for setting in SETTINGS
            for name, network in NETWORKS.items()
        }
        limits: dict[str, float] = {}
        for _ in range(rounds):
            for dtype in ("float32", "bfloat16"):
                limits[dtype] = max(limits.get(dtype, 0.0), matmul_rate(getattr(torch, dtype)))
            for setting in SETTINGS:
                for name in NETWORKS:
                    _visit(measured[setting.name, name], setting, steps if name == "unet" else 4 * steps)
    return _text(measured, limits, size, batch, rounds)


def _make(folder: Path, size: int, batch: int, overrides: tuple[str, ...]) -> Measured:
    data = {
        "root": folder / "volumes",
        "generate.cases": 4,
        "generate.size": size,
        "generate.slices": 12,
        "folds": 2,
        "val_share": 0,
        "slices_per_epoch": 100_000,
        "preprocess.size": size,
        "batch_size": batch,
    }
    cfg = compose("train", [*overrides, f"store={folder / 'store'}", *(f"data.{key}={data[key]}" for key in data)])
    return Measured(cfg, instantiate(cfg.module))


def _visit(measured: Measured, setting: Setting, steps: int) -> None:
    clock = StepClock()
    trainer = instantiate(
        measured.cfg.trainer,
        max_epochs=-1,
        max_steps=1 + steps,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        callbacks=[clock],
    )
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with setting.change(measured.module):
        trainer.fit(measured.module, instantiate(measured.cfg.data))
    measured.seconds.append(clock.seconds())
    measured.peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    measured.module.cpu().zero_grad()


def _text(
    measured: dict[tuple[str, str], Measured], limits: dict[str, float], size: int, batch: int, rounds: int
) -> str:
    gpu = torch.cuda.is_available()
    device = torch.cuda.get_device_name() if gpu else f"{processor()}, no GPU"
    header = ["setting", "`dsc_unet`, slices/s", "`unet`, slices/s", "ratio", "`dsc_unet` to shipped"]
    header += ["`dsc_unet`, of limit", "`unet`, of limit", *(["`dsc_unet`, peak", "`unet`, peak"] if gpu else [])]
    shipped = {name: measured[SHIPPED.name, name] for name in NETWORKS}
    rows = []
    for setting in SETTINGS:
        both = [measured[setting.name, name] for name in NETWORKS]
        ours, unet = (one.rate for one in both)
        rows.append(
            [
                setting.name,
                f"{ours:.2f}",
                f"{unet:.2f}",
                f"{ours / unet:.1f} x",
                f"{ours / shipped['dsc_unet'].rate:.2f} x",
                *(f"{_share(one, limits, size):.0%}" for one in both),
                *(f"{one.peak / 1e9:.1f} GB" for one in both if gpu),
            ]
        )
    days = {name: PAPER_STEPS * PAPER_BATCH / one.rate / 86400 for name, one in shipped.items()}
    rates = ", ".join(f"{dtype} {rate / 1e9:.0f} GFLOP/s" for dtype, rate in limits.items())
    return "\n".join(
        [
            "# Training speed",
            "",
            markdown(header, rows),
            "",
            f"The paper's schedule, {PAPER_STEPS:,} steps of {PAPER_BATCH} slices, at the rates as shipped: "
            + ", ".join(f"`{name}` {value:.1f} days" for name, value in days.items())
            + ".",
            "",
            f"{device}, torch {torch.__version__}; images of {size} x {size}, {batch} in a step; synthetic CT.",
            f"All in turns, {rounds} times; of each the fastest. A step is all of it: loading, augmentation, loss,",
            "gradient, optimizer, metric. Limit: three times the forward pass's multiply-accumulates at the rate of a",
            f"large product of matrices here ({rates}).",
            f"Written by `python -m lits_seg.benchmark train size={size} batch={batch} rounds={rounds}`.",
            "",
        ]
    )


def _share(measured: Measured, limits: dict[str, float], size: int) -> float:
    """Of the rate that the network would train at, were all its multiply-accumulates one product of matrices."""
    limit = limits["bfloat16" if "bf16" in str(measured.cfg.trainer.precision) else "float32"]
    macs = count_macs(measured.module.network, int(measured.cfg.data.context), size)
    return 3 * 2 * macs * measured.rate / limit
