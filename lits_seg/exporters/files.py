"""Files of each format and precision, from the same parts."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from lits_seg.common.errors import InputError
from lits_seg.exporters.onnx import Parts, join, save, with_weights_in_fp16
from lits_seg.exporters.openvino import write_openvino
from lits_seg.exporters.quantize import quantize
from lits_seg.inference.exported import Exported
from lits_seg.training.module import LesionModule

# What each runtime computes, or at least stores, on a CPU.
PRECISIONS = {
    "onnx": ("fp32", "fp16", "int8"),
    "openvino": ("fp32", "fp16", "bf16", "int8"),
    "executorch": ("fp32",),
}
ENDINGS = {"onnx": ".onnx", "openvino": ".openvino.zip", "executorch": ".pte"}


def write_file(segmenter: LesionModule, parts: Parts, images: np.ndarray, path: Path, metadata: dict[str, Any]) -> None:
    """One file of the format and precision that ``metadata`` tells; int8 is calibrated on ``images``.

    ``images``: ``(N, context, size, size)`` uint8, as the network sees them.
    """
    if metadata["format"] == "executorch":
        _executorch().write_executorch(segmenter, path, metadata)
        return
    if metadata["precision"] == "int8":
        quantized = parts.logits.with_name("logits_int8.onnx")
        if not quantized.exists():
            quantize(parts.whole, images, quantized)
        parts = replace(parts, logits=quantized)
    if metadata["format"] == "openvino":
        write_openvino(parts, path, metadata)
        return
    model = join(parts.prepare, parts.logits, parts.restore)
    save(with_weights_in_fp16(model) if metadata["precision"] == "fp16" else model, path, metadata)


def open_file(path: Path, threads: int | None) -> Any:
    """A file as a ``Segmenter`` that has ``logits``, too."""
    if path.name.endswith(ENDINGS["executorch"]):
        return _executorch().ExecuTorchProgram(path)
    return Exported(path, threads)


def _executorch() -> ModuleType:
    """Imported where it is wanted: few have it, and it brings much along."""
    try:
        return import_module("lits_seg.exporters.executorch")
    except ModuleNotFoundError as error:
        needed = f"{error.name} to write .pte files (pip install 'lits_seg[executorch]')"
        raise InputError("format=executorch", needed, "not installed") from error


def pairs(formats: list[str], precisions: list[str]) -> list[tuple[str, str]]:
    """The wanted pairs of format and precision; ``all``: all that there are. With each format's fp32, the yardstick.

    Raises ``InputError``, listing those that work, for one that does not.
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
        _executorch()  # before the work that it would be the end of
    if not wanted or len(set(wanted)) < len(wanted):
        raise InputError("format and precision", f"some of: {works}; each once", wanted or "none")
    return [(name, "fp32") for name in dict.fromkeys(formats) if (name, "fp32") not in wanted] + wanted
