"""The paper's network and its baseline: two classes that share one U shape."""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, Self

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.nn import functional

from lits_seg.common.errors import InputError
from lits_seg.common.settings import Probability, Width, Widths
from lits_seg.models.any_size import AnySize
from lits_seg.models.blocks import (
    ConvBlock,
    PointwiseConv2d,
    SeparableConvBlock,
    SeparableResidualBlock,
)
from lits_seg.models.folding import fold_norms
from lits_seg.models.split_block import SplitResidualBlock
from lits_seg.models.upsample import Upsampler, upsamplers

Block = Callable[[int, int], nn.Module]
KernelSize = Annotated[int, Ge(1), Le(31)]


class UShape(AnySize):
    """An encoder, an innermost layer, and a decoder with skip connections (Ronneberger et al., 2015).

    Args:
        in_channels: channels of the images (1: one CT slice).
        out_channels: number of classes (2: lesion or not; 3: background, liver, lesion).
        encoder_widths: channels of each encoder level, outermost first; a max-pool follows each level.
        innermost_width: channels of the innermost layer.
        decoder_widths: channels of each decoder level, deepest first.
        upsample: names of the upsamplers, deepest level first (see ``models.upsample``).
        block: called with the input and output channels of an encoder or decoder level; returns the level.
        innermost: called in the same way; returns the innermost layer.

    Raises:
        InputError: if the lengths of the lists do not fit, or an upsampler has an unknown name.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        encoder_widths: Sequence[int],
        innermost_width: int,
        decoder_widths: Sequence[int],
        upsample: Sequence[str],
        block: Block,
        innermost: Block,
    ) -> None:
        super().__init__()
        if len(decoder_widths) != len(encoder_widths):
            raise InputError("model.decoder_widths", f"{len(encoder_widths)} channel numbers", list(decoder_widths))
        self.out_channels, self.stride = out_channels, 2 ** len(encoder_widths)
        self.encoder, self.upsamplers, self.decoder = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        channels = in_channels
        for width in encoder_widths:
            self.encoder.append(block(channels, width))
            channels = width
        self.innermost = innermost(channels, innermost_width)
        channels = innermost_width
        skips = list(reversed(encoder_widths))
        for make, skip, width in zip(upsamplers(upsample, len(skips)), skips, decoder_widths, strict=True):
            upsampler = make(channels, skip)
            self.upsamplers.append(upsampler)
            self.decoder.append(block(upsampler.out_channels + skip, width))
            channels = width
        self.logits = nn.Conv2d(channels, out_channels, 1)
        for part in (self.encoder, self.innermost, self.decoder):
            part.apply(_initialise)

    def logits_of(self, images: Tensor) -> Tensor:
        """Map padded images to logits of the same size."""
        features = images
        skips: list[tuple[Tensor, Tensor | None]] = []
        for level, upsampler in zip(self.encoder, reversed(self.upsamplers), strict=True):
            features = level(features)
            if upsampler.needs_indices:
                pooled, indices = functional.max_pool2d(features, 2, return_indices=True)
            else:
                pooled, indices = functional.max_pool2d(features, 2), None
            skips.append((features, indices))
            features = pooled
        features = self.innermost(features)
        for upsampler, level in zip(self.upsamplers, self.decoder, strict=True):
            skip, indices = skips.pop()
            maps = skip, upsampler(features, indices)
            features = level(*maps) if isinstance(level, SplitResidualBlock) else level(torch.cat(maps, dim=1))
        return self.logits(features)


class UNet(UShape):
    """The baseline: the original UNet with padded convolutions.

    With ``deconv`` at all four levels and two classes, the network has 31,030,658 parameters.

    Args:
        upsample: names of the upsamplers, deepest level first.
        in_channels: see ``UShape``.
        out_channels: see ``UShape``.
        encoder_widths: see ``UShape``.
        innermost_width: see ``UShape``.
        decoder_widths: see ``UShape``.
        kernel_size: side of the kernels in pixels.
        dropout: probability of dropping a channel, in [0, 1].
        batch_norm: add batch norm after each convolution.
    """

    def __init__(
        self,
        upsample: Sequence[str],
        in_channels: Width = 1,
        out_channels: Width = 2,
        encoder_widths: Widths = (64, 128, 256, 512),
        innermost_width: Width = 1024,
        decoder_widths: Widths = (512, 256, 128, 64),
        kernel_size: KernelSize = 3,
        dropout: Probability = 0.0,
        batch_norm: bool = False,
    ) -> None:
        def block(inputs: int, outputs: int) -> nn.Module:
            return ConvBlock(inputs, outputs, kernel_size, dropout, batch_norm)

        super().__init__(
            in_channels, out_channels, encoder_widths, innermost_width, decoder_widths, upsample, block, block
        )

    def for_inference(self, int8: bool = False) -> Self:
        """Fold all batch norms into the convolutions, in place; see ``folding.for_inference``."""
        for module in self.modules():
            if isinstance(module, ConvBlock):
                fold_norms(module)
        return self


class DSCUNet(UShape):
    """The paper's network: residual blocks of depthwise separable convolutions (section V.A, Fig. 1).

    The paper states neither the decoder's widths nor the form of the innermost layer. The defaults follow everything
    that the paper does state. With ``upsample`` = bilinear, bilinear, bilinear, subpixel they reach the paper's count:
    13.8 times fewer parameters than the UNet. ``experiments/parameter_audit`` compares the other readings.

    Args:
        upsample: names of the upsamplers, deepest level first.
        in_channels: see ``UShape``.
        out_channels: see ``UShape``.
        encoder_widths: see ``UShape``.
        innermost_width: see ``UShape``.
        decoder_widths: see ``UShape``.
        kernel_size: side of the depthwise filters in pixels; the paper's text, taken literally, says 2.
        dropout: probability of dropping a channel, in [0, 1].
        innermost: ``"conv"`` for a single depthwise separable convolution, ``"block"`` for a residual block.
        shortcut: ``"conv"`` or ``"pad"``, see ``SeparableResidualBlock``.

    Raises:
        InputError: if ``innermost`` or ``shortcut`` has another value.
    """

    def __init__(
        self,
        upsample: Sequence[str],
        in_channels: Width = 1,
        out_channels: Width = 2,
        encoder_widths: Widths = (64, 128, 256, 512),
        innermost_width: Width = 1024,
        decoder_widths: Widths = (240, 128, 64, 32),
        kernel_size: KernelSize = 3,
        dropout: Probability = 0.05,
        innermost: Literal["conv", "block"] = "conv",
        shortcut: Literal["conv", "pad"] = "conv",
    ) -> None:
        if innermost not in ("conv", "block"):
            raise InputError("model.innermost", "conv or block", innermost)

        def block(inputs: int, outputs: int) -> nn.Module:
            return SeparableResidualBlock(inputs, outputs, kernel_size, dropout, shortcut)

        def separable(inputs: int, outputs: int) -> nn.Module:
            return SeparableConvBlock(inputs, outputs, kernel_size, dropout)

        super().__init__(
            in_channels,
            out_channels,
            encoder_widths,
            innermost_width,
            decoder_widths,
            upsample,
            block,
            block if innermost == "block" else separable,
        )

    def for_inference(self, int8: bool = False) -> Self:
        """Replace the decoder's blocks by blocks that do not concatenate, in place; see ``folding.for_inference``."""
        for number, (level, upsampler) in enumerate(zip(self.decoder, self.upsamplers, strict=True)):
            assert isinstance(level, SeparableResidualBlock)
            assert isinstance(upsampler, Upsampler)
            if isinstance(level.shortcut, PointwiseConv2d) and not int8:
                skip = level.norm.num_features - upsampler.out_channels
                self.decoder[number] = SplitResidualBlock(level, skip)
        return self


def _initialise(module: nn.Module) -> None:
    # He et al. (2015): keeps the variance of the signal through ReLUs. The UNet depends on this, as it has no norm.
    if isinstance(module, nn.Conv2d):
        depthwise = module.groups > 1  # no activation follows it
        nn.init.kaiming_normal_(module.weight, nonlinearity="linear" if depthwise else "relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
