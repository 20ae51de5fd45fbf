"""Every strided network in every format and precision: the same masks as the checkpoint's."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.checkpoints import SETTINGS, save_checkpoint
from helpers.networks import model_config
from omegaconf import OmegaConf
from torch import nn

from experiments.shared.checkpoints import write_checkpoint
from lits_seg.exporters.choices import BROWSER, ENDINGS, PRECISIONS
from lits_seg.exporters.formats import open_file, write_file
from lits_seg.exporters.metadata import describe_export
from lits_seg.exporters.onnx import export_parts
from lits_seg.exporters.parity import LIMITS, network_images, parity
from lits_seg.training.module import LesionModule

PAIRS = [(format, precision) for format, known in PRECISIONS.items() if format not in BROWSER for precision in known]


def checkpoint(path: Path, size: int, overrides: tuple[str, ...]) -> LesionModule:
    """A network after 20 steps, which finds grey levels: fewer pixels are undecided than in an untrained network."""
    model = OmegaConf.to_container(model_config(*overrides, "model.out_channels=3"), resolve=True)
    settings = {**SETTINGS, "model": model, "preprocess": {**SETTINGS["preprocess"], "size": size}}
    module = save_checkpoint(path, settings=settings).train()
    images = torch.from_numpy(network_images(module, slices(module.context))).float() / 255
    levels = torch.bucketize(images[:, module.context // 2].contiguous(), torch.tensor([0.3, 0.7]))
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(images), levels).backward()
        optimizer.step()
    write_checkpoint(module, path)
    return module.eval()


def slices(context: int, count: int = 4) -> np.ndarray:
    """Smooth noise about the liver's HU, ``(count, context, 44, 52)``, in whole numbers."""
    noise = torch.randn(count, context, 11, 13, generator=torch.Generator().manual_seed(1))
    return (50 + 80 * nn.functional.interpolate(noise, scale_factor=4, mode="bicubic")).round().numpy()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "overrides"),
    [
        (64, ("model=strided_unet", "data.context=1")),
        (50, ("model=strided_unet", "data.context=3", "model.residual=true")),
        (90, ("model=strided_resunet", "data.context=5")),
        (96, ("model=strided_unet_512", "data.context=1")),
        (72, ("model=strided_unet_512", "data.context=5", "model.residual=true")),
    ],
)
def test_every_format_gives_the_checkpoints_masks(size: int, overrides: tuple[str, ...], tmp_path: Path) -> None:
    module = checkpoint(tmp_path / "net.ckpt", size, overrides)
    parts, hu = export_parts(module, tmp_path), slices(module.context)
    for format, precision in PAIRS:
        if format == "executorch" and find_spec("executorch") is None:
            continue
        metadata = replace(describe_export(tmp_path / "net.ckpt", module, format, precision), plane=[44, 52])
        path = tmp_path / f"{precision}{ENDINGS[format]}"
        write_file(module, parts, network_images(module, hu), path, metadata)
        found = parity(module, open_file(path, 1), hu)
        print(overrides, path.name, found)  # shown by pytest -s
        # Most pixels of these small slices lie near an edge between classes, which bf16 moves.
        least = {"fp32": 1, "bf16": 0.95}.get(precision, LIMITS[precision][0])
        assert found.labels >= least, path.name
        assert found.logits <= (1e-4 if precision == "fp32" else LIMITS[precision][1]) * found.largest, path.name
