"""Export the graph as ONNX in three parts, so that the network can be quantized separately, and join the parts."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import compose
from torch import Tensor, nn
from torch.export import Dim

from lits_seg.exporters.graph import Logits, Prepare, Restore
from lits_seg.inference.contract import HU, IMAGE, LABELS, LOGITS, OUTPUTS, PIXEL, PROBABILITY
from lits_seg.models import for_inference
from lits_seg.training.module import LesionModule

OPSET = 18
BATCH = Dim("batch", max=1024)
LIKE = "like"  # the slices as input of `restore`; graphs to join must not have inputs of the same name
LIKE_PIXEL = "like_pixel_mm"
JOINED = {LIKE: HU, LIKE_PIXEL: PIXEL}


@dataclass(frozen=True)
class Parts:
    """Three ONNX files: from HU to images, from images to logits (the network), from logits to labels."""

    prepare: Path
    logits: Path
    restore: Path


def export_parts(module: LesionModule, folder: Path) -> Parts:
    """Write the three parts of the graph of a trained network.

    Args:
        module: the trained network, in eval mode, on the CPU.
        folder: folder to write into.
    """
    preprocess, context = module.preprocess, module.context
    parts = Parts(*(folder / f"{name}.onnx" for name in ("prepare", "logits", "restore")))
    slices: dict[int, Any] = {0: BATCH, 2: Dim("height", min=16, max=4096), 3: Dim("width", min=16, max=4096)}
    # All sizes differ, so that the exporter cannot confuse them.
    hu = torch.zeros(2, context, 48, 40)
    # The pixel size is an input only if pre-processing resamples to a spacing.
    resampled = preprocess.spacing is not None
    mm, like_mm = ({name: torch.ones(2, 2)} if resampled else {} for name in (PIXEL, LIKE_PIXEL))
    sizes = {name: {0: BATCH} for name in mm}
    # A pixel size belongs to one slice of the output, not to one of a run.
    runs = context > 1 and not resampled
    if runs:
        slices[1] = Dim("channels", min=1, max=context)
    prepare = Prepare(preprocess, context if runs else 1)
    export_onnx(prepare, {HU: hu, **mm}, [IMAGE], parts.prepare, {HU: slices, **sizes})
    export_network(for_inference(module.network), context, preprocess.size, parts.logits)
    restore = {LOGITS: torch.zeros(2, module.classes, preprocess.size, preprocess.size), LIKE: hu, **like_mm}
    outputs = [LABELS, PROBABILITY]
    shapes = {LOGITS: {0: BATCH}, LIKE: slices, **sizes}
    layer = Restore(module.classes, preprocess, module.temperature, module.targets.foreground)
    export_onnx(layer, restore, outputs, parts.restore, shapes)
    return parts


def export_network(network: nn.Module, context: int, size: int, path: Path) -> None:
    """Write a network, from images to logits, as ONNX.

    Args:
        network: the network, in eval mode, on the CPU.
        context: channels of the images.
        size: side of the images in pixels.
        path: the file to write.
    """
    image = torch.zeros(2, context, size, size, dtype=torch.uint8)
    export_onnx(Logits(network), {IMAGE: image}, [LOGITS], path, {IMAGE: {0: BATCH}})


def join(prepare: Path | None, logits: Path, restore: Path) -> onnx.ModelProto:
    """Join the parts to a single graph.

    Args:
        prepare: file of the pre-processing; None: the inputs of the graph are ``image``, and ``hu`` for its shape,
            besides ``pixel_mm`` if pre-processing resamples to a spacing.
        logits: file of the network.
        restore: file of the conversion to labels and probability.
    """
    joined = _merge(onnx.load(logits), onnx.load(restore), LOGITS, keep=[LOGITS])
    if prepare is not None:
        joined = _merge(onnx.load(prepare), joined, IMAGE, keep=[])
        for value in [value for value in joined.graph.input if value.name in JOINED]:
            joined.graph.input.remove(value)
    for value in joined.graph.input:
        value.name = JOINED.get(value.name, value.name)
    for node in joined.graph.node:
        node.input[:] = [JOINED.get(name, name) for name in node.input]
    outputs = {value.name: value for value in joined.graph.output}
    del joined.graph.output[:]
    joined.graph.output.extend(outputs[name] for name in OUTPUTS)
    onnx.checker.check_model(joined, full_check=True)
    return joined


def export_onnx(
    module: nn.Module, inputs: dict[str, Tensor], outputs: list[str], path: Path, shapes: dict | None = None
) -> None:
    """Export a module to a single ONNX file.

    Args:
        module: the module.
        inputs: an example of each input, by name.
        outputs: names of the outputs.
        path: the file to write.
        shapes: variable dimensions of each input; None: all shapes are fixed.
    """
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
    """Silence the messages of PyTorch's exporter."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)


def _merge(first: onnx.ModelProto, second: onnx.ModelProto, joint: str, keep: Sequence[str]) -> onnx.ModelProto:
    """Connect the output ``joint`` of ``first`` to the input ``joint`` of ``second``.

    Args:
        first: graph that computes ``joint``.
        second: graph that uses ``joint``.
        joint: name of the connected output and input.
        keep: outputs of ``first`` to keep as outputs of the result.
    """
    second = compose.add_prefix(second, f"after_{joint}/", rename_inputs=False, rename_outputs=False)
    outputs = [*keep, *(value.name for value in second.graph.output)]
    return compose.merge_models(first, second, [(joint, joint)], outputs=outputs)
