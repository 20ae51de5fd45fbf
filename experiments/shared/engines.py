"""Run a network on one slice in several ways: PyTorch in two memory orders, ONNX Runtime, OpenVINO."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.shared.machine import torch_threads
from experiments.shared.networks import UNPOOLING, Network, contiguous
from lits_seg.common.dependencies import install, openvino_core
from lits_seg.models import for_inference

Run = Callable[[], np.ndarray]  # returns the logits of the slice, (1, K, size, size)


SAME_LABELS = 0.99  # share of PyTorch's labels, if the logits of a network depend on ties


class NotHereError(Exception):
    """An engine cannot run a network, or not on this machine; the message gives the reason."""


@dataclass(frozen=True)
class Engine:
    """A way to run a network.

    Attributes:
        name: name in tables.
        prepare: takes a network and a number of threads, and returns a function that computes the logits of the
            network's slice. Both raise ``NotHereError``.
        precision: precision whose matmul rate is the limit; int8 has no measured limit.
        rounding: largest ``difference`` from PyTorch's logits that needs no note.
        wrong: largest ``difference`` from PyTorch's logits that is accepted.
        from_file: whether the engine runs exported files.
    """

    name: str
    prepare: Callable[[Network, int], Run]
    precision: str = "float32"
    rounding: float = 1e-4
    wrong: float = 1e-2
    from_file: bool = True


def difference(network: Network, logits: np.ndarray) -> float:
    """Return the root mean square difference from PyTorch's logits, relative to the root mean square of PyTorch's.

    Args:
        network: a network with PyTorch's logits.
        logits: an engine's logits, ``(1, K, size, size)``.

    Returns:
        The relative difference; infinity if the shapes differ.
    """
    expected = network.logits.numpy()
    if logits.shape != expected.shape:
        return float("inf")
    return float(np.sqrt(np.square(logits - expected).mean() / np.square(expected).mean()))


def require_agreement(network: Network, engine: Engine, logits: np.ndarray) -> tuple[float, str]:
    """Compare an engine's logits with PyTorch's.

    Max-unpooling places values where the encoder's maxima were. Two maxima that are equal except for rounding, such as
    in the air around a patient, have no certain place. For these networks, the share of equal labels decides.

    Args:
        network: a network with PyTorch's logits.
        engine: the engine.
        logits: the engine's logits, ``(1, K, size, size)``.

    Returns:
        The ``difference``, and a note, which is empty if the difference is rounding.

    Raises:
        NotHereError: if the logits of an engine with fewer bits are wrong.
        RuntimeError: if the logits of another engine are wrong.
    """
    far = difference(network, logits)
    finding = f"`{network.name}` in {engine.name}: logits {far:.1e} off PyTorch's (root mean square, relative)"
    if far <= engine.wrong:
        return far, f"{finding}, more than rounding ({engine.rounding:g})" if far > engine.rounding else ""
    if engine.precision != "float32":
        raise NotHereError(f"left out, since its logits are {far:.1e} off PyTorch's, more than {engine.wrong:g}")
    same = float((logits.argmax(1) == network.logits.numpy().argmax(1)).mean()) if far < float("inf") else 0.0
    if network.name in UNPOOLING and same >= SAME_LABELS:
        return far, f"{finding}, since equal maxima have no certain place; {same:.2%} of the labels are equal"
    raise RuntimeError(f"{finding}, more than {engine.wrong:g}")


def onnx_session(path: Path, threads: int) -> Any:
    """Open an ONNX file in ONNX Runtime on the CPU.

    Args:
        path: path of the file.
        threads: number of threads of the session.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # By default, the threads keep looking for work after each run, which slows the next engine down.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def openvino_request(path: Path, threads: int, precision: str = "f32", **settings: object) -> Any:
    """Open an ONNX file in OpenVINO on the CPU, for one slice at a time.

    Args:
        path: path of the file.
        threads: number of threads of the request.
        precision: ``f32`` or ``bf16``, for the layers that are stored in 32 bits.
        settings: further settings of OpenVINO.
    """
    common = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
    }
    return openvino_core().compile_model(path, "CPU", {**common, **settings}).create_infer_request()


def openvino_has_bf16() -> bool:
    """Return whether OpenVINO computes in bf16 on this processor."""
    return "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _pytorch(order: str, network: Network, threads: int) -> Run:
    # As predict runs the network. The conversion of one channel to channels-last, LesionModule's order, moves no data.
    module, image = for_inference(network.module.network), network.image
    if order == "channels-last":
        image = image.contiguous(memory_format=torch.channels_last)
    else:
        module = contiguous(module)

    @torch.inference_mode()
    def run() -> np.ndarray:
        with torch_threads(threads):
            return module(image).numpy()

    return run


def _onnx_runtime(network: Network, threads: int) -> Run:
    _require("onnxruntime", network)
    image = network.image.numpy()
    with _refusals():
        session = onnx_session(network.onnx, threads)
    return _refusals()(lambda: session.run(None, {"image": image})[0])


def _openvino(precision: str, network: Network, threads: int) -> Run:
    _require("openvino", network)
    if precision == "bf16" and not openvino_has_bf16():
        raise NotHereError("the processor has no bf16")
    image = network.image.numpy()
    with _refusals():
        if precision == "int8":  # the file itself is in 8 bits
            request = openvino_request(network.int8, threads)
        else:
            request = openvino_request(network.onnx, threads, precision)
    return _refusals()(lambda: request.infer({0: image})[0])


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn an engine's exception into ``NotHereError``; also a decorator."""
    try:
        yield
    except Exception as error:  # such as a missing operator, or memory; engines share no base class of exceptions
        raise NotHereError(str(error).splitlines()[0]) from error


def _require(package: str, network: Network) -> None:
    if find_spec(package) is None:
        raise NotHereError(f"{package} is missing ({install('export')})")
    if network.reason:
        raise NotHereError(network.reason)


ENGINES = (
    Engine("PyTorch, contiguous", partial(_pytorch, "contiguous"), from_file=False),
    Engine("PyTorch, channels-last", partial(_pytorch, "channels-last"), from_file=False),
    Engine("ONNX Runtime", _onnx_runtime),
    Engine("OpenVINO", partial(_openvino, "f32")),
    # A deep network with random weights amplifies rounding in each layer. The difference of unrelated logits is 1.4.
    Engine("OpenVINO, bf16", partial(_openvino, "bf16"), "bfloat16", rounding=0.05, wrong=1.0),
    Engine("OpenVINO, int8", partial(_openvino, "int8"), "int8", rounding=0.2, wrong=1.0),
)
