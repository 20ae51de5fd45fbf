"""The graph as ONNX: exported in three parts, of which the network can be changed alone, then joined."""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, compose, helper, numpy_helper
from torch import Tensor, nn
from torch.export import Dim

from lits_seg.exporters.graph import Logits, Prepare, Restore
from lits_seg.inference.exported import HU, METADATA, OUTPUTS
from lits_seg.models.unet import split_decoder
from lits_seg.training.module import LesionModule

OPSET = 18
LIKE = "like"  # the slices once more, for their shape: two inputs of graphs that are joined may not have one name


@dataclass(frozen=True)
class Parts:
    """ONNX files: HU to image, image to logits (the network), logits to labels and probability.

    ``whole``: the network as it was trained, its decoder not split. Of the split one, 8-bit sums of two convolutions
    would lose too much.
    """

    prepare: Path
    logits: Path
    restore: Path
    whole: Path


def export_parts(segmenter: LesionModule, folder: Path) -> Parts:
    """Writes the parts of a network, in eval mode on the CPU, into ``folder``."""
    preprocess, context = segmenter.preprocess, segmenter.context
    size, classes = preprocess.size, segmenter.classes
    parts = Parts(*(folder / f"{name}.onnx" for name in ("prepare", "logits", "restore", "whole")))
    slices = {0: Dim("batch", max=1024), 2: Dim("height", min=16, max=4096), 3: Dim("width", min=16, max=4096)}
    batch = {0: slices[0]}
    # Of a shape that nothing else has, so that no size is taken for another one.
    hu = torch.zeros(2, context, 48, 40)
    image = torch.zeros(2, context, size, size, dtype=torch.uint8)
    logits = torch.zeros(2, classes, size, size)
    export_onnx(Prepare(preprocess), {HU: hu}, ["image"], parts.prepare, {HU: slices})
    for network, path in ((split_decoder(segmenter.network), parts.logits), (segmenter.network, parts.whole)):
        export_onnx(Logits(network), {"image": image}, ["logits"], path, {"image": batch})
    restore = {"logits": logits, LIKE: hu}
    export_onnx(Restore(classes), restore, list(OUTPUTS[:2]), parts.restore, {"logits": batch, LIKE: slices})
    return parts


def join(prepare: Path | None, logits: Path, restore: Path) -> onnx.ModelProto:
    """The parts as one graph; without ``prepare`` one that takes ``image``, and ``hu`` for its shape."""
    joined = _merge(onnx.load(logits), onnx.load(restore), "logits", keep=["logits"])
    if prepare is not None:
        joined = _merge(onnx.load(prepare), joined, "image", keep=[])
        joined.graph.input.remove(next(value for value in joined.graph.input if value.name == LIKE))
    for value in joined.graph.input:
        value.name = HU if value.name == LIKE else value.name
    for node in joined.graph.node:
        node.input[:] = [HU if name == LIKE else name for name in node.input]
    outputs = {value.name: value for value in joined.graph.output}
    del joined.graph.output[:]
    joined.graph.output.extend(outputs[name] for name in OUTPUTS)
    onnx.checker.check_model(joined, full_check=True)
    return joined


def with_weights_in_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with its weights stored as 16-bit floats: half the size. It still computes in 32 bits.

    No CPU kernel of ONNX Runtime computes in 16 bits; it turns the weights into 32 bits once, when the file is loaded.
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


def save(model: onnx.ModelProto, path: Path, metadata: dict[str, Any]) -> None:
    """One file, with the weights inside."""
    helper.set_model_props(model, {METADATA: json.dumps(metadata)})
    model.doc_string = metadata["research_use_only"]
    model.producer_name, model.producer_version = "lits_seg", metadata["lits_seg"]
    onnx.save(model, path)


def export_onnx(
    module: nn.Module, inputs: dict[str, Tensor], outputs: list[str], path: Path, shapes: dict | None = None
) -> None:
    """A module as one ONNX file. ``shapes``: by input, the dimensions that may differ; None: none."""
    with _quiet():
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            path,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_shapes=shapes and tuple(shapes.values()),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter tells of its own workings."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)


def _merge(first: onnx.ModelProto, second: onnx.ModelProto, joint: str, keep: Sequence[str]) -> onnx.ModelProto:
    """``first``'s output ``joint`` becomes the input of ``second``; of ``first``'s outputs, ``keep`` stay."""
    second = compose.add_prefix(second, f"after_{joint}/", rename_inputs=False, rename_outputs=False)
    outputs = [*keep, *(value.name for value in second.graph.output)]
    return compose.merge_models(first, second, [(joint, joint)], outputs=outputs)
