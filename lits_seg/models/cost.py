"""What a network costs: parameters, multiply-accumulates and time of one slice."""

import os
import platform
from copy import deepcopy
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lits_seg.common.timing import fastest


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


def measure_latency(network: nn.Module, device: str, channels: int = 1, size: int = 256, passes: int = 10) -> float:
    """Return the milliseconds for one image in 32 bits.

    Args:
        network: is copied, and not changed.
        device: ``cpu`` or ``cuda``.
        channels: of the image ``(1, channels, size, size)``.
        size: side of the image in pixels.
        passes: the fastest counts, since other work on the machine can only make a pass slower.
    """
    copy = deepcopy(network).to(device).eval()
    image = torch.zeros(1, channels, size, size, device=device).contiguous(memory_format=torch.channels_last)
    return 1000 * fastest(partial(_infer, copy, image), passes)


def processor() -> str:
    """The processor's name (Linux), or its architecture, and its cores."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = f"{platform.machine()}, {names[0]}" if names else platform.machine()
    return f"{name}, {os.cpu_count()} cores"


@torch.inference_mode()
def _infer(network: nn.Module, image: torch.Tensor) -> None:
    network(image)
    if image.is_cuda:
        torch.cuda.synchronize()
