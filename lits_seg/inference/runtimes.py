"""Open sessions of ONNX Runtime and OpenVINO on the CPU, without PyTorch."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from lits_seg.common.dependencies import extra_of, import_openvino, install, openvino_core
from lits_seg.common.errors import InputError


def onnx_session(path: Path, threads: int | None) -> Any:
    """Open an ONNX file with ONNX Runtime.

    Args:
        path: the file.
        threads: largest number of CPU threads; None: one per core.

    Returns:
        An ``onnxruntime.InferenceSession``.

    Raises:
        InputError: if ONNX Runtime is missing or cannot load the file.
    """
    ort = require_runtime("onnxruntime", path)
    options = ort.SessionOptions()
    options.log_severity_level = 4  # errors are raised as well
    options.intra_op_num_threads = threads or 0
    try:
        # Without fallback: a second attempt on the same CPU would only print a second message.
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:  # ONNX Runtime has many exception types for damaged files
        raise InputError(path, "a readable ONNX file", first_line(error)) from error


def openvino_request(path: Path, xml: bytes, weights: bytes, precision: str, threads: int | None) -> Any:
    """Compile a model with OpenVINO.

    Args:
        path: the exported file, which errors name.
        xml: content of the model's ``.xml`` file.
        weights: content of the model's ``.bin`` file.
        precision: precision of the computation, ``f32`` or ``bf16``.
        threads: largest number of CPU threads; None: OpenVINO's default.

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
        raise InputError(path, "a readable OpenVINO model", first_line(error)) from error


def require_runtime(package: str, path: Path) -> Any:
    """Import ``onnxruntime`` or ``openvino``.

    Args:
        package: name of the package.
        path: the exported file, which errors name.

    Returns:
        The package.

    Raises:
        InputError: if the package is not installed.
    """
    try:
        return import_openvino() if package == "openvino" else import_module(package)
    except ModuleNotFoundError as error:
        needed = f"{package} to run it ({install(extra_of(package))})"
        raise InputError(path, needed, "not installed") from error


def first_line(error: Exception) -> str:
    """Return the type of an error and the first line of its message."""
    return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"
