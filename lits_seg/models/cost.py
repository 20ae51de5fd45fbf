"""Measure the cost of a network: parameters, multiply-accumulates, and time for one slice."""

import os
import platform
from copy import deepcopy
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lits_seg.common.timing import fastest
from lits_seg.models.cascade import Cascade


def count_parameters(network: nn.Module) -> int:
    """Return the number of learned parameters of a network, with those of the fixed liver network of a cascade."""
    fixed = {p for part in network.modules() if isinstance(part, Cascade) for p in part.liver.parameters()}
    return sum(p.numel() for p in network.parameters() if p.requires_grad or p in fixed)


def count_macs(network: nn.Module, channels: int = 1, size: int = 256) -> int:
    """Count the multiply-accumulates of the convolutions for one image.

    Args:
        network: any network; its mode and weights stay unchanged.
        channels: channels of the image ``(1, channels, size, size)``.
        size: side of the image in pixels.
    """
    counter = FlopCounterMode(display=False)
    image = torch.zeros(1, channels, size, size, device=next(network.parameters()).device)
    was_training = network.training
    with torch.no_grad(), counter:
        network.eval()(image)
    network.train(was_training)
    # PyTorch counts a multiply-accumulate as two operations.
    return counter.get_total_flops() // 2


def measure_latency(network: nn.Module, device: str, channels: int = 1, size: int = 256, passes: int = 10) -> float:
    """Return the time for one image in milliseconds, in 32 bits.

    Args:
        network: the network; a copy is measured.
        device: ``cpu`` or ``cuda``.
        channels: channels of the image ``(1, channels, size, size)``.
        size: side of the image in pixels.
        passes: number of timed passes. The fastest counts, since other work on the machine can only slow a pass down.
    """
    copy = deepcopy(network).to(device).eval()
    image = torch.zeros(1, channels, size, size, device=device).contiguous(memory_format=torch.channels_last)
    return 1000 * fastest(partial(_infer, copy, image), passes)


def processor() -> str:
    """Return the processor's architecture, its name (only on Linux), and its number of cores."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = f"{platform.machine()}, {names[0]}" if names else platform.machine()
    return f"{name}, {os.cpu_count()} cores"


@torch.inference_mode()
def _infer(network: nn.Module, image: torch.Tensor) -> None:
    network(image)
    if image.is_cuda:
        torch.cuda.synchronize()
