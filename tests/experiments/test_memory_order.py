"""PyTorch's own memory order, as experiments compare it with channels-last."""

from copy import deepcopy

import pytest
import torch
from helpers.experiments import NARROW
from torch import nn

from experiments.shared.checkpoints import untrained
from experiments.shared.networks import contiguous


@pytest.mark.parametrize("model", ["dsc_unet", "unet"])
def test_all_convolutions_run_contiguous_and_give_the_same(model: str) -> None:
    network = untrained([f"model={model}", *NARROW]).network.eval()
    plain, orders = contiguous(deepcopy(network)), set()
    for module in plain.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda module, images, output: orders.add(output.stride(3)))
    images = torch.rand(2, 1, 48, 48)
    torch.testing.assert_close(plain(images), network(images), rtol=1e-4, atol=1e-4)
    assert orders == {1}
