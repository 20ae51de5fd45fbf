"""How fast CT volumes are prepared and slices reach the network, beside what training takes; all in one run."""

import gzip
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytorch_lightning as pl
import torch
from hydra import compose
from hydra.utils import instantiate
from isal import igzip
from pytorch_lightning.profilers import SimpleProfiler

from lits_seg.benchmark.machine import peak_memory
from lits_seg.data import augment_monai
from lits_seg.data.augment import RotateZoomBend
from lits_seg.data.datamodule import SliceDataModule
from lits_seg.data.layouts import Case, find_cases
from lits_seg.data.preprocess import Preprocess
from lits_seg.data.store import store_cases
from lits_seg.phantom.write import generate_volume

CASES = 4


def data_speed(size: int, slices: int, batches: int) -> str:
    """The table, in Markdown; ``size`` is that of the network's images, ``slices`` the number in each volume."""
    with tempfile.TemporaryDirectory() as folder:
        root, store = Path(folder, "volumes"), Path(folder, "store")
        _write_volumes(root, slices)
        rows = [*_preparing(root, store, size), *_streaming(root, store, size, batches)]
    lines = ["| what | measured | ratio |", "|---|---:|---:|", *(f"| {' | '.join(row)} |" for row in rows)]
    where = f"{platform.machine()}, {os.cpu_count()} cores, {_device_name()}, torch {torch.__version__}"
    return "\n".join(
        [
            "# Data side",
            "",
            *lines,
            "",
            f"{CASES} synthetic volumes of 512 x 512 x {slices}, gzipped; images of {size} x {size}; {where}.",
            "Ratios are of times taken in the same run; the times themselves belong to this machine and hour.",
            "Written by `python -m lits_seg.benchmark data`.",
            "",
        ]
    )


def _write_volumes(root: Path, slices: int) -> None:
    root.mkdir()
    volume = generate_volume(0, case=1, size=512, slices=slices)
    for number in range(CASES):
        for name, array in (("volume", volume.hu), ("segmentation", volume.labels)):
            nib.save(nib.Nifti1Image(array, volume.affine), root / f"{name}-{number}.nii.gz")


def _preparing(root: Path, store: Path, size: int) -> list[tuple[str, str, str]]:
    cases, preprocess = find_cases(root), Preprocess(size=size)
    one = cases[0]

    def decompress(opener: Callable[[Path], Any]) -> None:
        for path in _pair(one):
            opener(path).read()

    def prepare(count: int, workers: int) -> None:
        with tempfile.TemporaryDirectory(dir=store.parent) as fresh:
            store_cases(cases[:count], preprocess, fresh, workers)

    with_zlib, with_isal = _best(lambda: decompress(gzip.open)), _best(lambda: decompress(igzip.open))
    alone = _best(lambda: prepare(1, 1))
    together = _best(lambda: prepare(CASES, 2)) / CASES
    store_cases(cases, preprocess, store)
    again = _best(lambda: store_cases(cases, preprocess, store))
    unpacked = sum(np.asanyarray(nib.load(path).dataobj).nbytes for path in _pair(one))
    peak = _peak_memory(root, size)
    return [
        ("decompressing a pair with zlib (nibabel's way)", f"{with_zlib:.2f} s", f"{with_zlib / with_isal:.2f} x"),
        ("decompressing a pair with ISA-L, the fastest reader here", f"{with_isal:.2f} s", "1 x"),
        ("preparing a case, alone", f"{alone:.2f} s", f"{alone / with_isal:.2f} x"),
        (f"preparing a case, {CASES} by two workers", f"{together:.2f} s", f"{together / with_isal:.2f} x"),
        ("finding that nothing changed", f"{again * 1000:.0f} ms", f"{again / with_isal:.3f} x"),
        ("peak memory of preparing one case at a time", f"{peak / 1e6:.0f} MB", f"{peak / unpacked:.1f} x unpacked"),
    ]


