"""Write and open the exported files of every format and precision."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np

from lits_seg.common.dependencies import install
from lits_seg.common.errors import InputError
from lits_seg.exporters.choices import ENDINGS
from lits_seg.exporters.onnx import Parts, export_network, join
from lits_seg.exporters.onnx_file import save, with_weights_in_fp16
from lits_seg.exporters.openvino import write_openvino
from lits_seg.exporters.quantize import quantize
from lits_seg.inference.contract import ExportMetadata
from lits_seg.inference.exported import ExportedModel, ExportedSegmenter
from lits_seg.models import for_inference
from lits_seg.training.module import LesionModule


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
        import_executorch().write_executorch(module, path, metadata)
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
        return import_executorch().ExecuTorchProgram(path)
    return ExportedModel(path, threads)


def import_executorch() -> ModuleType:
    """Import the module for ExecuTorch on first use, since ExecuTorch is large and optional."""
    try:
        return import_module("lits_seg.exporters.executorch")
    except ModuleNotFoundError as error:
        needed = f"{error.name} to write .pte files ({install('executorch')})"
        raise InputError("format=executorch", needed, "not installed") from error
