"""Write and open the exported files of every format and precision."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np

from lits_seg.common.errors import InputError
from lits_seg.exporters.onnx import Parts, export_network, join, save, with_weights_in_fp16
from lits_seg.exporters.openvino import write_openvino
from lits_seg.exporters.quantize import quantize
from lits_seg.inference.contract import ExportMetadata
from lits_seg.inference.exported import ExportedModel, ExportedSegmenter
from lits_seg.models import for_inference
from lits_seg.training.module import LesionModule

# The precisions in which each runtime can compute, or at least store weights, on a CPU.
PRECISIONS = {
    "onnx": ("fp32", "fp16", "int8"),
    "openvino": ("fp32", "fp16", "bf16", "int8"),
    "executorch": ("fp32",),
}
ENDINGS = {"onnx": ".onnx", "openvino": ".openvino.zip", "executorch": ".pte"}


def write_file(module: LesionModule, parts: Parts, images: np.ndarray, path: Path, metadata: ExportMetadata) -> None:
    """Write a file in the format and precision given by its metadata.

    Args:
        module: the trained network, on the CPU.
        parts: graph of the network, written by ``export_parts``.
        images: the network's input images ``(N, context, size, size)`` uint8, for the calibration of int8.
        path: the file to write.
        metadata: metadata to store in the file.
    """
    if metadata.format == "executorch":
        _executorch().write_executorch(module, path, metadata)
        return
    if metadata.precision == "int8":
        parts = replace(parts, logits=_int8(module, parts, images))
    if metadata.format == "openvino":
        write_openvino(parts, path, metadata)
        return
    model = join(parts.prepare, parts.logits, parts.restore)
    save(with_weights_in_fp16(model) if metadata.precision == "fp16" else model, path, metadata)


def _int8(module: LesionModule, parts: Parts, images: np.ndarray) -> Path:
    """Return the ONNX file of the 8-bit network, which the first call writes."""
    quantized = parts.logits.with_name("logits_int8.onnx")
    if not quantized.exists():
        whole = parts.logits.with_name("whole.onnx")
        export_network(for_inference(module.network, int8=True), module.context, module.preprocess.size, whole)
        quantize(whole, images, quantized)
    return quantized


def open_file(path: Path, threads: int | None) -> ExportedSegmenter:
    """Open an exported file of any format.

    Args:
        path: the file.
        threads: largest number of CPU threads, which ExecuTorch ignores; None: one per core.
    """
    if path.name.endswith(ENDINGS["executorch"]):
        return _executorch().ExecuTorchProgram(path)
    return ExportedModel(path, threads)


def _executorch() -> ModuleType:
    """Import the module for ExecuTorch on first use, since ExecuTorch is large and optional."""
    try:
        return import_module("lits_seg.exporters.executorch")
    except ModuleNotFoundError as error:
        needed = f"{error.name} to write .pte files (pip install 'lits_seg[executorch]')"
        raise InputError("format=executorch", needed, "not installed") from error


def pairs(formats: list[str], precisions: list[str]) -> list[tuple[str, str]]:
    """Return the pairs of format and precision to export; fp32, the reference, is added to each format if missing.

    Args:
        formats: names of formats; ``["all"]``: all formats.
        precisions: names of precisions; ``["all"]``: all precisions of each format.

    Raises:
        InputError: if a pair is not supported or is repeated, or if ExecuTorch is needed but missing.
    """
    works = "; ".join(f"format={name} precision={', '.join(PRECISIONS[name])}" for name in PRECISIONS)
    formats = list(PRECISIONS) if formats == ["all"] else formats
    wanted = [
        (name, precision)
        for name in formats
        for precision in (PRECISIONS.get(name, ("?",)) if precisions == ["all"] else precisions)
    ]
    for name, precision in wanted:
        if precision not in PRECISIONS.get(name, ()):
            raise InputError("format and precision", f"one of: {works}", f"format={name} precision={precision}")
    if "executorch" in formats:
        _executorch()  # if the package is missing, fail before other files are written
    if not wanted or len(set(wanted)) < len(wanted):
        raise InputError("format and precision", f"some of: {works}; each once", wanted or "none")
    return [(name, "fp32") for name in dict.fromkeys(formats) if (name, "fp32") not in wanted] + wanted
