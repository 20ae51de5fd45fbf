"""Cut the part of an exported ONNX graph that the page runs."""

from collections import defaultdict
from pathlib import Path

import onnx
from onnx import TensorProto, helper
from onnx.utils import Extractor

from lits_seg.common.errors import InputError
from lits_seg.inference.contract import IMAGE, LOGITS


def after_images(path: Path) -> onnx.ModelProto:
    """Return the part of an exported graph from images to ``above``, the logits above the background's.

    The browser page computes the rest: pre-processing of each slice once, though several slices need its image, and
    resizing without products with zeros.

    Args:
        path: an exported ``.onnx`` file.

    Returns:
        A graph from ``image``, ``(B, context, size, size)`` uint8, to ``above``, ``(B, K - 1, size, size)``: the logits
        minus those of the background, divided by the temperature.

    Raises:
        InputError: if the graph is not composed as ``exporters.graph`` does.
    """
    model = onnx.load(path)
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
