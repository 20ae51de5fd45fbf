"""Quantize the network in the graph to 8-bit integers, with static calibration on slices."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from lits_seg.inference.contract import IMAGE

# These operators only move or scale values, and would be slower and less precise in 8 bits. In addition, OpenVINO
# crashes on some networks if the outputs of a concatenation and of a batch norm are in 8 bits.
IN_32_BITS = ("BatchNormalization", "Concat", "Resize", "DepthToSpace")


class _Images(CalibrationDataReader):
    def __init__(self, images: np.ndarray) -> None:
        self.batches: Iterator[np.ndarray] = iter(np.split(images, range(4, len(images), 4)))

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self.batches, None)
        return None if batch is None else {IMAGE: batch}


def quantize(logits: Path, images: np.ndarray, quantized: Path) -> None:
    """Write the network with 8-bit weights (one scale per channel) and 8-bit feature maps between its convolutions.

    The last convolution, which computes the logits, stays in 32 bits: it is cheap, and small differences between logits
    decide labels.

    Args:
        logits: the network's ONNX file.
        images: images ``(N, context, size, size)`` uint8, from which the ranges of the feature maps are calibrated.
        quantized: the file to write.
    """
    logging.getLogger().setLevel(logging.ERROR)  # ONNX Runtime sends its advice to the root logger
    prepared = quantized.with_suffix(".prepared.onnx")
    quant_pre_process(str(logits), str(prepared), skip_symbolic_shape=True)
    graph = onnx.load(prepared).graph
    quantize_static(
        str(prepared),
        str(quantized),
        _Images(images),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=[node.name for node in graph.node if "logits" in node.output or node.op_type in IN_32_BITS],
    )
    prepared.unlink()
