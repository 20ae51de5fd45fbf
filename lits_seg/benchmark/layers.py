"""Where the time of an exported slice goes: the network by kinds of layers, and what comes before and after it."""

import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from hydra import compose
from hydra.utils import instantiate
from torch import Tensor, nn

from lits_seg import RESEARCH_USE
from lits_seg.benchmark.inference import fastest
from lits_seg.benchmark.machine import matmul_rate, torch_threads
from lits_seg.benchmark.networks import Network, make, synthetic_slices
from lits_seg.common.dependencies import openvino_core
from lits_seg.common.tables import markdown, number
from lits_seg.data.preprocess import Preprocess
from lits_seg.exporters.onnx import LIKE, export_onnx, export_parts
from lits_seg.inference.contract import HU, OUTPUTS
from lits_seg.models.cost import processor

SIDE = 512  # of a CT's slices
KINDS = {  # by OpenVINO's names
    "Convolution": "1x1 convolutions",  # and one more, of the image's one channel
    "GroupConvolution": "depthwise convolutions",
    "Subgraph": "batch norms",
    "Interpolate": "upsampling",
    "DepthToSpace": "upsampling",
    "MaxPool": "max-pooling",
}
PRECISIONS = {"fp32": ("f32", torch.float32), "bf16": ("bf16", torch.bfloat16)}
ONE_THREAD = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}


class PlainRestore(nn.Module):
    """Labels and probability of a slice by their definition, to compare ``export.graph.Restore`` with."""

    def forward(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``(1, K, size, size)`` to ``(1, SIDE, SIDE)`` twice."""
        enlarged = Preprocess(size=logits.shape[-1]).restore(logits, SIDE, SIDE)
        return enlarged.argmax(1).to(torch.uint8), enlarged.softmax(1)[:, -1]


def layer_times(size: int) -> str:
    """Two Markdown tables for ``dsc_unet``, on one thread of the CPU."""
    with tempfile.TemporaryDirectory() as name, torch_threads(1):
        layers, around = _layers(size, Path(name)), _around(size, Path(name))
    return "\n".join(
        [
            "# Where a slice's time goes",
            "",
            layers,
            "",
            f"Milliseconds of `dsc_unet`, the paper's decoder, for a slice of {size} x {size}: OpenVINO's own profile,",
            "of several passes the fastest. At the rate of matrices: what the multiply-accumulates would take in a",
            "large product of matrices by PyTorch, in the same precision.",
            "",
            around,
            "",
            f"Milliseconds for a slice of {SIDE} x {SIDE}, of several passes the fastest. Plain: logits enlarged,",
            "argmax, softmax.",
            "",
            f"One thread of {processor()}. Written by `python -m lits_seg.benchmark layers size={size}`.",
            RESEARCH_USE,
            "",
        ]
    )


def _layers(size: int, folder: Path) -> str:
    network = make("dsc_unet/subpixel", synthetic_slices(size, 4), folder)
    macs = _macs(network)
    capabilities = openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    precisions = {name: both for name, both in PRECISIONS.items() if name == "fp32" or name.upper() in capabilities}
    rates = [matmul_rate(dtype) for _, dtype in precisions.values()]
    times = [_profile(network, hint) for hint, _ in precisions.values()]
    rows = []
    for kind in sorted(times[0], key=times[0].__getitem__, reverse=True):
        title = f"{kind}, {macs[kind] / 1e9:.2f} GMAC" if kind in macs else kind
        limits = [2000 * macs[kind] / rate if kind in macs else None for rate in rates]
        rows.append([title, *(number(value, 1) for value in (*(one.get(kind) for one in times), *limits))])
    return markdown(["part", *precisions, *(f"{name}, at the rate of matrices" for name in precisions)], rows)


def _macs(network: Network) -> Counter[str]:
    """Multiply-accumulates by kind of layer."""
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
    """Milliseconds by kind of layer, and of all."""
    settings = {**ONE_THREAD, "INFERENCE_PRECISION_HINT": hint, "PERF_COUNT": True}
    request = openvino_core().compile_model(network.onnx, "CPU", settings).create_infer_request()
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
    tasks: dict[str, list[Callable[[], object]]] = {}
    for classes in (2, 3):
        logits = np.random.default_rng(0).normal(0, 3, (1, classes, size, size)).astype(np.float32)
        overrides = ["model=dsc_unet", f"model.out_channels={classes}", f"data.preprocess.size={size}"]
        parts = export_parts(instantiate(compose("train", overrides).module), folder)
        plain = folder / "plain.onnx"
        export_onnx(PlainRestore(), {"logits": torch.from_numpy(logits)}, list(OUTPUTS[:2]), plain)
        tasks["window, antialiased resizing, equalization"] = _runs(parts.prepare, {HU: hu})
        title = f"enlarging, labels, probability; {classes} classes"
        tasks[title] = _runs(parts.restore, {"logits": logits, LIKE: hu})
        tasks[f"{title}; plain"] = _runs(plain, {"logits": logits})
    best = dict.fromkeys(tasks, (np.inf, np.inf))
    for _ in range(5):
        for title, (openvino, onnx_runtime) in tasks.items():
            taken = (1000 * fastest(openvino), 1000 * fastest(onnx_runtime))
            best[title] = tuple(np.minimum(best[title], taken))
    rows = [[title, *(number(value, 1) for value in both)] for title, both in best.items()]
    return markdown(["part of the graph", "OpenVINO", "ONNX Runtime"], rows)


def _runs(path: Path, inputs: Mapping[str, np.ndarray]) -> list[Callable[[], object]]:
    """A graph by OpenVINO and by ONNX Runtime."""
    settings = {**ONE_THREAD, "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino_core().compile_model(path, "CPU", settings).create_infer_request()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return [lambda: request.infer(inputs), lambda: session.run(None, inputs)]
