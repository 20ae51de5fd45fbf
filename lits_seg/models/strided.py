"""A light UNet of dense 3x3 convolutions that halves by stride and decodes at half resolution."""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lits_seg.common.errors import InputError


class ConvNormReLU(nn.Module):
    """A 3x3 convolution, batch norm and a ReLU, with the input added before the ReLU if ``skip``.

    The identity of the skip folds exactly into the middle of the kernel at export: unlike a residual block of two
    convolutions, it costs nothing where the network is used.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, skip: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(out_channels)
        self.skip = skip

    def forward(self, features: Tensor) -> Tensor:
        """``(B, in_channels, H, W) -> (B, out_channels, H / stride, W / stride)``."""
        mapped = self.norm(self.conv(features))
        return functional.relu(mapped + features if self.skip else mapped)

    def fold(self) -> None:
        """Fold batch norm and skip into the convolution, in place: the same function in eval mode, one layer."""
        assert isinstance(self.norm, nn.BatchNorm2d)
        conv = fuse_conv_bn_eval(self.conv.eval(), self.norm.eval())
        if self.skip:
            with torch.no_grad():
                channels = torch.arange(conv.out_channels)
                conv.weight[channels, channels, 1, 1] += 1
        self.conv, self.norm, self.skip = conv, nn.Identity(), False


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut around both (He et al., 2015).

    With ``stride`` 2 the shortcut is an average pool and a 1x1 convolution (ResNet-D; He et al., 2018).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.first = ConvNormReLU(in_channels, out_channels, stride)
        self.conv = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride),
                nn.Conv2d(in_channels, out_channels, 1, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, features: Tensor) -> Tensor:
        """``(B, in_channels, H, W) -> (B, out_channels, H / stride, W / stride)``."""
        return functional.relu(self.norm(self.conv(self.first(features))) + self.shortcut(features))


class StridedUNet(nn.Module):
    """An encoder that halves by stride, a decoder of one convolution a level, logits by a pixel shuffle.

    No layer works at the image's own resolution: the first convolution halves it, and the last 1x1 convolution gives
    four logits a class, which a pixel shuffle spreads over 2 x 2 pixels (Shi et al., 2016). Only dense 3x3
    convolutions of few channels, which processors run at their full rate.

    ``forward``: images ``(B, in_channels, H, W)`` to logits ``(B, out_channels, H, W)``, any H and W: the image is
    padded by its edge to a multiple of ``2 ** levels`` inside, and the logits are cropped.

    Args:
        in_channels: channels of the images (1, 3, 5: neighbouring CT slices).
        out_channels: classes (2: lesion or not; 3: background, liver, lesion).
        widths: depth of each encoder level, outermost first; each level is half as large as the one before.
        blocks: layers of each level; with ``residual``, residual blocks behind the first level's convolution.
        decoder_widths: depth of each decoder level, deepest first: one fewer than encoder levels.
        residual: residual blocks of two convolutions instead of single convolutions with a skip that folds.

    Raises ``InputError`` for lists of other lengths.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 2,
        widths: Sequence[int] = (16, 32, 64, 128, 192),
        blocks: Sequence[int] = (2, 2, 3, 3, 2),
        decoder_widths: Sequence[int] = (96, 48, 32, 16),
        residual: bool = False,
    ) -> None:
        super().__init__()
        if len(blocks) != len(widths):
            raise InputError("model.blocks", f"{len(widths)} numbers of blocks", list(blocks))
        if len(decoder_widths) != len(widths) - 1:
            raise InputError("model.decoder_widths", f"{len(widths) - 1} depths", list(decoder_widths))
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        channels = in_channels
        for number, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            halving = ResidualBlock if residual and number else ConvNormReLU
            layers: list[nn.Module] = [halving(channels, width, stride=2)]
            for _ in range(count - 1):
                layers.append(ResidualBlock(width, width) if residual else ConvNormReLU(width, width, skip=True))
            self.encoder.append(nn.Sequential(*layers))
            channels = width
        for width, skip in zip(decoder_widths, reversed(widths[:-1]), strict=True):
            self.decoder.append(ConvNormReLU(channels + skip, width))
            channels = width
        self.logits = nn.Sequential(nn.Conv2d(channels, 4 * out_channels, 1), nn.PixelShuffle(2))

    def forward(self, images: Tensor) -> Tensor:
        """``(B, in_channels, H, W) -> (B, out_channels, H, W)``, not normalised."""
        height, width = images.shape[-2:]
        stride = 2 ** len(self.encoder)
        features = functional.pad(images, (0, -width % stride, 0, -height % stride), mode="replicate")
        skips: list[Tensor] = []
        for level in self.encoder:
            features = level(features)
            skips.append(features)
        skips.pop()
        for level in self.decoder:
            larger = functional.interpolate(features, scale_factor=2.0, mode="nearest")
            features = level(torch.cat([skips.pop(), larger], dim=1))
        return self.logits(features)[..., :height, :width]

    def for_inference(self) -> "StridedUNet":
        """Return a copy in eval mode whose batch norms and skips are folded into its convolutions."""
        network = deepcopy(self).eval()
        for module in network.modules():
            if isinstance(module, ConvNormReLU):
                module.fold()
        return network
