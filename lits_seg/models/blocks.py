"""Building blocks of the two U-shaped networks: plain and depthwise separable.

Every block maps ``(B, in_channels, H, W)`` to ``(B, out_channels, H, W)``. ``in_channels`` and ``out_channels`` are
the first two arguments of every block, so that a network can be built from any of them.
"""

import torch
from torch import Tensor, nn

from lits_seg.common.errors import InputError


def channels_last(features: Tensor) -> Tensor:
    """Give a one-channel map ``(B, 1, H, W)`` channels-last strides; return any other map unchanged.

    A one-channel map has the same bytes in both memory formats, and PyTorch reports the strides of the contiguous
    format. Convolutions choose their format by these strides. Without this function, all layers up to the first
    max-pool would run in the slower contiguous format.
    """
    if features.shape[1] != 1 or torch.compiler.is_exporting():  # an exported graph has no strides
        return features
    return features.squeeze(1).unsqueeze(-1).movedim(-1, 1)


class PointwiseConv2d(nn.Conv2d):
    """A 1x1 convolution without bias.

    Dilation does not change the result of a 1x1 kernel, but changes the implementation that PyTorch chooses for
    training on a CPU in 32 bits. Without dilation, PyTorch calls MKL's matrix product. With dilation, PyTorch calls
    oneDNN's convolution, which is faster on AMD processors.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, in_channels, H, W)`` to ``(B, out_channels, H, W)``."""
        dilation = 2 if self.training and features.device.type == "cpu" else 1
        return nn.functional.conv2d(features, self.weight, dilation=dilation)


class DepthwiseSeparableConv2d(nn.Sequential):
    """A depthwise convolution followed by a 1x1 convolution that mixes the channels.

    As in Xception (Chollet, 2016; the paper's [13]), there is no bias and no activation between the two. The layer has
    ``in * k**2 + in * out`` parameters; a dense convolution has ``in * out * k**2``.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the depthwise filters in pixels.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3) -> None:
        super().__init__(
            nn.Conv2d(in_channels, in_channels, kernel_size, padding="same", groups=in_channels, bias=False),
            PointwiseConv2d(in_channels, out_channels),
        )


class SeparableConvBlock(nn.Sequential):
    """One depthwise separable convolution and a ReLU: the innermost layer of the default ``dsc_unet``.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the depthwise filters in pixels.
        dropout: probability of dropping a channel, in [0, 1].
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3, dropout: float = 0.0) -> None:
        super().__init__(
            DepthwiseSeparableConv2d(in_channels, out_channels, kernel_size),
            nn.Dropout2d(dropout, inplace=True),
            nn.ReLU(inplace=True),
        )


class SeparableResidualBlock(nn.Module):
    """Batch norm, two depthwise separable convolutions, and a shortcut around both (paper, V.A and V.B).

    The first convolution changes the number of channels; the second keeps it.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the depthwise filters in pixels.
        dropout: probability of dropping a channel between the convolutions, in [0, 1]. Whole channels are dropped,
            because neighbouring pixels are so correlated that dropping single pixels hardly regularises (Tompson et
            al., 2015).
        shortcut: the shortcut if the number of channels changes. ``"conv"`` is a 1x1 convolution (the paper's
            "bottleneck layer"). ``"pad"`` pads with zero channels and has no parameters (He et al., 2015, option A).

    Attributes:
        channels_last: see ``AnySize``.

    Raises:
        InputError: if ``shortcut`` is neither ``"conv"`` nor ``"pad"``.
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
            # Dropout and ReLU commute. In this order both work in place: no backward pass needs the input of dropout.
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
        """Map ``(B, in_channels, H, W)`` to ``(B, out_channels, H, W)``."""
        features = self.norm(features)
        features = channels_last(features) if self.channels_last else features
        return self.activation(self.convolutions(features).add_(self.shortcut(features)))


class MatchChannels(nn.Module):
    """A layer without parameters that drops the last channels or appends zero channels.

    Args:
        channels: channels of the output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, channels, H, W)``."""
        return nn.functional.pad(features, (0, 0, 0, 0, 0, self.channels - features.shape[1]))


class ConvBlock(nn.Sequential):
    """Two convolutions, each followed by a ReLU: a level of the original UNet (Ronneberger et al., 2015).

    The baseline with 31.03 M parameters has neither ``batch_norm`` nor ``dropout``.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the kernels in pixels.
        dropout: probability of dropping a channel between the convolutions, in [0, 1].
        batch_norm: add batch norm after each convolution, which then has no bias.
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