def _streaming(root: Path, store: Path, size: int, batches: int) -> list[tuple[str, str, str]]:
    steps = {"32-true": _training_rate(root, store, size, batches, "32-true")}
    steps["bf16-mixed"] = _training_rate(root, store, size, batches, "bf16-mixed")
    fastest = max(rate for rate, _ in steps.values())
    rows = []
    for precision, (rate, waits) in steps.items():
        rows.append((f"`dsc_unet` training, {precision}", f"{rate:.1f} slices/s", f"{rate / fastest:.2f} x"))
        rows += [(f"{name}, share of a {precision} step", f"{share:.2%}", "–") for name, share in waits.items()]
    ways = {
        "random slices from the store": (None, 0),
        "augmented by batches (default)": (RotateZoomBend(), 0),
        "augmented one by one (MONAI)": (augment_monai.rotate_zoom_bend(size), 0),
        "augmented one by one (MONAI), two workers": (augment_monai.rotate_zoom_bend(size), 2),
    }
    for name, (transform, workers) in ways.items():
        rate = _loading_rate(_datamodule(root, store, size, transform, workers), batches)
        rows.append((name, f"{rate:.0f} slices/s", f"{rate / fastest:.0f} x"))
    return rows


def _datamodule(root: Path, store: Path, size: int, transform: Any, workers: int) -> SliceDataModule:
    return SliceDataModule(
        root, store, Preprocess(size=size), transform, folds=2, val_share=0, slices_per_epoch=10_000, workers=workers
    )


def _loading_rate(datamodule: SliceDataModule, batches: int) -> float:
    """Augmented slices a second, on the device that training would use."""
    datamodule.setup()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loader, count = iter(datamodule.train_dataloader()), 0
    for number in range(batches + 2):
        if number == 2:  # workers have started, files are open
            _wait(device)
            start = time.perf_counter()
        batch = datamodule.on_before_batch_transfer(next(loader), 0)
        batch = datamodule.transfer_batch_to_device(batch, device, 0)
        batch = datamodule.on_after_batch_transfer(batch, 0)
        count += len(batch["image"]) if number >= 2 else 0
    _wait(device)
    return count / (time.perf_counter() - start)


def _training_rate(root: Path, store: Path, size: int, batches: int, precision: str) -> tuple[float, dict[str, float]]:
    """Slices a second of training as shipped, and the shares of a step that go to waiting and to augmentation."""
    cfg = compose("train", [f"data.preprocess.size={size}", "trainer=auto", f"data.root={root}", f"store={store}"])
    module = instantiate(cfg.module)
    datamodule = _datamodule(root, store, size, RotateZoomBend(), cfg.data.workers)
    datamodule.setup()
    profiler = SimpleProfiler(dirpath=root.parent, filename="profile")  # else it prints all it knows
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
    trainer.fit(module, datamodule)
    durations = profiler.recorded_durations
    step = _after_warm_up(durations["run_training_batch"])
    wait = _after_warm_up(durations["[_TrainingEpochLoop].train_dataloader_next"])
    hook = next(values for name, values in durations.items() if name.endswith("on_after_batch_transfer"))
    total = step + wait + _after_warm_up(hook)
    shares = {"waiting for the loader": wait / total, "augmentation": _after_warm_up(hook) / total}
    return datamodule.batch_size / total, shares


def _after_warm_up(durations: list[float]) -> float:
    kept = sorted(durations[3:])
    return kept[len(kept) // 2]


def _best(task: Callable[[], object], times: int = 3) -> float:
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        task()
        taken.append(time.perf_counter() - start)
    return min(taken)


def _peak_memory(root: Path, size: int) -> int:
    """Bytes that preparing one case at a time needs at most, in a process of its own."""
    return peak_memory(
        "import tempfile; from lits_seg.data.layouts import find_cases; from lits_seg.data.store import store_cases;"
        "from lits_seg.data.preprocess import Preprocess",
        "store_cases(find_cases(sys.argv[1]), Preprocess(size=int(sys.argv[2])), tempfile.mkdtemp(dir=sys.argv[3]), 1)",
        *(str(root), str(size), str(root.parent)),
    )


def _pair(case: Case) -> tuple[Path, Path]:
    return case.image, case.label


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _device_name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
