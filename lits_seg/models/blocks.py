"""Building blocks of the two U-shaped networks: plain and depthwise separable.

Every block maps ``(B, in_channels, H, W)`` to ``(B, out_channels, H, W)``; ``in_channels`` and
``out_channels`` are the first two arguments, so that a network can take any of them.
"""

from copy import deepcopy

import torch
from torch import Tensor, nn

from lits_seg.common.errors import InputError


def channels_last(features: Tensor) -> Tensor:
    """A map of one channel, ``(B, 1, H, W)``, with the strides of the channels-last order; others as they are.

    Its bytes are the same in either order, and PyTorch gives it the strides of the other. Convolutions go by the
    strides: without this, they and all after them would run in the slower order, up to the first max-pool.
    """
    if features.shape[1] != 1 or torch.compiler.is_exporting():  # an exported graph has no strides
        return features
    return features.squeeze(1).unsqueeze(-1).movedim(-1, 1)


class PointwiseConv2d(nn.Conv2d):
    """A 1x1 convolution without bias.

    Its one weight is where it is at any dilation. But training on a CPU in 32 bits, PyTorch computes those without
    dilation as products of matrices by MKL, the others by oneDNN's convolution, which is faster on AMD processors.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, in_channels, H, W) -> (B, out_channels, H, W)``."""
        dilation = 2 if self.training and features.device.type == "cpu" else 1
        return nn.functional.conv2d(features, self.weight, dilation=dilation)


class DepthwiseSeparableConv2d(nn.Sequential):
    """A ``kernel_size`` x ``kernel_size`` filter per channel, then a 1x1 convolution that mixes channels.

    No activation between the two and no bias, as in Xception (Chollet, 2016; the paper's [13]).
    ``in * k**2 + in * out`` parameters instead of ``in * out * k**2``.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3) -> None:
        super().__init__(
            nn.Conv2d(in_channels, in_channels, kernel_size, padding="same", groups=in_channels, bias=False),
            PointwiseConv2d(in_channels, out_channels),
        )


class SeparableConvBlock(nn.Sequential):
    """One depthwise separable convolution and a ReLU: the innermost layer of the default ``dsc_unet``."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3, dropout: float = 0.0) -> None:
        super().__init__(
            DepthwiseSeparableConv2d(in_channels, out_channels, kernel_size),
            nn.Dropout2d(dropout, inplace=True),
            nn.ReLU(inplace=True),
        )


