"""``python -m experiments.inference_speed.whole_ct``: time the prediction of a CT, from file to mask and page."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import nibabel as nib
import numpy as np
import torch
from annotated_types import Ge, Le
from nibabel.processing import resample_to_output

from experiments.inference_speed.measure import thread_counts
from experiments.shared.checkpoints import untrained, write_checkpoint
from experiments.shared.command import PUBLISHED, command, publish
from experiments.shared.machine import command_cost
from lits_seg import RESEARCH_USE
from lits_seg.common.settings import Place, Rounds, Size
from lits_seg.common.tables import DASH, markdown
from lits_seg.data.layouts import Case
from lits_seg.exporters.choices import ENDINGS
from lits_seg.exporters.formats import write_file
from lits_seg.exporters.metadata import describe_export
from lits_seg.exporters.onnx import export_parts
from lits_seg.exporters.parity import network_images, slices_of
from lits_seg.models.cost import processor
from lits_seg.phantom.write import generate_volume
from lits_seg.training.checkpoints import load_module

SIDE = 512
EXPORTED = (("openvino", "bf16"), ("openvino", "int8"), ("openvino", "fp32"), ("onnx", "fp32"))
SEVERAL = 4  # CTs that one command predicts
FINE, MARGIN = (0.4, 0.4, 0.5), 10  # voxel size in mm of a crop around the liver, and voxels around it before
PACKAGED = "ONNX Runtime fp32"


@dataclass(frozen=True)
class Settings:
    """The settings in ``whole_ct.yaml``."""

    output: Place
    size: Size
    slices: Annotated[int, Ge(2), Le(2000)]
    networks: list[Literal["packaged", "dsc_unet", "unet"]]
    rounds: Rounds
    ckpt: Place | None


@dataclass
class CtCost:
    """A way to predict CTs by one command, in a separate process, and its cost.

    Attributes:
        network: name of the network.
        way: engine and precision, and the CTs if they are others.
        threads: number of threads.
        argument: argument of ``lits_seg.predict`` that names the model.
        ct: the CT, or a folder of CTs.
        cts: number of CTs.
        seconds: time from start to exit for each CT, the fastest.
        peak_bytes: peak memory of the process.
    """

    network: str
    way: str
    threads: int
    argument: str
    ct: Path = field(repr=False)
    cts: int = 1
    seconds: float = float("inf")
    peak_bytes: int = 0


@command("inference_speed/whole_ct", Settings, {"whole_ct.md": PUBLISHED})
def main(cfg: Settings) -> None:
    """Measure, print the table and write it into ``output``."""
    costs = ct_costs(cfg)
    publish(ct_text(cfg, costs), Path(cfg.output) / "whole_ct.md")


def ct_costs(cfg: Settings) -> list[CtCost]:
    """Predict synthetic CTs in each way, in turns. The UNet takes minutes and runs once, with the most threads.

    Args:
        cfg: settings of the command.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ct, several, crop = _cts(folder, cfg.slices)
        counts, costs, once = thread_counts(), [], []
        if "packaged" in cfg.networks:
            costs += [CtCost("packaged", PACKAGED, count, "model=packaged", ct) for count in counts]
            for way, place, cts in ((f"{SEVERAL} CTs by one command, each", several, SEVERAL), ("fine crop", crop, 1)):
                costs.append(CtCost("packaged", f"{PACKAGED}, {way}", max(counts), "model=packaged", place, cts))
        if "dsc_unet" in cfg.networks:
            pytorch = f"ckpt={_checkpoint(folder, 'dsc_unet', 'subpixel', cfg.size, cfg.ckpt)}"
            ways = {"PyTorch": pytorch, **_exports(folder, ct)}
            costs += [CtCost("dsc_unet", way, count, ways[way], ct) for count in counts for way in ways]
        if "unet" in cfg.networks:
            argument = f"ckpt={_checkpoint(folder, 'unet', 'deconv', cfg.size)}"
            once.append(CtCost("unet", "PyTorch", max(counts), argument, ct))
        for number in range(cfg.rounds):
            for cost in [*costs, *(once if number == 0 else [])]:
                arguments = (cost.argument, f"input={cost.ct}", f"output={folder}/masks", f"threads={cost.threads}")
                seconds, peak = command_cost("predict", *arguments)
                cost.seconds, cost.peak_bytes = min(cost.seconds, seconds / cost.cts), max(cost.peak_bytes, peak)
                shutil.rmtree(folder / "masks")
    return [*costs, *once]


def ct_text(cfg: Settings, costs: Sequence[CtCost]) -> str:
    """Return the table in Markdown.

    Args:
        cfg: settings of the command.
        costs: result of ``ct_costs``.
    """
    unet = next((cost.seconds for cost in costs if cost.network == "unet"), None)
    rows = [
        [
            f"`{cost.network}`, {cost.way}",
            str(cost.threads),
            f"{cost.seconds:.1f}",
            f"{unet / cost.seconds:.1f} x" if unet else DASH,
            f"{cost.peak_bytes / 1e9:.2f}",
        ]
        for cost in costs
    ]
    weights = f"weights of {cfg.ckpt}" if cfg.ckpt else "a network that finds nothing"
    fine = " x ".join(str(size) for size in FINE)
    return "\n".join(
        [
            f"# A CT of {SIDE} x {SIDE} x {cfg.slices}, from file to mask",
            "",
            markdown(["network, by", "threads", "seconds", "to `unet`", "peak memory, GB"], rows),
            "",
            "`python -m lits_seg.predict` from start to exit, in a separate process: read the gzipped CT, segment each",
            f"slice, and write mask, report and page. Synthetic CT, three classes. `dsc_unet`: {weights}.",
            "`unet`: a network that finds nothing, run once. `packaged`: the network in the package, with its rules.",
            f"Fine crop: the same liver alone, with voxels of {fine} mm. Fastest of {cfg.rounds}.",
            f"{processor()}.",
            "Written by `python -m experiments.inference_speed.whole_ct`.",
            RESEARCH_USE,
            "",
        ]
    )


def _cts(folder: Path, slices: int) -> tuple[Path, Path, Path]:
    """Write a synthetic CT, a folder with several copies, and a crop around its liver with fine voxels."""
    ct, several, crop = folder / "ct.nii.gz", folder / "several", folder / "crop.nii.gz"
    volume = generate_volume(0, case=0, size=SIDE, slices=slices)  # a whole trunk, 0.74 × 0.74 mm
    image = nib.Nifti1Image(volume.hu, volume.affine)
    nib.save(image, ct)
    several.mkdir()
    for number in range(SEVERAL):
        shutil.copy(ct, several / f"{number}.nii.gz")
    liver = np.nonzero(volume.labels)
    box = tuple(slice(max(0, places.min() - MARGIN), places.max() + MARGIN + 1) for places in liver)
    fine = resample_to_output(image.slicer[box], FINE, order=1, cval=-1000.0)
    nib.save(nib.Nifti1Image(np.asarray(fine.dataobj).astype(np.int16), fine.affine), crop)
    return ct, several, crop


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


if __name__ == "__main__":
    main()
