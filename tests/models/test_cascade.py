"""A cascade is a lesion network within the liver that another network predicts."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lits_seg.common.errors import InputError
from lits_seg.exporters.onnx import export_onnx
from lits_seg.models import Cascade


class Channel(nn.Module):
    """The values of one channel of the images as the score of the last class."""

    def __init__(self, channel: int) -> None:
        super().__init__()
        self.channel, self.norm = channel, nn.BatchNorm2d(1)
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images)
        score = images[:, self.channel]
        return torch.stack([torch.zeros_like(score), score], 1)


def cascade(margin: int | None = None, enlarge: bool = False) -> Cascade:
    return Cascade(Channel(0), Channel(2), 3, 3, 3, margin=margin, enlarge=enlarge)


def test_a_pixel_is_lesion_if_both_networks_say_so() -> None:
    images = torch.randn(2, 3, 16, 16) * 5
    liver, lesion = images[:, 0] > 0, images[:, 2] > 0
    logits = cascade().eval()(images)
    assert torch.equal(logits.argmax(1), torch.where(liver & lesion, 2, liver.long()))


def test_stages_in_16_bits_lose_no_lesion() -> None:
    network = cascade().eval()
    for stage in (network.liver, network.lesion):
        stage.register_forward_hook(lambda _, __, logits: logits.bfloat16())
    images = torch.tensor([20.0, 0.0, 0.05]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    assert (network(images).argmax(1) == 2).all()


def test_the_stages_take_the_middle_slices() -> None:
    network = Cascade(Channel(0), Channel(0), 1, 3, 3).eval()
    network(torch.randn(1, 3, 8, 8))
    assert [stage.seen[0].shape[1] for stage in (network.liver, network.lesion)] == [1, 3]


def test_the_lesion_network_alone_is_trained() -> None:
    network = cascade(margin=0).train()
    assert [stage.training for stage in (network.liver, network.lesion)] == [False, True]
    assert network(torch.randn(1, 3, 8, 8)).shape[1] == network.trained_classes == 2
    assert {name.split(".")[0] for name, weight in network.named_parameters() if weight.requires_grad} == {"lesion"}


def test_the_box_of_the_predicted_liver() -> None:
    images = torch.ones(2, 3, 16, 16)
    images[:, 0] = -1
    images[0, 0, 4, 7] = images[0, 0, 9, 10] = 1  # the second image has no liver
    network = cascade(margin=2)
    for mode in (True, False):
        network.train(mode)(images)
        seen = network.lesion.seen.pop()
        expected = torch.zeros(16, 16)
        expected[2:12, 5:13] = 1
        assert torch.equal(seen[0, 1], expected)
        assert not seen[1, 1:].any()


def test_the_box_is_enlarged_to_the_image_and_back() -> None:
    images = torch.randn(3, 3, 32, 48)
    images[:, 0] = -1
    images[0, 0, 8:24, 12:36] = images[1, 0, 3, 3] = 1  # half of the image; one pixel; the third image has no liver
    network = cascade(margin=0, enlarge=True).eval()
    logits = network(images)
    seen = network.lesion.seen.pop()
    box = images[:1, 1:, 8:24, 12:36]
    # Interpolation beyond the outermost middles of pixels differs: to 0 here.
    inner = functional.interpolate(box, (32, 48), mode="bilinear")[..., 1:-1, 1:-1]
    torch.testing.assert_close(seen[:1, 1:, 1:-1, 1:-1], inner)
    assert seen[1].any()  # a box of one pixel is widened
    assert not seen[2, 1:].any()
    assert logits.shape == (3, 3, 32, 48)
    assert torch.equal(logits.argmax(1) > 0, images[:, 0] > 0)
    ramp = images.clone()
    ramp[:, 2] = torch.linspace(-1, 1, 48)
    found = network(ramp).argmax(1)[0, 9:23, 13:35]
    assert torch.equal(found == 2, (ramp[0, 2] > 0)[9:23, 13:35])


@pytest.mark.slow  # the export takes seconds
def test_engines_enlarge_the_same_box(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    network = Cascade(nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 9, padding=4), 1, 1, 1, margin=1, enlarge=True).eval()
    image = torch.zeros(1, 1, 40, 40)
    image[..., 10:25, 8:30] = torch.rand(15, 22)
    with torch.no_grad():
        network.liver.weight.copy_(torch.tensor([0.0, 1.0])[:, None, None, None])
        network.liver.bias.copy_(torch.tensor([0.0, -0.1]))
        expected = network(image).numpy()
    export_onnx(network, {"image": image}, ["logits"], tmp_path / "network.onnx")
    inputs = {"image": image.numpy()}
    (found,) = onnxruntime.InferenceSession(tmp_path / "network.onnx").run(None, inputs)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    openvino = pytest.importorskip("openvino")
    compiled = openvino.compile_model(tmp_path / "network.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    np.testing.assert_allclose(compiled([image.numpy()])[0], expected, atol=1e-4)


def test_a_box_that_is_enlarged_needs_a_margin() -> None:
    with pytest.raises(InputError, match="liver_enlarge: expected liver_margin as well"):
        cascade(enlarge=True)
