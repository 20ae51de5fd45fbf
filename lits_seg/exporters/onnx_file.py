"""Store the weights of an ONNX graph in 16 bits, and save a graph with its metadata; neither needs PyTorch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lits_seg.common.errors import InputError
from lits_seg.inference.contract import METADATA, ExportMetadata
from lits_seg.inference.exported import ExportedModel


def in_precision(model: Path, precision: str, folder: Path) -> Path:
    """Return an exported ONNX file whose weights have a precision; it is written if the given file has another one.

    Args:
        model: an exported ``.onnx`` file.
        precision: ``fp32``, ``fp16`` or ``int8``.
        folder: folder to write into.

    Raises:
        InputError: if the precision would need the checkpoint.
    """
    metadata = ExportedModel(model, threads=1).metadata
    if precision == metadata.precision:
        return model
    if (metadata.precision, precision) != ("fp32", "fp16"):
        expected = f"{metadata.precision}, as in {model} (ckpt=… makes any precision)"
        raise InputError("precision", expected, precision)
    path = folder / f"{model.stem}_fp16.onnx"
    save(with_weights_in_fp16(onnx.load(model)), path, replace(metadata, precision="fp16"))
    return path


def with_weights_in_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with its weights stored as 16-bit floats, which halves its size.

    The computation stays in 32 bits, since ONNX Runtime has no 16-bit kernels for CPUs. ONNX Runtime converts the
    weights to 32 bits when it loads the file.
    """
    half = onnx.ModelProto()
    half.CopyFrom(model)
    casts = []
    for tensor in half.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < 16:
            continue
        name, values = tensor.name, numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(values, f"{name}_fp16"))
        casts.append(helper.make_node("Cast", [f"{name}_fp16"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *half.graph.node]
    del half.graph.node[:]
    half.graph.node.extend(nodes)
    return half


def save(model: onnx.ModelProto, path: Path, metadata: ExportMetadata) -> None:
    """Write a graph with its weights to a single file.

    Args:
        model: the graph.
        path: the file to write.
        metadata: metadata to store in the file.
    """
    graph = model.graph
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]  # stack traces of PyTorch's exporter, with paths of this machine
    helper.set_model_props(model, {METADATA: metadata.to_json()})
    model.doc_string = metadata.research_use_only
    model.producer_name, model.producer_version = "lits_seg", metadata.lits_seg
    onnx.save(model, path)
