"""How long scoring a large pair of masks takes, and how much memory predicting a long CT takes."""

import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from hydra import compose
from hydra.utils import instantiate
from scipy import ndimage

from lits_seg.benchmark.machine import command_cost
from lits_seg.evaluation.masks import read_pair
from lits_seg.metrics.case import score_case
from lits_seg.metrics.lesions import box_around, label_box
from lits_seg.metrics.surface import NEIGHBOURS

SHAPE, LESIONS = (512, 512, 400), 30
LENGTHS = (64, 256, 1024)
AFFINE = np.diag([-0.7, -0.7, 1.0, 1.0])


def mask_speed(size: int) -> str:
    """The tables, in Markdown; ``size`` is that of the network's images."""
    with tempfile.TemporaryDirectory() as folder:
        scoring, predicting = _scoring(Path(folder)), _predicting(Path(folder), size)
    return "\n".join(
        [
            "# Masks",
            "",
            f"Two masks of {SHAPE[0]} x {SHAPE[1]} x {SHAPE[2]} voxels, gzipped: a liver with {LESIONS} lesions.",
            "",
            *_table(("scoring", "measured", "ratio"), scoring),
            "",
            f"A gzipped CT of 512 x 512 pixels a slice through `dsc_unet` at {size} x {size}, with page and map.",
            "",
            *_table(("predicting", "peak memory", "of it the CT, as stored"), predicting),
            "",
            f"{platform.machine()}, {os.cpu_count()} cores. Ratios: of times in one run. Memory: the whole process,",
            "with PyTorch; the network was never trained, so that its masks are full of lesions. Synthetic shapes.",
            "Written by `python -m lits_seg.benchmark masks`.",
            "",
        ]
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(header)} |", "|---|---:|---:|", *(f"| {' | '.join(row)} |" for row in rows)]


def _scoring(folder: Path) -> list[tuple[str, str, str]]:
    for name, shift in (("references", 0), ("predictions", 3)):
        (folder / name).mkdir()
        nib.save(nib.Nifti1Image(_labels(shift), AFFINE), folder / name / "segmentation-0.nii.gz")
    pair = (folder / "predictions" / "segmentation-0.nii.gz", folder / "references" / "segmentation-0.nii.gz")
    reading = _seconds(lambda: read_pair(*pair))
    found, true = read_pair(*pair)
    ours = _seconds(lambda: score_case(found.slices, true.slices, true.spacing))
    plain = _seconds(lambda: _with_scipy(found.slices, true.slices, true.spacing))
    arguments = [f"predictions={folder}/predictions", f"references={folder}/references", f"output={folder}/scores"]
    seconds, peak = command_cost("evaluate", *arguments)
    return [
        ("reading both", f"{reading:.2f} s", f"{reading / ours:.2f} x"),
        ("all metrics", f"{ours:.2f} s", "1 x"),
        ("SciPy's components and distances alone", f"{plain:.2f} s", f"{plain / ours:.2f} x"),
        ("the command, from start to tables", f"{seconds:.2f} s", f"{seconds / ours:.2f} x"),
        ("its peak memory", f"{peak / 1e9:.2f} GB", "–"),
    ]


def _with_scipy(found: np.ndarray, true: np.ndarray, spacing: tuple[float, float, float]) -> None:
    """The two costly parts of the metrics in the usual library, the distances within the liver's box as well."""
    for labels in (found, true):
        ndimage.label(labels == 2)
    box = box_around([part for labels in (found, true) if (part := label_box(labels, 1))])
    surfaces = [(mask := labels[box] >= 1) & ~ndimage.binary_erosion(mask, NEIGHBOURS) for labels in (found, true)]
    for one, other in (surfaces, surfaces[::-1]):
        ndimage.distance_transform_edt(~other, sampling=spacing[::-1])[one].mean()


def _predicting(folder: Path, size: int) -> list[tuple[str, str, str]]:
    checkpoint = folder / "network.ckpt"
    cfg = compose("train", [f"data.preprocess.size={size}", "model.out_channels=3"])
    torch.manual_seed(0)  # untrained: a mask full of lesions, the worst case
    module = instantiate(cfg.module)
    torch.save({"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams)}, checkpoint)
    rows = []
    for length in LENGTHS:
        path = folder / f"{length}.nii.gz"
        hu = np.zeros((512, 512, length), np.int16, order="F")
        hu[:] = np.random.default_rng(0).normal(0, 20, (512, 512, 1)).astype(np.int16)
        hu[:60] = -1000
        nib.save(nib.Nifti1Image(hu, AFFINE), path)
        del hu
        arguments = [f"ckpt={checkpoint}", f"input={path}", f"output={folder}/masks", "device=cpu", "probability=true"]
        _, peak = command_cost("predict", *arguments)
        rows.append((f"{length} slices", f"{peak / 1e9:.2f} GB", f"{512 * 512 * 2 * length / 1e9:.2f} GB"))
    return rows


def _labels(shift: int) -> np.ndarray:
    """An ellipsoid of liver with ellipsoids of lesion on a grid in it, moved along the first axis."""
    x, y, z = np.ogrid[tuple(slice(n) for n in SHAPE)]
    labels = (((x - 200 - shift) / 140) ** 2 + ((y - 250) / 120) ** 2 + ((z - 220) / 150) ** 2 < 1).astype(np.uint8)
    places = [(a, b, c) for a in (120, 160, 200, 240, 280) for b in (220, 280) for c in (160, 220, 280)]
    for number, place in enumerate(places):
        radius = 5 + number / 3
        near = tuple(slice(p - 20, p + 21) for p in place)
        u, v, w = np.ogrid[near]
        ball = (u - place[0] - shift) ** 2 + (v - place[1]) ** 2 + (w - place[2]) ** 2 < radius**2
        labels[near][ball] = 2
    return labels


def _seconds(task: Callable[[], object]) -> float:
    start = time.perf_counter()
    task()
    return time.perf_counter() - start
