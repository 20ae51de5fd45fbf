"""``python -m experiments.inference_speed.gpu``: time all networks on a GPU, a single slice and a large batch."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from experiments.shared.command import PUBLISHED, command, publish
from experiments.shared.machine import out_of_memory, wait
from experiments.shared.networks import SETTLING, Network, choose, make, synthetic_slices, typed
from lits_seg import RESEARCH_USE
from lits_seg.common.errors import InputError
from lits_seg.common.files import write_text
from lits_seg.common.ownership import table_file
from lits_seg.common.settings import BatchSize, Place, Rounds, Size
from lits_seg.common.tables import csv_text, markdown, number
from lits_seg.common.timing import fastest
from lits_seg.models import for_inference

PRECISIONS = {"float32": None, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Settings:
    """The settings in ``gpu.yaml``."""

    output: Place
    size: Size
    batch: BatchSize
    networks: list[str] | None
    passes: Rounds


@dataclass(frozen=True)
class Timing:
    """A network on a GPU in one precision.

    Args:
        network: a key of ``networks.NETWORKS``.
        parameters: number of parameters.
        macs: multiply-accumulates of a slice.
        precision: a key of ``PRECISIONS``.
        slice_ms: time of a single slice in milliseconds.
        batch_ms: time of a slice in a large batch in milliseconds; None if the GPU's memory is too small.
    """

    network: str
    parameters: int
    macs: int
    precision: str
    slice_ms: float
    batch_ms: float | None


@command("inference_speed/gpu", Settings, {"gpu.md": PUBLISHED, "gpu.csv": table_file("network,parameters,macs,")})
def main(cfg: Settings) -> None:
    """Measure, print the table, and write the table into ``output``."""
    if not torch.cuda.is_available():
        raise InputError("inference_speed.gpu", "a GPU that PyTorch can use", "none")
    timings, notes = gpu_times(cfg.size, cfg.batch, cfg.networks, cfg.passes, torch.device("cuda"))
    folder = Path(cfg.output)
    publish(gpu_text(timings, notes, cfg.size, cfg.batch, cfg.passes), folder / "gpu.md")
    write_text(folder / "gpu.csv", csv_text([vars(one) for one in timings]))


def gpu_times(
    size: int, batch: int, networks: Sequence[str] | None, passes: int, device: torch.device
) -> tuple[list[Timing], list[str]]:
    """Time networks on a device, and return a note on each network that was left out.

    Args:
        size: side of the images, pixels.
        batch: slices in a large batch.
        networks: some of ``networks.NETWORKS``; None: all.
        passes: timed passes of each network in each precision; the fastest counts.
        device: the device.
    """
    chosen, notes = choose(networks)
    images = synthetic_slices(size, SETTLING)
    timings = []
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen:
            network = make(name, images, Path(folder), file=False)
            timings += [_timing(network, batch, precision, passes, device) for precision in PRECISIONS]
    return timings, notes


def gpu_text(timings: Sequence[Timing], notes: Sequence[str], size: int, batch: int, passes: int) -> str:
    """Return the table as Markdown, the fastest network of a large batch in bf16 first.

    Args:
        timings: the measurements.
        notes: notes on networks that were left out.
        size: side of the images, pixels.
        batch: slices in a large batch.
        passes: timed passes.
    """
    found = {(one.network, one.precision): one for one in timings}
    header = ["network", "parameters", "GMAC"]
    header += [f"{count}, {precision}" for precision in PRECISIONS for count in ("one slice", f"in {batch} slices")]
    rows, names = [], dict.fromkeys(one.network for one in timings)
    for name in sorted(names, key=lambda name: _order(found[name, "bf16"])):
        both = [found[name, precision] for precision in PRECISIONS]
        times = [number(ms, 3) for one in both for ms in (one.slice_ms, one.batch_ms)]
        rows.append([f"`{name}`", f"{both[0].parameters:,}", f"{both[0].macs / 1e9:.2f}", *times])
    return "\n".join(
        [
            "# Time of a slice on a GPU",
            "",
            markdown(header, rows),
            "",
            *(f"{note}.\n" for note in notes),
            f"Milliseconds a slice of {size} x {size} px, the fastest of several passes, in PyTorch's eager mode and",
            "channels-last order. Float32 is PyTorch's default, whose convolutions may use TF32; bf16 is autocast. A",
            "single slice may be limited by the processor that starts the kernels. Untrained networks.",
            "",
            f"{_device_name()}, torch {torch.__version__}. Written by",
            f"`python -m experiments.inference_speed.gpu size={size} batch={batch} passes={passes}",
            f"{typed(names)}`. {RESEARCH_USE}",
            "",
        ]
    )


def _order(one: Timing) -> float:
    return float("inf") if one.batch_ms is None else one.batch_ms


def _timing(network: Network, batch: int, precision: str, passes: int, device: torch.device) -> Timing:
    module = for_inference(network.module.network).to(device)
    image = network.image.to(device)
    try:
        many = _milliseconds(module, image.repeat(batch, 1, 1, 1), precision, passes) / batch
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        many = None
    one = _milliseconds(module, image, precision, passes)
    return Timing(network.name, network.parameters, network.macs, precision, one, many)


def _milliseconds(module: nn.Module, images: Tensor, precision: str, passes: int) -> float:
    images, dtype = images.contiguous(memory_format=torch.channels_last), PRECISIONS[precision]

    @torch.inference_mode()
    def infer() -> None:
        with torch.autocast(images.device.type, dtype, enabled=dtype is not None):
            module(images)
        wait()

    return 1000 * fastest(infer, passes)


def _device_name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"


if __name__ == "__main__":
    main()
