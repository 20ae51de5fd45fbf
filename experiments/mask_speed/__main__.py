"""``python -m experiments.mask_speed``: measure the time of scoring large masks, and the memory of predicting CTs."""

import os
import platform
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import nibabel as nib
import numpy as np
from annotated_types import Ge, Le, Len
from scipy import ndimage

from experiments.shared.checkpoints import untrained, write_checkpoint
from experiments.shared.command import PUBLISHED, command, publish
from experiments.shared.machine import command_cost
from lits_seg.common.settings import Place, Size
from lits_seg.common.tables import markdown
from lits_seg.common.timing import seconds
from lits_seg.evaluation.mask_scores import read_pair
from lits_seg.metrics.case import score_case
from lits_seg.metrics.lesions import box_around, label_box

SHAPE = (512, 512, 400)
LESIONS = 30
NEIGHBOURS = ndimage.generate_binary_structure(3, 2)  # the 18 neighbours that share a face or an edge
AFFINE = np.diag([-0.7, -0.7, 1.0, 1.0])

Row = tuple[str, str, str]


@dataclass(frozen=True)
class Settings:
    """The settings in ``settings.yaml``."""

    output: Place
    size: Size
    lengths: Annotated[list[Annotated[int, Ge(1), Le(10_000)]], Len(1, 100)]


@command("mask_speed/settings", Settings, {"masks.md": PUBLISHED})
def main(cfg: Settings) -> None:
    """Measure, print the tables and write the tables into ``output``."""
    publish(mask_speed(cfg.size, list(cfg.lengths)), Path(cfg.output) / "masks.md")


def mask_speed(size: int, lengths: list[int]) -> str:
    """Measure scoring and predicting in one run and return two Markdown tables.

    Args:
        size: side of the network's images, pixels.
        lengths: number of slices of each CT to predict.
    """
    with tempfile.TemporaryDirectory() as folder:
        scoring, predicting = _scoring(Path(folder)), _predicting(Path(folder), size, lengths)
    return "\n".join(
        [
            "# Masks",
            "",
            f"Two masks of {SHAPE[0]} x {SHAPE[1]} x {SHAPE[2]} voxels, gzipped: a liver with {LESIONS} lesions.",
            "",
            markdown(["scoring", "measured", "ratio"], scoring, right=True),
            "",
            f"A gzipped CT of 512 x 512 pixels per slice, predicted by `dsc_unet` at {size} px with page and map.",
            "",
            markdown(["predicting", "peak memory", "size of the CT, unpacked"], predicting, right=True),
            "",
            f"{platform.machine()}, {os.cpu_count()} cores. The times of a ratio are from one run. Memory: the whole",
            "process with PyTorch. The network is untrained, so its masks are full of lesions. Synthetic shapes.",
            f"Written by `python -m experiments.mask_speed size={size} 'lengths={lengths}'`.",
            "",
        ]
    )


def _scoring(folder: Path) -> list[Row]:
    for name, shift in (("references", 0), ("predictions", 3)):
        (folder / name).mkdir()
        nib.save(nib.Nifti1Image(_labels(shift), AFFINE), folder / name / "segmentation-0.nii.gz")
    pair = (folder / "predictions" / "segmentation-0.nii.gz", folder / "references" / "segmentation-0.nii.gz")
    reading = seconds(lambda: read_pair(*pair))
    found, true = read_pair(*pair)
    ours = seconds(lambda: score_case(found.slices, true.slices, true.spacing))
    plain = seconds(lambda: _with_scipy(found.slices, true.slices, true.spacing))
    arguments = [f"predictions={folder}/predictions", f"references={folder}/references", f"output={folder}/scores"]
    command_seconds, peak = command_cost("evaluate", *arguments)
    return [
        ("reading both", f"{reading:.2f} s", f"{reading / ours:.2f} x"),
        ("all metrics", f"{ours:.2f} s", "1 x"),
        ("SciPy's components and distances alone", f"{plain:.2f} s", f"{plain / ours:.2f} x"),
        ("the command, from start to tables", f"{command_seconds:.2f} s", f"{command_seconds / ours:.2f} x"),
        ("its peak memory", f"{peak / 1e9:.2f} GB", "–"),
    ]


def _with_scipy(found: np.ndarray, true: np.ndarray, spacing: tuple[float, float, float]) -> None:
    """Compute the costly metrics, components and distances, by SciPy, within the liver's box as in lits_seg."""
    for labels in (found, true):
        ndimage.label(labels == 2)
    box = box_around([part for labels in (found, true) if (part := label_box(labels, 1))])
    surfaces = [(mask := labels[box] >= 1) & ~ndimage.binary_erosion(mask, NEIGHBOURS) for labels in (found, true)]
    for one, other in (surfaces, surfaces[::-1]):
        ndimage.distance_transform_edt(~other, sampling=spacing[::-1])[one].mean()


def _predicting(folder: Path, size: int, lengths: list[int]) -> list[Row]:
    # An untrained network fills the mask with lesions, which is the worst case.
    module = untrained([f"data.preprocess.size={size}", "model.out_channels=3"])
    checkpoint = write_checkpoint(module, folder / "network.ckpt")
    rows = []
    for length in lengths:
        path = folder / f"{length}.nii.gz"
        _write_ct(path, length)
        arguments = [f"ckpt={checkpoint}", f"input={path}", f"output={folder}/masks", "device=cpu", "probability=true"]
        _, peak = command_cost("predict", *arguments)
        rows.append((f"{length} slices", f"{peak / 1e9:.2f} GB", f"{512 * 512 * 2 * length / 1e9:.2f} GB"))
    return rows


def _write_ct(path: Path, length: int) -> None:
    hu = np.zeros((512, 512, length), np.int16, order="F")
    hu[:] = np.random.default_rng(0).normal(0, 20, (512, 512, 1)).astype(np.int16)
    hu[:60] = -1000
    nib.save(nib.Nifti1Image(hu, AFFINE), path)


def _labels(shift: int) -> np.ndarray:
    """Draw an ellipsoid (liver) with a grid of balls (lesions), shifted by ``shift`` voxels along the first axis."""
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


if __name__ == "__main__":
    main()
