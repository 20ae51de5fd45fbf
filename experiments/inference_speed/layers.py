"""``python -m experiments.inference_speed.layers``: time a slice by kinds of layers and by parts of the graph."""

import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from experiments.shared.checkpoints import untrained
from experiments.shared.command import PUBLISHED, command, publish
from experiments.shared.engines import onnx_session, openvino_has_bf16, openvino_request
from experiments.shared.machine import matmul_rate, torch_threads
from experiments.shared.networks import OURS, SETTLING, Network, make, synthetic_slices
from lits_seg import RESEARCH_USE
from lits_seg.common.settings import Place, Size
from lits_seg.common.tables import markdown, number
from lits_seg.common.timing import Task, fastest_in_turns
from lits_seg.data.preprocess import Preprocess
from lits_seg.exporters.onnx import LIKE, export_onnx, export_parts
from lits_seg.inference.contract import HU, OUTPUTS
from lits_seg.models.cost import processor

SIDE = 512  # of a CT's slices
KINDS = {  # by the names that OpenVINO gives to layers
    "Convolution": "1x1 convolutions",  # and the first convolution, whose input has one channel
    "GroupConvolution": "depthwise convolutions",
    "Subgraph": "batch norms",
    "Interpolate": "upsampling",
    "DepthToSpace": "upsampling",
    "MaxPool": "max-pooling",
}
PRECISIONS = {"fp32": ("f32", torch.float32), "bf16": ("bf16", torch.bfloat16)}
THREADS = 1


@dataclass(frozen=True)
class Settings:
    """The settings in ``layers.yaml``."""

    output: Place
    size: Size


@command("inference_speed/layers", Settings, {"layers.md": PUBLISHED})
def main(cfg: Settings) -> None:
    """Measure, print the tables and write the tables into ``output``."""
    publish(layer_times(cfg.size), Path(cfg.output) / "layers.md")


class PlainRestore(nn.Module):
    """Compute labels and probability of a slice by definition, as a reference for ``exporters.graph.Restore``."""

    def forward(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return labels and probability, ``(1, SIDE, SIDE)`` each, for logits ``(1, K, size, size)``."""
        enlarged = Preprocess(size=logits.shape[-1]).restore(logits, SIDE, SIDE)
        return enlarged.argmax(1).to(torch.uint8), enlarged.softmax(1)[:, -1]


def layer_times(size: int) -> str:
    """Profile ``dsc_unet`` on one CPU thread and return two Markdown tables.

    Args:
        size: side of the network's images, pixels.
    """
    with tempfile.TemporaryDirectory() as name, torch_threads(THREADS):
        layers, around = _layers(size, Path(name)), _around(size, Path(name))
    return "\n".join(
        [
            "# Where a slice's time goes",
            "",
            layers,
            "",
            f"Milliseconds of `dsc_unet` with the paper's decoder for a slice of {size} px by OpenVINO's profile,",
            "the fastest of several passes. At matmul rate: time of the same multiply-accumulates in a large matrix",
            "product of PyTorch, in the same precision.",
            "",
            around,
            "",
            f"Milliseconds for a slice of {SIDE} x {SIDE}, the fastest of several passes. Plain: enlarge the logits,",
            "then argmax and softmax.",
            "",
            f"One thread of {processor()}. Written by `python -m experiments.inference_speed.layers size={size}`.",
            RESEARCH_USE,
            "",
        ]
    )


def _layers(size: int, folder: Path) -> str:
    network = make(OURS, synthetic_slices(size, SETTLING), folder)
    macs = _macs(network)
    precisions = {name: both for name, both in PRECISIONS.items() if name == "fp32" or openvino_has_bf16()}
    rates = [matmul_rate(dtype) for _, dtype in precisions.values()]
    times = [_profile(network, hint) for hint, _ in precisions.values()]
    rows = []
    for kind in sorted(times[0], key=times[0].__getitem__, reverse=True):
        title = f"{kind}, {macs[kind] / 1e9:.2f} GMAC" if kind in macs else kind
        limits = [2000 * macs[kind] / rate if kind in macs else None for rate in rates]
        rows.append([title, *(number(value, 1) for value in (*(one.get(kind) for one in times), *limits))])
    return markdown(["part", *precisions, *(f"{name}, at matmul rate" for name in precisions)], rows)


def _macs(network: Network) -> Counter[str]:
    """Count the multiply-accumulates by kind of layer."""
    found: Counter[str] = Counter()

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d)
        macs = output.numel() * layer.weight[0].numel()
        found[KINDS["GroupConvolution" if layer.groups > 1 else "Convolution"]] += macs
        found["all"] += macs

    copy = deepcopy(network.module.network)
    for layer in copy.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(count)
    with torch.inference_mode():
        copy(network.image)
    return found


def _profile(network: Network, hint: str) -> dict[str, float]:
    """Return the milliseconds by kind of layer, and of all layers."""
    request = openvino_request(network.onnx, THREADS, hint, PERF_COUNT=True)
    passes = []
    for _ in range(20):
        request.infer({0: network.image.numpy()})
        found: dict[str, float] = defaultdict(float)
        for layer in request.profiling_info:
            for kind in (KINDS.get(layer.node_type, "the rest"), "all"):
                found[kind] += 1000 * layer.real_time.total_seconds()
        passes.append(found)
    return min(passes, key=lambda one: one["all"])


def _around(size: int, folder: Path) -> str:
    hu = np.random.default_rng(0).integers(-200, 300, (1, 1, SIDE, SIDE)).astype(np.float32)
    graphs: dict[str, tuple[Task, Task]] = {}
    for classes in (2, 3):
        logits = np.random.default_rng(0).normal(0, 3, (1, classes, size, size)).astype(np.float32)
        overrides = ["model=dsc_unet", f"model.out_channels={classes}", f"data.preprocess.size={size}"]
        parts = export_parts(untrained(overrides), folder)
        plain = folder / "plain.onnx"
        export_onnx(PlainRestore(), {"logits": torch.from_numpy(logits)}, list(OUTPUTS[:2]), plain)
        graphs["window, antialiased resizing, equalization"] = _runs(parts.prepare, {HU: hu})
        title = f"enlarging, labels, probability; {classes} classes"
        graphs[title] = _runs(parts.restore, {"logits": logits, LIKE: hu})
        graphs[f"{title}; plain"] = _runs(plain, {"logits": logits})
    times = fastest_in_turns({(title, i): task for title, both in graphs.items() for i, task in enumerate(both)}, 10)
    rows = [[title, *(number(1000 * times[title, i], 1) for i in range(2))] for title in graphs]
    return markdown(["part of the graph", "OpenVINO", "ONNX Runtime"], rows)


def _runs(path: Path, inputs: Mapping[str, np.ndarray]) -> tuple[Task, Task]:
    """Return functions that run a graph once, in OpenVINO and in ONNX Runtime."""
    request, session = openvino_request(path, THREADS), onnx_session(path, THREADS)
    return lambda: request.infer(inputs), lambda: session.run(None, inputs)


if __name__ == "__main__":
    main()
