"""The ways to run a network on one slice: PyTorch in two memory orders, ONNX Runtime, OpenVINO."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

import numpy as np
import torch

from lits_seg.benchmark.machine import torch_threads
from lits_seg.benchmark.networks import Network, contiguous_maps
from lits_seg.common.dependencies import openvino_core

Run = Callable[[], np.ndarray]  # the slice's logits (1, K, size, size)


class NotHereError(Exception):
    """An engine does not run a network, or not on this machine; the message says why."""


@dataclass(frozen=True)
class Engine:
    """``prepare(network, threads)`` gives what computes the slice's logits, or raises ``NotHereError``."""

    name: str
    prepare: Callable[[Network, int], Run]
    precision: str = "float32"  # in which the machine's limit is measured; none is for int8
    # The logits' ``difference`` from PyTorch's: what is more than rounding is told, what is wrong ends the benchmark.
    rounding: float = 1e-4
    wrong: float = 1e-2


def difference(network: Network, logits: np.ndarray) -> float:
    """How far other logits are from PyTorch's: root mean square of the difference, as a share of the logits' own."""
    expected = network.logits.numpy()
    if logits.shape != expected.shape:
        return float("inf")
    return float(np.sqrt(np.square(logits - expected).mean() / np.square(expected).mean()))


def _pytorch(order: str, network: Network, threads: int) -> Run:
    last = order == "channels-last"  # as LesionModule has it
    module = network.module if last else deepcopy(network.module.network).to(memory_format=torch.contiguous_format)

    @torch.inference_mode()
    def run() -> np.ndarray:
        with torch_threads(threads), nullcontext() if last else contiguous_maps():
            return module(network.image).numpy()

    return run


def _onnx_runtime(network: Network, threads: int) -> Run:
    _require("onnxruntime", network)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Else its threads look for work for a while after each run, and take the cores from who comes next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    image = network.image.numpy()
    with _refusals():
        session = onnxruntime.InferenceSession(network.onnx, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"image": image})[0]


def _openvino(precision: str, network: Network, threads: int) -> Run:
    _require("openvino", network)
    core = openvino_core()
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise NotHereError("the processor has no bf16")
    settings = {
        "INFERENCE_PRECISION_HINT": "f32" if precision == "int8" else precision,  # 8 bits are in the graph
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
    }
    image = network.image.numpy()
    with _refusals():
        file = network.int8 if precision == "int8" else network.onnx
        request = core.compile_model(file, "CPU", settings).create_infer_request()
    return lambda: request.infer({0: image})[0]


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # an operator that it does not have, in exceptions of each engine's own
        raise NotHereError(str(error).splitlines()[0]) from error


def _require(package: str, network: Network) -> None:
    if find_spec(package) is None:
        raise NotHereError(f"{package} is missing (`pip install 'lits_seg[export]'`)")
    if network.reason:
        raise NotHereError(network.reason)


ENGINES = (
    Engine("PyTorch, contiguous", partial(_pytorch, "contiguous")),
    Engine("PyTorch, channels-last", partial(_pytorch, "channels-last")),
    Engine("ONNX Runtime", _onnx_runtime),
    Engine("OpenVINO", partial(_openvino, "f32")),
    # 8 bits in each layer; a deep network with random weights makes much of it. Unrelated logits differ by 1.4.
    Engine("OpenVINO, bf16", partial(_openvino, "bf16"), "bfloat16", rounding=0.05, wrong=1.0),
    Engine("OpenVINO, int8", partial(_openvino, "int8"), "int8", rounding=0.2, wrong=1.0),
)
