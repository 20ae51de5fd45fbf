"""Exported models (``python -m lits_seg.export``) run by ONNX Runtime or OpenVINO; needs no PyTorch."""

import json
import zipfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from lits_seg.common.dependencies import import_openvino, openvino_core
from lits_seg.common.errors import InputError
from lits_seg.common.files import sha256
from lits_seg.inference.segmenter import Segmenter

# The names that the graph's input and outputs have, whatever the format, and the version of what they mean.
HU, OUTPUTS, CONTRACT = "hu", ("labels", "probability", "logits"), 1
METADATA = "lits_seg"
OPENVINO_METADATA, OPENVINO_MODEL, OPENVINO_PREPARE = "lits_seg.json", "model", "prepare"

Run = Callable[..., list[np.ndarray]]


class Exported(Segmenter):
    """A file of ``lits_seg.export`` on the CPU: HU slices to labels, all within its graph.

    Args:
        path: ``.onnx`` or ``.openvino.zip``, told apart by what they hold.
        threads: at most so many; None: as many as there are cores.

    Raises ``InputError`` for a file of another kind or program, and where the package that runs it is missing.
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        self.path = Path(path)
        kind = _kind(self.path)
        self.engine = "ONNX Runtime" if kind == "onnx" else "OpenVINO"
        self.run, self.metadata = (_onnx if kind == "onnx" else _openvino)(self.path, threads)
        self.classes, self.context = int(self.metadata["classes"]), int(self.metadata["context"])

    def __call__(self, hu: np.ndarray, around: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See ``Segmenter``."""
        labels, probability = self.run(hu[around].astype(np.float32), OUTPUTS[:2])
        np.multiply(probability, 255, out=probability)
        return labels, np.rint(probability, out=probability).astype(np.uint8)

    def logits(self, hu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Slices ``(B, context, H, W)`` in HU to labels ``(B, H, W)`` and logits ``(B, K, size, size)``."""
        labels, logits = self.run(hu.astype(np.float32), ("labels", "logits"))
        return labels, logits

    def describe(self) -> dict[str, Any]:
        """See ``Segmenter``."""
        exported = {"path": str(self.path), "sha256": sha256(self.path), "format": self.metadata["format"]}
        model = {key: self.metadata[key] for key in ("network", "decoder", "parameters", "classes", "preprocess")}
        return {
            "model": {**model, "exported": exported, "checkpoints": [self.metadata["checkpoint"]]},
            "settings": {"tta": "none", "precision": self.metadata["precision"], "device": f"cpu, {self.engine}"},
        }


def _kind(path: Path) -> str:
    """``onnx`` or ``openvino``, by what a file holds."""
    expected = "an exported model: .onnx (ONNX Runtime) or .openvino.zip (OpenVINO)"
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise InputError(path, expected, error.strerror) from None
    if head[4:8] == b"ET12":
        raise InputError(path, expected, "an ExecuTorch program, which is run by an app (or executorch.runtime)")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
        if OPENVINO_METADATA in names:
            return "openvino"
        checkpoint = any(name.endswith("/data.pkl") for name in names)
        raise InputError(path, expected, "a checkpoint (ckpt=…)" if checkpoint else "another program's ZIP file")
    if head.startswith(b"PK"):
        raise InputError(path, expected, "a ZIP file that is damaged or cut off")
    if path.suffix != ".onnx":
        raise InputError(path, expected, "a file of another kind")
    return "onnx"


def _onnx(path: Path, threads: int | None) -> tuple[Run, dict[str, Any]]:
    ort = _package("onnxruntime", path)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or 0
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of as many types as there are ways to be damaged
        raise InputError(path, "an ONNX file", f"one that cannot be loaded ({_first_line(error)})") from error

    def run(hu: np.ndarray, outputs: tuple[str, ...] = OUTPUTS) -> list[np.ndarray]:
        return session.run(list(outputs), {HU: hu})

    return run, _metadata(path, session.get_modelmeta().custom_metadata_map.get(METADATA))


def _openvino(path: Path, threads: int | None) -> tuple[Run, dict[str, Any]]:
    with zipfile.ZipFile(path) as file:
        metadata = _metadata(path, _member(path, file, OPENVINO_METADATA).decode(errors="replace"))
        ov = _package("openvino", path)
        core = openvino_core()
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        settings |= {"INFERENCE_NUM_THREADS": threads} if threads else {}

        def load(name: str, precision: str) -> Any:
            weights = np.frombuffer(_member(path, file, f"{name}.bin"), np.uint8)
            model = core.read_model(_member(path, file, f"{name}.xml"), ov.Tensor(weights))
            return core.compile_model(model, "CPU", {**settings, "INFERENCE_PRECISION_HINT": precision})

        try:
            parts = [load(OPENVINO_MODEL, "bf16" if metadata["precision"] == "bf16" else "f32")]
            if f"{OPENVINO_PREPARE}.xml" in file.namelist():
                parts.insert(0, load(OPENVINO_PREPARE, "f32"))
        except RuntimeError as error:
            raise InputError(
                path, "a model for OpenVINO", f"one that cannot be loaded ({_first_line(error)})"
            ) from error
    requests = [part.create_infer_request() for part in parts]

    def run(hu: np.ndarray, outputs: tuple[str, ...] = OUTPUTS) -> list[np.ndarray]:
        inputs = {HU: hu}
        for request in requests[:-1]:
            request.infer(inputs, share_inputs=True)
            inputs["image"] = request.get_tensor("image").data
        request = requests[-1]
        request.infer(inputs, share_inputs=True)
        return [np.array(request.get_tensor(name).data) for name in outputs]

    return run, metadata


def _member(path: Path, file: zipfile.ZipFile, name: str) -> bytes:
    try:
        return file.read(name)
    except (KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(path, f"{name} in it, whole", _first_line(error)) from error


def _package(name: str, path: Path) -> Any:
    try:
        return import_openvino() if name == "openvino" else import_module(name)
    except ModuleNotFoundError as error:
        raise InputError(path, f"{name} to run it (pip install 'lits_seg[runtime]')", "not installed") from error


def _metadata(path: Path, text: str | None) -> dict[str, Any]:
    """What the export said of the model."""
    if text is None:
        raise InputError(path, "a model that lits_seg exported", "another program's")
    try:
        metadata = json.loads(text)
        contract = metadata["contract"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(path, f"what an export says of itself ({METADATA})", _first_line(error)) from error
    if contract != CONTRACT:
        raise InputError(path, f"a model of contract {CONTRACT}", f"{contract}: export it again")
    return metadata


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"
