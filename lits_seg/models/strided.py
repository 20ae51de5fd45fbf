"""A light UNet of dense 3x3 convolutions that downsamples by stride and decodes at half resolution."""

from collections.abc import Sequence
from typing import Annotated, Self, cast

import torch
from annotated_types import Ge, Le, Len
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lits_seg.common.errors import InputError
from lits_seg.common.settings import Width, Widths
from lits_seg.models.any_size import AnySize
from lits_seg.models.folding import fold_norms
from lits_seg.models.upsample import dense_gradient


class ConvNormReLU(nn.Module):
    """A 3x3 convolution, batch norm and a ReLU.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: stride of the convolution.
        skip: add the input before the ReLU. The export folds this identity exactly into the middle of the kernel.
            Unlike the shortcut of a residual block, the skip therefore costs nothing at inference.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, skip: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(out_channels)
        self.skip = skip

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, in_channels, H, W)`` to ``(B, out_channels, H / stride, W / stride)``."""
        mapped = self.norm(self.conv(features))
        # No backward pass needs the output of the norm, so that sum and ReLU may replace the output in place.
        return (mapped.add_(features) if self.skip else mapped).relu_()

    def fold(self) -> None:
        """Fold batch norm and skip into the convolution, in place; the function in eval mode stays the same."""
        assert isinstance(self.norm, nn.BatchNorm2d)
        conv = fuse_conv_bn_eval(self.conv, self.norm)
        if self.skip:
            with torch.no_grad():
                channels = torch.arange(conv.out_channels)
                conv.weight[channels, channels, 1, 1] += 1
        self.conv, self.norm, self.skip = conv, nn.Identity(), False


