"""Time training steps of all networks, and of two of them with one setting changed, in turns in one run."""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from experiments.shared.checkpoints import module_of
from experiments.shared.command import train_config
from experiments.shared.machine import matmul_rate, out_of_memory, wait
from experiments.shared.networks import NETWORKS as EVERY
from experiments.shared.networks import SHORT, contiguous, installed
from lits_seg.common.errors import InputError
from lits_seg.training.module import LesionModule
from lits_seg.training.precision import chosen_precision

NETWORKS = {short: EVERY[name] for name, short in SHORT.items()}
NETWORKS |= {name: overrides for name, overrides in EVERY.items() if name not in SHORT}
PAIR = ("dsc_unet", "unet")  # measured in every setting
HEAVY = ("unet", "unet_bn", "segnet", "driu", "ternausnet", "fcn8s", "denseunet_161", "han", "smp_unet")
LIGHT = ("strided_unet", "strided_unet/context5", "strided_resunet", "strided_unet_512")
STEPS = {**dict.fromkeys(HEAVY, 1), **dict.fromkeys(LIGHT, 16)}  # others: 4
DTYPES = ("float32", "bfloat16")


def _contiguous(module: LesionModule) -> None:
    contiguous(module.network)


def _give_memory_back(module: LesionModule) -> None:
    module.keep_freed_memory = False


def _compile(module: LesionModule) -> None:
    module.network.compile()


@dataclass(frozen=True)
class Setting:
    """A way to train: ``overrides`` of the shipped configuration, or a ``change`` of the module."""

    title: str
    overrides: tuple[str, ...] = ()
    change: Callable[[LesionModule], None] | None = None


SHIPPED = "shipped"
SETTINGS = {
    SHIPPED: Setting("as shipped"),
    "bf16": Setting("`trainer.precision=bf16-mixed`", ("trainer.precision=bf16-mixed",)),
    "contiguous": Setting("contiguous memory order (B, C, H, W)", change=_contiguous),
    "memory": Setting("freed memory returned to the system", change=_give_memory_back),
    "compile": Setting("`torch.compile`", change=_compile),
    "fused": Setting("`+optimizer.fused=true`", ("+optimizer.fused=true",)),
    "one_by_one": Setting("`augment=paper_one_by_one`", ("augment=paper_one_by_one",)),
    "no_augmentation": Setting("`augment=none`", ("augment=none",)),
}


@dataclass
class Trained:
    """A network with a setting, and its measurements."""

    cfg: DictConfig
    module: LesionModule
    precision: str | int  # Lightning's
    seconds: list[float] = field(default_factory=list)  # seconds of a step, for each visit
    augmenting: list[float] = field(default_factory=list)  # of these, conversion to float and augmentation
    peak: int = 0  # peak memory on the GPU, bytes

    @property
    def rate(self) -> float:
        """Slices per second in the fastest visit."""
        return self.cfg.data.batch_size / min(self.seconds)

    @property
    def side(self) -> int:
        """Side of the images that the network sees, in pixels: of a crop, if the augmentation crops."""
        return OmegaConf.select(self.cfg, "data.augment.crop") or self.cfg.data.preprocess.size

    @property
    def augmentation(self) -> float:
        """Share of augmentation in a step, in the fastest visit."""
        return self.augmenting[self.seconds.index(min(self.seconds))] / min(self.seconds)


@dataclass
class TrainSpeed:
    """All measurements of a run.

    Attributes:
        size: side of the images, pixels.
        batch: images in a step.
        rounds: number of visits.
        steps: timed steps of the UNet in a visit.
        overrides: further overrides of the training configuration.
        networks: names of the measured networks.
        settings: keys of the measured settings.
        trained: measurements by setting and network.
        limits: operations per second of a matrix product, by precision.
        notes: a line on each network that was left out.
    """

    size: int
    batch: int
    rounds: int
    steps: int
    overrides: list[str]
    networks: list[str]
    settings: list[str]
    trained: dict[tuple[str, str], Trained]
    limits: dict[str, float]
    notes: list[str]