class SeparableResidualBlock(nn.Module):
    """Batch norm, two depthwise separable convolutions, and a shortcut around both (paper, V.A and V.B).

    The first convolution changes the depth, the second keeps it. Where the depth changes, the shortcut is
    ``shortcut="conv"``: a 1x1 convolution (the paper's "bottleneck layer"), or ``"pad"``: the channels
    that are there, zeros for the rest (no parameters; He et al., 2015, option A).

    ``dropout`` drops whole channels between the convolutions: neighbours in a feature map are so
    correlated that dropping single pixels hardly regularises (Tompson et al., 2015).

    ``channels_last``: see ``UShape``.
    """

    channels_last = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        dropout: float = 0.0,
        shortcut: str = "conv",
    ) -> None:
        super().__init__()
        if shortcut not in ("conv", "pad"):
            raise InputError("model.shortcut", "conv or pad", shortcut)
        self.norm = nn.BatchNorm2d(in_channels)
        self.convolutions = nn.Sequential(
            DepthwiseSeparableConv2d(in_channels, out_channels, kernel_size),
            # Dropout first gives what the ReLU first would, but needs no copy: no backward pass wants its input.
            nn.Dropout2d(dropout, inplace=True),
            nn.ReLU(inplace=True),
            DepthwiseSeparableConv2d(out_channels, out_channels, kernel_size),
        )
        self.shortcut: nn.Module
        if in_channels == out_channels:
            self.shortcut = nn.Identity()
        elif shortcut == "conv":
            self.shortcut = PointwiseConv2d(in_channels, out_channels)
        else:
            self.shortcut = MatchChannels(out_channels)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, in_channels, H, W) -> (B, out_channels, H, W)``."""
        features = self.norm(features)
        features = channels_last(features) if self.channels_last else features
        return self.activation(self.convolutions(features).add_(self.shortcut(features)))


class SplitResidualBlock(nn.Module):
    """A trained ``SeparableResidualBlock`` of two maps that it takes as they are, not concatenated; inference only.

    The same function: batch norm and depthwise convolution go channel by channel, and a 1x1 convolution of
    concatenated maps is the sum of one for each. Saves what copies the maps: engines that fuse convolution and sum
    write nothing more.

    Args:
        block: with a ``conv`` shortcut.
        channels: those of the first map.
    """

    def __init__(self, block: SeparableResidualBlock, channels: int) -> None:
        super().__init__()
        parts = slice(channels), slice(channels, None)
        first, *rest = deepcopy(block.convolutions)
        assert isinstance(first, DepthwiseSeparableConv2d)
        self.norms = nn.ModuleList(_inputs_of(block.norm, part) for part in parts)
        self.convolutions = nn.ModuleList(
            nn.Sequential(*(_inputs_of(convolution, part) for convolution in first)) for part in parts
        )
        self.rest = nn.Sequential(*rest)
        self.shortcuts = nn.ModuleList(_inputs_of(block.shortcut, part) for part in parts)
        self.eval()

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """``(B, channels, H, W)`` and ``(B, in_channels - channels, H, W)`` to ``(B, out_channels, H, W)``."""
        maps = [norm(features) for norm, features in zip(self.norms, (first, second), strict=True)]
        inner = [convolution(features) for convolution, features in zip(self.convolutions, maps, strict=True)]
        shortcuts = [shortcut(features) for shortcut, features in zip(self.shortcuts, maps, strict=True)]
        return torch.relu(self.rest(inner[0] + inner[1]) + shortcuts[0] + shortcuts[1])


def _inputs_of(layer: nn.Module, channels: slice) -> nn.Module:
    """A batch norm, depthwise or 1x1 convolution for these of its input channels."""
    if isinstance(layer, nn.BatchNorm2d):
        state = {name: value[channels] if value.dim() else value for name, value in layer.state_dict().items()}
        norm = nn.BatchNorm2d(len(state["weight"]), layer.eps)
        norm.load_state_dict(state)
        return norm
    convolution = deepcopy(layer)
    assert isinstance(convolution, nn.Conv2d)
    depthwise = convolution.groups > 1
    weight = convolution.weight.detach()[channels if depthwise else (slice(None), channels)].clone()
    convolution.weight = nn.Parameter(weight)
    convolution.in_channels = weight.shape[0 if depthwise else 1]
    convolution.groups = len(weight) if depthwise else 1
    return convolution


class MatchChannels(nn.Module):
    """Cuts channels off or appends zero channels, without parameters: ``(B, C, H, W) -> (B, channels, H, W)``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, features: Tensor) -> Tensor:
        """``(B, C, H, W) -> (B, channels, H, W)``."""
        return nn.functional.pad(features, (0, 0, 0, 0, 0, self.channels - features.shape[1]))


class ConvBlock(nn.Sequential):
    """Two biased 3x3 convolutions, each with a ReLU: a level of the original UNet (Ronneberger et al., 2015).

    ``batch_norm`` and ``dropout`` are off in the baseline that is counted at 31.03 M parameters.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        dropout: float = 0.0,
        batch_norm: bool = False,
    ) -> None:
        layers: list[nn.Module] = []
        for channels in (in_channels, out_channels):
            layers.append(nn.Conv2d(channels, out_channels, kernel_size, padding="same", bias=not batch_norm))
            if batch_norm:
                layers.append(nn.BatchNorm2d(out_channels))
            layers.append(nn.ReLU(inplace=True))
        if dropout:
            layers.insert(len(layers) // 2, nn.Dropout2d(dropout))
        super().__init__(*layers)