class DecoderConv(ConvNormReLU):
    """The convolution of a decoder level: of the encoder's map, and of the deeper level's map at twice its size.

    Args:
        skip_channels: channels of the encoder's map.
        in_channels: channels of the deeper level's map.
        out_channels: channels of the output.
    """

    def __init__(self, skip_channels: int, in_channels: int, out_channels: int) -> None:
        super().__init__(skip_channels + in_channels, out_channels)
        self.skip_channels = skip_channels
        self.upsampled: nn.ConvTranspose2d | None = None

    def forward(self, skip: Tensor, features: Tensor) -> Tensor:  # type: ignore[override]  # two maps
        """Map ``(B, skip_channels, 2H, 2W)`` and ``(B, in_channels, H, W)`` to ``(B, out_channels, 2H, 2W)``."""
        if self.upsampled is not None:
            return self.conv(skip).add_(self.upsampled(features)).relu_()
        larger = dense_gradient(functional.interpolate(features, scale_factor=2.0, mode="nearest"))
        return super().forward(torch.cat([skip, larger], dim=1))

    def split(self) -> None:
        """Convolve both maps separately, in place, after ``fold``; the function stays the same.

        The four copies of a pixel often meet the same 3x3 kernel. A transposed convolution of 4x4 and stride 2, whose
        kernel sums the weights that meet, needs 4 products for a channel and pixel instead of 9.
        """
        weight, bias = self.conv.weight.detach(), self.conv.bias
        skip, deep = weight[:, : self.skip_channels], weight[:, self.skip_channels :].flip(2, 3).transpose(0, 1)
        meeting = [functional.pad(deep, (x, 1 - x, y, 1 - y)) for x in (0, 1) for y in (0, 1)]
        self.conv = nn.Conv2d(self.skip_channels, len(weight), 3, padding=1)
        self.upsampled = nn.ConvTranspose2d(len(deep), len(weight), 4, stride=2, padding=1, bias=False)
        self.conv.weight, self.conv.bias = nn.Parameter(skip), bias
        self.upsampled.weight = nn.Parameter(torch.stack(meeting).sum(0))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut around both (He et al., 2015).

    If the size or the number of channels changes, the shortcut is an average pool and a 1x1 convolution (ResNet-D; He
    et al., 2018).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: stride of the first convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.first = ConvNormReLU(in_channels, out_channels, stride)
        self.conv = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride),
                nn.Conv2d(in_channels, out_channels, 1, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, in_channels, H, W)`` to ``(B, out_channels, H / stride, W / stride)``."""
        return self.norm(self.conv(self.first(features))).add_(self.shortcut(features)).relu_()

    def fold(self) -> None:
        """Fold the batch norms into the convolutions, in place, except those of ``first``, which folds itself."""
        assert isinstance(self.norm, nn.BatchNorm2d)
        self.conv, self.norm = fuse_conv_bn_eval(self.conv, self.norm), nn.Identity()
        if isinstance(self.shortcut, nn.Sequential):
            fold_norms(self.shortcut)


class StridedUNet(AnySize):
    """A UNet whose encoder downsamples by stride and whose decoder has one convolution per level.

    No layer works at full resolution. The first convolution halves the resolution. The last 1x1 convolution returns
    four logits per class, which a pixel shuffle arranges as 2 x 2 pixels (Shi et al., 2016). All other convolutions are
    dense 3x3 convolutions of few channels, which processors run at their full rate.

    Args:
        in_channels: channels of the images (1, 3, 5: neighbouring CT slices).
        out_channels: number of classes (2: lesion or not; 3: background, liver, lesion).
        widths: channels of each encoder level, outermost first; each level halves the resolution.
        blocks: number of blocks in each encoder level.
        decoder_widths: channels of each decoder level, deepest first; one level fewer than the encoder.
        residual: use residual blocks of two convolutions, except for the first convolution. Otherwise each block is a
            single convolution with a skip that is folded at export.
        fine: channels of a first and a last map at half resolution, between a pixel unshuffle and a pixel shuffle; the
            levels then start at a quarter of the resolution, for slices of 512 px. None: no such maps.

    Raises:
        InputError: if the lengths of the lists do not fit.
    """

    def __init__(
        self,
        in_channels: Width = 1,
        out_channels: Width = 2,
        widths: Widths = (16, 32, 64, 128, 192),
        blocks: Annotated[Sequence[Annotated[int, Ge(1), Le(64)]], Len(1, 8)] = (2, 2, 3, 3, 2),
        decoder_widths: Widths = (96, 48, 32, 16),
        residual: bool = False,
        fine: int | None = None,
    ) -> None:
        super().__init__()
        if len(blocks) != len(widths):
            raise InputError("model.blocks", f"{len(widths)} block numbers", list(blocks))
        if len(decoder_widths) != len(widths) - 1:
            raise InputError("model.decoder_widths", f"{len(widths) - 1} channel numbers", list(decoder_widths))
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        self.fine = fine is not None
        self.stride = 2 ** (len(widths) + self.fine)
        channels = in_channels
        if fine is not None:
            self.unshuffled = nn.Sequential(nn.PixelUnshuffle(2), ConvNormReLU(4 * in_channels, fine))
            channels = fine
        for number, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            halving = ResidualBlock if residual and number else ConvNormReLU
            layers: list[nn.Module] = [halving(channels, width, stride=2)]
            for _ in range(count - 1):
                layers.append(ResidualBlock(width, width) if residual else ConvNormReLU(width, width, skip=True))
            self.encoder.append(nn.Sequential(*layers))
            channels = width
        for width, skip in zip(decoder_widths, reversed(widths[:-1]), strict=True):
            self.decoder.append(DecoderConv(skip, channels, width))
            channels = width
        if fine is not None:
            self.shuffled = nn.Sequential(nn.Conv2d(channels, 4 * fine, 1), nn.PixelShuffle(2))
            self.merged = ConvNormReLU(2 * fine, fine)
            channels = fine
        self.logits = nn.Sequential(nn.Conv2d(channels, 4 * out_channels, 1), nn.PixelShuffle(2))

    def logits_of(self, images: Tensor) -> Tensor:
        """Map padded images to logits of the same size."""
        first = features = self.unshuffled(images) if self.fine else images
        skips: list[Tensor] = []
        for level in self.encoder:
            features = level(features)
            skips.append(features)
        skips.pop()
        for level in self.decoder:
            features = level(skips.pop(), features)
        if self.fine:
            features = self.merged(torch.cat([first, self.shuffled(features)], dim=1))
        return self.logits(features)

    def for_inference(self, int8: bool = False) -> Self:
        """Fold norms and skips, and split the decoder's convolutions, in place; see ``folding.for_inference``."""
        for module in self.modules():
            if isinstance(module, (ConvNormReLU, ResidualBlock)):
                module.fold()
        # The deepest kernels are the largest, meet the fewest pixels, and would grow from 3x3 to 4x4.
        for level in () if int8 else self.decoder[1:]:
            cast(DecoderConv, level).split()
        return self
