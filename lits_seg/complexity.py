"""What a network costs: parameters, and multiply-accumulates of one slice."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(network: nn.Module) -> int:
    """Learnable numbers of a network."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def count_macs(network: nn.Module, channels: int = 1, size: int = 256) -> int:
    """Multiply-accumulates of the convolutions for one image ``(1, channels, size, size)``."""
    counter = FlopCounterMode(display=False)
    image = torch.zeros(1, channels, size, size, device=next(network.parameters()).device)
    was_training = network.training
    with torch.no_grad(), counter:
        network.eval()(image)
    network.train(was_training)
    # PyTorch counts a multiplication and an addition as two.
    return counter.get_total_flops() // 2
