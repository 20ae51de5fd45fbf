"""The decoder's upsamplers: each doubles height and width, and tells how many channels come out.

All are built as ``Upsampler(in_channels, skip_channels)``, where ``skip_channels`` is the depth of the
encoder's map at the level that is entered, and called as ``upsampler(features, indices)``: ``(B,
in_channels, H, W) -> (B, out_channels, 2H, 2W)``. ``indices`` are the positions that the encoder's max-pool
kept, given only to those that say ``needs_indices``.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lits_seg.common.errors import InputError


class Upsampler(nn.Module):
    """What all upsamplers share. By default the channels are kept and no parameter is added."""

    needs_indices = False
    upsample: nn.Module

    def __init__(self, in_channels: int, skip_channels: int) -> None:
        super().__init__()
        self.out_channels = in_channels

    def forward(self, features: Tensor, indices: Tensor | None = None) -> Tensor:
        """``(B, in_channels, H, W) -> (B, out_channels, 2H, 2W)``."""
        return self.upsample(features)


class Bilinear(Upsampler):
    """Bilinear interpolation: keeps the channels, no parameters (paper, V.A: the first three levels)."""

    def __init__(self, in_channels: int, skip_channels: int) -> None:
        super().__init__(in_channels, skip_channels)
        self.upsample = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)

    def forward(self, features: Tensor, indices: Tensor | None = None) -> Tensor:
        """``(B, in_channels, H, W) -> (B, in_channels, 2H, 2W)``."""
        upsampled = self.upsample(features)
        if self.training and upsampled.requires_grad:
            # Concatenation hands back a slice of its gradient. On a CPU, that would cost ten times a dense one.
            upsampled.register_hook(_dense)
        return upsampled


class Nearest(Upsampler):
    """Nearest-neighbour interpolation: keeps the channels, no parameters."""

    def __init__(self, in_channels: int, skip_channels: int) -> None:
        super().__init__(in_channels, skip_channels)
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")


class Bicubic(Upsampler):
    """Bicubic interpolation: keeps the channels, no parameters."""

    def __init__(self, in_channels: int, skip_channels: int) -> None:
        super().__init__(in_channels, skip_channels)
        self.upsample = nn.Upsample(scale_factor=2, mode="bicubic", align_corners=False)


class SubPixel(Upsampler):
    """A pure pixel shuffle: four channels become one of twice the size, no parameters (paper, V.A, level 4).

    Raises ``InputError`` where the depth is not a multiple of four.
    """

    def __init__(self, in_channels: int, skip_channels: int) -> None:
        super().__init__(in_channels, skip_channels)
        if in_channels % 4:
            raise InputError("subpixel", "a multiple of 4 channels", in_channels)
        self.out_channels = in_channels // 4
        self.upsample = nn.PixelShuffle(2)


class Deconv(Upsampler):
    """The UNet's 2x2 transposed convolution of stride 2, which halves the channels (Ronneberger et al., 2015)."""

    def __init__(self, in_channels: int, skip_channels: int) -> None:
        super().__init__(in_channels, skip_channels)
        self.out_channels = in_channels // 2
        self.upsample = nn.ConvTranspose2d(in_channels, self.out_channels, kernel_size=2, stride=2)


class Espcn(Upsampler):
    """A 3x3 convolution, then a pixel shuffle (Shi et al., 2016), halving the channels.

    Initialised so that it starts as nearest-neighbour upsampling of a convolution (ICNR; Aitken et al., 2017).
    """

    def __init__(self, in_channels: int, skip_channels: int) -> None:
        super().__init__(in_channels, skip_channels)
        self.out_channels = in_channels // 2
        # Not MONAI's SubpixelUpsample: its ICNR repeats the wrong axis where the depth changes.
        convolution = nn.Conv2d(in_channels, 4 * self.out_channels, 3, padding=1, bias=False)
        with torch.no_grad():
            one = nn.init.kaiming_normal_(torch.empty_like(convolution.weight[: self.out_channels]))
            convolution.weight.copy_(one.repeat_interleave(4, dim=0))
        self.upsample = nn.Sequential(convolution, nn.PixelShuffle(2))


class MaxUnpool(Upsampler):
    """Puts each value back where the encoder's max-pool took it from, zeros elsewhere (SegNet; the paper's [8]).

    The indices belong to the encoder's channels: where the depth differs, a 1x1 convolution brings it there.
    """

    needs_indices = True

    def __init__(self, in_channels: int, skip_channels: int) -> None:
        super().__init__(in_channels, skip_channels)
        self.out_channels = skip_channels
        self.project = nn.Identity() if in_channels == skip_channels else nn.Conv2d(in_channels, skip_channels, 1)
        self.upsample = nn.MaxUnpool2d(2)

    def forward(self, features: Tensor, indices: Tensor | None = None) -> Tensor:
        """``(B, in_channels, H, W)`` and indices ``(B, skip_channels, H, W) -> (B, skip_channels, 2H, 2W)``."""
        return self.upsample(self.project(features), indices)


def _dense(gradient: Tensor) -> Tensor:
    return gradient.contiguous(memory_format=torch.channels_last)


UPSAMPLERS: dict[str, type[Upsampler]] = {
    "bilinear": Bilinear,
    "nearest": Nearest,
    "bicubic": Bicubic,
    "subpixel": SubPixel,
    "deconv": Deconv,
    "espcn": Espcn,
    "maxunpool": MaxUnpool,
}


def upsamplers(names: Sequence[str], levels: int) -> list[type[Upsampler]]:
    """The classes for a decoder of ``levels`` levels, deepest first.

    Raises ``InputError``, listing the choices, for an unknown name or a wrong count of names.
    """
    if isinstance(names, str) or len(names) != levels or any(name not in UPSAMPLERS for name in names):
        raise InputError(
            "decoder.levels",
            f"{levels} names, deepest level first, each one of {', '.join(UPSAMPLERS)}",
            names if isinstance(names, str) else list(names),
        )
    return [UPSAMPLERS[name] for name in names]
