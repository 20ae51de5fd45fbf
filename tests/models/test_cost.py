"""What networks cost: against counts by hand and the paper's figures."""

import pytest
import torch
from helpers.networks import model_config
from hydra.utils import instantiate
from torch import Tensor, nn

from lits_seg.models.cost import count_macs, count_parameters, measure_latency


def test_parameters_of_the_paper_and_of_the_baseline() -> None:
    ours, unet = instantiate(model_config()), instantiate(model_config("model=unet", "decoder=deconv"))
    assert count_parameters(ours) == 2_246_365
    assert count_parameters(ours) <= 2_248_598
    assert count_parameters(unet) == 31_030_658
    assert count_parameters(unet) / count_parameters(ours) >= 13.8
    assert count_macs(ours) / 1e9 == pytest.approx(4.68, abs=0.01)
    assert count_macs(unet) / 1e9 == pytest.approx(48.10, abs=0.01)


def test_macs_by_hand() -> None:
    layer = nn.Conv2d(1, 5, 3, padding=1)
    assert count_macs(layer, size=8) == 8 * 8 * 5 * 9
    assert layer.training


def test_frozen_parameters_are_not_counted() -> None:
    layer = nn.Conv2d(2, 5, 3)
    layer.weight.requires_grad_(False)
    assert count_parameters(layer) == 5


class Watched(nn.Module):
    """Notes what each forward pass was given, on a list that copies share."""

    def __init__(self, seen: list[tuple]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.seen = seen

    def __deepcopy__(self, memo: dict) -> "Watched":
        return Watched(self.seen)

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append((tuple(images.shape), self.training, torch.is_grad_enabled()))
        return images * self.weight


def test_latency_is_of_one_image_in_evaluation() -> None:
    network = Watched([])
    assert measure_latency(network, "cpu", channels=3, size=16, passes=2) > 0
    assert set(network.seen) == {((1, 3, 16, 16), False, False)}
    assert len(network.seen) == 3  # the first pass does not count
    assert network.training
