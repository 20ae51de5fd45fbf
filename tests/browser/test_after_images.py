"""The part of an exported graph that the browser page runs."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from lits_seg.browser.after_images import after_images
from lits_seg.common.errors import InputError
from lits_seg.inference.exported import ExportedModel
from lits_seg.packaged.card import FOLDER, ONNX


def test_the_part_after_the_images_gives_the_graphs_logits() -> None:
    exported, hu = ExportedModel(FOLDER / ONNX, threads=1), np.full((1, 5, 256, 256), -100, np.float32)
    hu[:, :, 60:180, 50:200] = np.random.default_rng(0).integers(0, 200, (120, 150))
    _, logits = exported.logits(hu)
    part = after_images(FOLDER / ONNX)
    image = np.floor((hu + 100) * (255 / 300) + 0.5 + 2**-10).astype(np.uint8)
    (above,) = onnxruntime.InferenceSession(part.SerializeToString()).run(None, {"image": image})
    ratio = (logits[:, 1:] - logits[:, :1]) / above
    np.testing.assert_allclose(ratio, np.median(ratio), rtol=1e-3)  # the temperature


@pytest.mark.hostile
def test_a_graph_of_another_kind_is_refused(tmp_path: Path) -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("image", "logits")]
    graph = helper.make_graph([helper.make_node("Abs", ["image"], ["logits"])], "g", values[:1], values[1:])
    onnx.save(helper.make_model(graph), tmp_path / "net.onnx")
    with pytest.raises(InputError, match=r"net\.onnx: expected a graph with image and logits"):
        after_images(tmp_path / "net.onnx")
