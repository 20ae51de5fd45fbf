"""Rewrite trained networks for inference: the same function with fewer operations."""

from copy import deepcopy
from typing import cast

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def for_inference(network: nn.Module, int8: bool = False) -> nn.Module:
    """Return a copy of a trained network for inference, which computes the same function except for rounding.

    Networks of this package rewrite themselves by a method of this name: they fold batch norms and skips into the
    convolutions, or take two maps without concatenating them. Any other network is copied unchanged.

    Args:
        network: the trained network.
        int8: make a copy to be quantized to 8 bits: maps stay concatenated, since the sum of two 8-bit convolutions
            would lose too much accuracy.

    Returns:
        The copy, in eval mode.
    """
    copy = deepcopy(network).eval()
    return cast(nn.Module, copy.for_inference(int8)) if hasattr(copy, "for_inference") else copy  # type: ignore[operator]


def fold_norms(layers: nn.Sequential) -> None:
    """Fold each batch norm that follows a convolution in eval mode into this convolution, in place."""
    for number in range(len(layers) - 1, 0, -1):
        convolution, norm = layers[number - 1], layers[number]
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            layers[number - 1] = fuse_conv_bn_eval(convolution, norm)
            del layers[number]