class StepClock(pl.Callback):
    """Record the time at the end of each training step, after the device has finished, and that of its augmentation.

    Args:
        datamodule: the data module of the training, whose augmentation is timed from now on.
    """

    def __init__(self, datamodule: pl.LightningDataModule) -> None:
        self.times: list[float] = []
        self.augmenting: list[float] = []
        augment = datamodule.on_after_batch_transfer

        def timed(batch: Any, number: int) -> Any:
            start = time.perf_counter()
            batch = augment(batch, number)
            wait()
            self.augmenting.append(time.perf_counter() - start)
            return batch

        datamodule.on_after_batch_transfer = timed  # type: ignore[method-assign]

    def on_train_batch_end(self, *args: Any) -> None:
        """Record the time."""
        wait()
        self.times.append(time.perf_counter())

    def seconds(self) -> float:
        """Return the median seconds between the ends of two steps, which includes loading and augmentation."""
        return statistics.median(after - before for before, after in zip(self.times, self.times[1:], strict=False))


def train_speed(
    size: int,
    batch: int | None,
    rounds: int,
    steps: int | None,
    networks: Sequence[str] | None = None,
    settings: Sequence[str] | None = None,
    overrides: Sequence[str] = (),
) -> TrainSpeed:
    """Time training steps of networks as shipped, and of ``PAIR`` with each setting.

    Args:
        size: side of the images, pixels.
        batch: images in a step; None: 4 on a CPU, 16 on a GPU.
        rounds: number of visits to each network with each setting, in turns.
        steps: timed steps of the UNet in each visit; None: 1 on a CPU, 20 on a GPU. Lighter networks take more steps
            in about the same time (``STEPS``), so that other work on the machine affects all alike.
        networks: some of ``NETWORKS``, in addition to ``PAIR``; None: all.
        settings: some of ``SETTINGS``, in addition to the shipped one; None: all.
        overrides: further overrides of the training configuration.

    Raises:
        InputError: for an unknown network or setting.
    """
    gpu = torch.cuda.is_available()
    steps = steps or (20 if gpu else 1)
    batch = batch or (16 if gpu else 4)
    names, notes = installed([*PAIR, *_known("networks", networks, NETWORKS)])
    chosen = list(dict.fromkeys([SHIPPED, *_known("settings", settings, SETTINGS)]))
    with tempfile.TemporaryDirectory() as folder:
        trained = {
            (key, name): _make(Path(folder), size, batch, SETTINGS[key], [*NETWORKS[name], *overrides])
            for key in chosen
            for name in (names if key == SHIPPED else PAIR)
        }
        limits = dict.fromkeys(DTYPES, 0.0)
        for _ in range(rounds):
            for dtype in DTYPES:
                limits[dtype] = max(limits[dtype], matmul_rate(getattr(torch, dtype)))
            for (key, name), one in list(trained.items()):
                try:
                    _visit(one, STEPS.get(name, 4) * steps)
                except RuntimeError as error:
                    if name in PAIR or not out_of_memory(error):
                        raise
                    del trained[key, name]
                    notes.append(f"`{name}` is left out: too little memory for a step of {batch} slices")
    names = [name for name in names if (SHIPPED, name) in trained]
    return TrainSpeed(size, batch, rounds, steps, list(overrides), names, chosen, trained, limits, notes)


def _known(setting: str, names: Sequence[str] | None, known: Mapping[str, object]) -> Sequence[str]:
    for name in names or ():
        if name not in known:
            raise InputError(setting, f"some of {', '.join(known)}", name)
    return list(known) if names is None else names


def _make(folder: Path, size: int, batch: int, setting: Setting, overrides: Sequence[str]) -> Trained:
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
    small = [f"store={folder / 'store'}", *(f"data.{key}={value}" for key, value in data.items())]
    cfg = train_config(*overrides, *setting.overrides, *small)
    module = module_of(cfg)
    if setting.change is not None:
        setting.change(module)
    return Trained(cfg, module, chosen_precision(cfg.trainer.precision, cfg.trainer.accelerator))


def _visit(one: Trained, steps: int) -> None:
    datamodule = instantiate(one.cfg.data)
    clock = StepClock(datamodule)
    trainer = instantiate(
        one.cfg.trainer,
        precision=one.precision,
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
    trainer.fit(one.module, datamodule)
    one.seconds.append(clock.seconds())
    one.augmenting.append(statistics.median(clock.augmenting))
    one.peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    one.module.cpu().zero_grad()
