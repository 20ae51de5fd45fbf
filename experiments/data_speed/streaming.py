"""Measure how fast slices reach the network, compared with how fast the network trains on them."""

import statistics
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.profilers import SimpleProfiler

from experiments.shared.checkpoints import module_of
from experiments.shared.command import train_config
from experiments.shared.machine import device, wait
from lits_seg.common.timing import seconds
from lits_seg.data import augment_monai
from lits_seg.data.augment import RotateZoomBend
from lits_seg.data.datamodule import SliceDataModule
from lits_seg.data.preprocess import Preprocess

Row = tuple[str, str, str]
WARM_UP = 3  # first training steps, which are not counted


def streaming(root: Path, store: Path, size: int, batches: int) -> list[Row]:
    """Time training steps and the loader.

    Args:
        root: folder of the volumes.
        store: folder of the pre-processed slices.
        size: side of the images, pixels.
        batches: number of timed training steps, and of timed batches of the loader.

    Returns:
        Rows of the table: step, measured value, and ratio to the faster training.
    """
    steps = {
        precision: _training_rate(root, store, size, batches, precision) for precision in ("32-true", "bf16-mixed")
    }
    fastest_rate = max(rate for rate, _ in steps.values())
    rows = []
    for precision, (rate, shares) in steps.items():
        rows.append((f"`dsc_unet` training, {precision}", f"{rate:.1f} slices/s", f"{rate / fastest_rate:.2f} x"))
        rows += [(f"{name}, share of a {precision} step", f"{share:.2%}", "–") for name, share in shares.items()]
    loaders = {
        "random slices from the store": (None, 0),
        "augmented by batches (default)": (RotateZoomBend(), 0),
        "augmented one by one (MONAI)": (augment_monai.rotate_zoom_bend(size), 0),
        "augmented one by one (MONAI), two workers": (augment_monai.rotate_zoom_bend(size), 2),
    }
    for name, (transform, workers) in loaders.items():
        rate = _loading_rate(_datamodule(root, store, size, transform, workers), batches)
        rows.append((name, f"{rate:.0f} slices/s", f"{rate / fastest_rate:.0f} x"))
    return rows


def _datamodule(root: Path, store: Path, size: int, transform: Any, workers: int) -> SliceDataModule:
    return SliceDataModule(
        root,
        store,
        Preprocess(size=size),
        transform,
        folds=2,
        val_share=0,
        slices_per_epoch=10_000,
        workers=workers,
        allow_overlap=True,  # the volumes are copies of one
    )


def _loading_rate(datamodule: SliceDataModule, batches: int) -> float:
    """Return the number of augmented slices per second on the device that training would use."""
    datamodule.setup()
    loader = iter(datamodule.train_dataloader())

    def load(count: int) -> None:
        for _ in range(count):
            batch = datamodule.on_before_batch_transfer(next(loader), 0)
            batch = datamodule.transfer_batch_to_device(batch, device(), 0)
            datamodule.on_after_batch_transfer(batch, 0)
        wait()

    load(2)  # starts the workers and opens the files
    return batches * datamodule.batch_size / seconds(lambda: load(batches))


def _training_rate(root: Path, store: Path, size: int, batches: int, precision: str) -> tuple[float, dict[str, float]]:
    """Train as shipped; return slices per second, and the shares of a step that waiting and augmentation take."""
    cfg = train_config(f"data.preprocess.size={size}", "trainer=auto", f"data.root={root}", f"store={store}")
    datamodule = _datamodule(root, store, size, RotateZoomBend(), cfg.data.workers)
    datamodule.setup()
    profiler = SimpleProfiler(dirpath=root.parent, filename="profile")  # without a file, the profiler prints everything
    trainer = pl.Trainer(
        accelerator="auto",
        devices=1,
        max_steps=batches,
        precision=precision,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        profiler=profiler,
    )
    trainer.fit(module_of(cfg), datamodule)
    durations = profiler.recorded_durations
    hook = next(values for name, values in durations.items() if name.endswith("on_after_batch_transfer"))
    step, loader, augmentation = (
        statistics.median_high(values[WARM_UP:])
        for values in (durations["run_training_batch"], durations["[_TrainingEpochLoop].train_dataloader_next"], hook)
    )
    total = step + loader + augmentation
    shares = {"waiting for the loader": loader / total, "augmentation": augmentation / total}
    return datamodule.batch_size / total, shares
