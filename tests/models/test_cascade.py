"""A cascade is a lesion network within the liver that another network predicts."""

import torch
from torch import Tensor, nn

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


def cascade(margin: int | None = None) -> Cascade:
    return Cascade(Channel(0), Channel(2), 3, 3, 3, margin=margin)


def test_a_pixel_is_lesion_if_both_networks_say_so() -> None:
    images = torch.randn(2, 3, 16, 16) * 5
    liver, lesion = images[:, 0] > 0, images[:, 2] > 0
    logits = cascade().eval()(images)
    assert torch.equal(logits.argmax(1), torch.where(liver & lesion, 2, liver.long()))


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
