"""The separable blocks against their plain definitions: outputs, gradients, dropped channels."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lits_seg.models.blocks import SeparableConvBlock, SeparableResidualBlock, channels_last


def residual(block: SeparableResidualBlock, features: Tensor) -> Tensor:
    first, _, _, second = block.convolutions
    dropout = next(module.p for module in block.convolutions if isinstance(module, nn.Dropout2d))
    features = block.norm(features)
    inside = functional.dropout2d(torch.relu(first(features)), dropout)
    return torch.relu(second(inside) + block.shortcut(features))


def separable(block: SeparableConvBlock, features: Tensor) -> Tensor:
    dropout = next(module.p for module in block if isinstance(module, nn.Dropout2d))
    return functional.dropout2d(torch.relu(block[0](features)), dropout)


@pytest.mark.parametrize("channels", [1, 3, 8])
@pytest.mark.parametrize("shortcut", ["conv", "pad"])
def test_residual_block(channels: int, shortcut: str) -> None:
    block = SeparableResidualBlock(channels, 8, dropout=0.4, shortcut=shortcut).double()
    assert_same(block, residual, channels)


def test_separable_block() -> None:
    assert_same(SeparableConvBlock(4, 8, dropout=0.4).double(), separable, 4)


def assert_same(block: nn.Module, plain, channels: int) -> None:
    block.to(memory_format=torch.channels_last)
    results = []
    for function in (lambda images: block(images), lambda images: plain(block, images)):
        torch.manual_seed(1)
        images = torch.rand(3, channels, 6, 5, dtype=torch.double).requires_grad_()
        torch.manual_seed(2)
        output = function(images)
        leaves = (images, *block.parameters())
        results.append((output, *torch.autograd.grad(output.sin().sum(), leaves)))
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected)


def test_one_channel_keeps_its_values() -> None:
    images = torch.rand(2, 1, 3, 4)
    assert torch.equal(channels_last(images), images)
    assert channels_last(images).stride() == (12, 1, 4, 1)
