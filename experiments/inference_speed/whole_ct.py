"""Measure the prediction of a whole CT, from the file to mask, report and page, by engine and number of threads."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import torch

from experiments.shared.checkpoints import untrained, write_checkpoint
from experiments.shared.machine import command_cost
from lits_seg.common.tables import markdown
from lits_seg.data.layouts import Case
from lits_seg.exporters.choices import ENDINGS
from lits_seg.exporters.formats import write_file
from lits_seg.exporters.metadata import describe_export
from lits_seg.exporters.onnx import export_parts
from lits_seg.exporters.parity import network_images, slices_of
from lits_seg.phantom.write import generate_volume
from lits_seg.training.checkpoints import load_module

SIDE = 512
EXPORTED = (("openvino", "bf16"), ("openvino", "int8"), ("openvino", "fp32"), ("onnx", "fp32"))


@dataclass
class CtCost:
    """A way to predict a CT, in a separate process, and its cost.

    Attributes:
        network: name of the network.
        way: engine and precision.
        threads: number of threads.
        argument: argument of ``lits_seg.predict`` that names the model.
        seconds: time from start to exit, the fastest.
        peak_bytes: peak memory of the process.
    """

    network: str
    way: str
    threads: int
    argument: str
    seconds: float = float("inf")
    peak_bytes: int = 0


def ct_costs(
    slices: int, size: int, threads: Sequence[int], rounds: int, ckpt: str | Path | None = None
) -> list[CtCost]:
    """Predict a synthetic CT in each way, in turns. The UNet takes minutes and runs once, with the most threads.

    Args:
        slices: number of slices of the CT.
        size: side of the networks' images, pixels.
        threads: numbers of threads to measure.
        rounds: number of predictions in each way.
        ckpt: checkpoint of a ``dsc_unet`` with three classes; None: a network that finds nothing.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ct = folder / "ct.nii.gz"
        volume = generate_volume(0, case=0, size=SIDE, slices=slices)  # a whole trunk, 0.74 × 0.74 mm
        nib.save(nib.Nifti1Image(volume.hu, volume.affine), ct)
        ways = {"PyTorch": f"ckpt={_checkpoint(folder, 'dsc_unet', 'subpixel', size, ckpt)}", **_exports(folder, ct)}
        costs = [CtCost("packaged", "ONNX Runtime fp32", count, "model=packaged") for count in threads]
        costs += [CtCost("dsc_unet", way, count, ways[way]) for count in threads for way in ways]
        unet = CtCost("unet", "PyTorch", max(threads), f"ckpt={_checkpoint(folder, 'unet', 'deconv', size)}")
        for number in range(rounds):
            for cost in [*costs, *([unet] if number == 0 else [])]:
                arguments = (cost.argument, f"input={ct}", f"output={folder}/masks", f"threads={cost.threads}")
                seconds, peak = command_cost("predict", *arguments)
                cost.seconds, cost.peak_bytes = min(cost.seconds, seconds), max(cost.peak_bytes, peak)
    return [*costs, unet]


def ct_section(slices: int, costs: Sequence[CtCost], ckpt: str | Path | None) -> str:
    """Return the table in Markdown, with its heading.

    Args:
        slices: number of slices of the CT.
        costs: result of ``ct_costs``.
        ckpt: checkpoint that was predicted with; None: a network that finds nothing.
    """
    unet = next(cost for cost in costs if cost.network == "unet")
    rows = [
        [
            f"`{cost.network}`, {cost.way}",
            str(cost.threads),
            f"{cost.seconds:.1f}",
            f"{unet.seconds / cost.seconds:.1f} x",
            f"{cost.peak_bytes / 1e9:.2f}",
        ]
        for cost in costs
    ]
    weights = f"weights of {ckpt}" if ckpt else "a network that finds nothing"
    return "\n".join(
        [
            f"## A CT of {SIDE} x {SIDE} x {slices}, from file to mask",
            "",
            markdown(["network, by", "threads", "seconds", "to `unet`", "peak memory, GB"], rows),
            "",
            "`python -m lits_seg.predict` from start to exit, in a separate process: read the gzipped CT, segment each",
            f"slice, and write mask, report and page. Synthetic CT, three classes. `dsc_unet`: {weights}.",
            "`unet`: a network that finds nothing, run once. `packaged`: the network in the package, with its rules.",
        ]
    )


def _checkpoint(folder: Path, model: str, decoder: str, size: int, ckpt: str | Path | None = None) -> Path:
    """Write a checkpoint with the weights of ``ckpt``, or of a network that labels everything as background."""
    overrides = [f"model={model}", f"decoder={decoder}", "model.out_channels=3", f"data.preprocess.size={size}"]
    module = untrained(overrides)
    if ckpt is None:
        with torch.no_grad():
            module.network.logits.weight.zero_()
            module.network.logits.bias.copy_(torch.tensor([1.0, 0.0, 0.0]))
    else:
        module.network.load_state_dict(load_module(ckpt).network.state_dict())
    return write_checkpoint(module, folder / f"{model}.ckpt")


def _exports(folder: Path, ct: Path) -> dict[str, str]:
    """Export ``dsc_unet``; return the argument of ``lits_seg.predict`` by engine and precision."""
    checkpoint = folder / "dsc_unet.ckpt"
    segmenter = load_module(checkpoint)
    images = network_images(segmenter, *slices_of([Case("0", ct, ct)], 16, segmenter.context))
    parts, found = export_parts(segmenter, folder), {}
    for format, precision in EXPORTED:
        path = folder / f"{precision}{ENDINGS[format]}"
        write_file(segmenter, parts, images, path, describe_export(checkpoint, segmenter, format, precision))
        found[f"{'OpenVINO' if format == 'openvino' else 'ONNX Runtime'} {precision}"] = f"model={path}"
    return found
