"""Open ONNX and OpenVINO models on the CPU: the one place that makes their sessions. Needs no PyTorch."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from lits_seg.common.dependencies import import_openvino, openvino_core
from lits_seg.common.errors import InputError


def onnx_session(path: Path, threads: int | None) -> Any:
    """Open an ONNX file by ONNX Runtime.

    Args:
        path: the file.
        threads: at most so many; None: one per core.

    Returns:
        An ``onnxruntime.InferenceSession``.

    Raises:
        InputError: if ONNX Runtime is missing or cannot load the file.
    """
    ort = require_runtime("onnxruntime", path)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or 0
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime reports damage by many types
        raise InputError(path, "an ONNX file", f"one that cannot be loaded ({first_line(error)})") from error


def openvino_request(path: Path, xml: bytes, weights: bytes, precision: str, threads: int | None) -> Any:
    """Compile a model by OpenVINO.

    Args:
        path: the file that an error names.
        xml: the model.
        weights: content of its ``.bin`` file.
        precision: ``f32`` or ``bf16``, in which the CPU computes.
        threads: at most so many; None: OpenVINO's choice.

    Returns:
        An ``openvino.InferRequest``.

    Raises:
        InputError: if OpenVINO is missing or cannot load the model.
    """
    ov = require_runtime("openvino", path)
    core = openvino_core()
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    try:
        model = core.read_model(xml, ov.Tensor(np.frombuffer(weights, np.uint8)))
        return core.compile_model(model, "CPU", settings).create_infer_request()
    except RuntimeError as error:
        raise InputError(path, "a model for OpenVINO", f"one that cannot be loaded ({first_line(error)})") from error


def require_runtime(package: str, path: Path) -> Any:
    """Import ``onnxruntime`` or ``openvino``.

    Args:
        package: the name.
        path: the file that an error names.

    Raises:
        InputError: if the package is not installed; says how to install it.
    """
    try:
        return import_openvino() if package == "openvino" else import_module(package)
    except ModuleNotFoundError as error:
        raise InputError(path, f"{package} to run it (pip install 'lits_seg[runtime]')", "not installed") from error


def first_line(error: Exception) -> str:
    """Return the type of an error and the first line of its message."""
    return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"
