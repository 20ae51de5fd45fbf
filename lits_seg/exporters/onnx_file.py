"""Store the weights of an ONNX graph in 16 bits, and save a graph with its metadata; neither needs PyTorch."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.utils import Extractor

from lits_seg.common.errors import InputError
from lits_seg.inference.contract import IMAGE, LOGITS, METADATA, ExportMetadata
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


def after_images(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Return the part of an exported graph from images to ``above``, the logits above the background's.

    The browser page computes the rest: pre-processing of each slice once, though several slices need its image, and
    resizing without products with zeros.

    Args:
        model: the graph.
        path: the file, which errors name.

    Returns:
        A graph from ``image``, ``(B, context, size, size)`` uint8, to ``above``, ``(B, K - 1, size, size)``: the logits
        minus those of the background, divided by the temperature.

    Raises:
        InputError: if the graph is not composed as ``exporters.graph`` does.
    """
    users: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in model.graph.node:
        for name in dict.fromkeys(node.input):
            users[name].append(node)
    slices = [node.output[0] for node in users[LOGITS] if node.op_type == "Slice"]
    above = [node for name in slices[:1] for node in users[name] if set(node.input) == set(slices)]
    if IMAGE not in users or len(slices) != 2 or [node.op_type for node in above] != ["Sub"]:
        raise InputError(
            path, f"a graph with {IMAGE} and {LOGITS}, exported by lits_seg", "another graph (export again)"
        )
    after = users[above[0].output[0]]
    end = after[0] if [node.op_type for node in after] == ["Div"] else above[0]  # by the temperature
    # The shape is known, but some graphs do not state it.
    values = {value.name: value for value in model.graph.value_info}
    model.graph.value_info.extend(
        helper.make_tensor_value_info(name, kind, None)
        for name, kind in ((IMAGE, TensorProto.UINT8), (end.output[0], TensorProto.FLOAT))
        if name not in values
    )
    part = Extractor(model).extract_model([IMAGE], [end.output[0]])
    for node in part.graph.node:
        node.output[:] = ["above" if name == end.output[0] else name for name in node.output]
    part.graph.output[0].name = "above"
    return part


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
