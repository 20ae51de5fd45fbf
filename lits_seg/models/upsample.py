"""The decoder's upsamplers: each doubles height and width and states the channels of its output.

All upsamplers share the constructor and the signature of ``Upsampler``. ``UPSAMPLERS`` lists them by name.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lits_seg.common.errors import InputError


class Upsampler(nn.Module):
    """The base class of all upsamplers. By default, the number of channels stays and no parameter is added.

    Args:
        in_channels: channels of the input.
        skip_channels: channels of the encoder's map at the level of the output.

    Attributes:
        needs_indices: whether ``forward`` needs the indices of the encoder's max-pool.
        out_channels: channels of the output.
    """

    needs_indices = False
    upsample: nn.Module

    def __init__(self, in_channels: int, skip_channels: int) -> None:
        super().__init__()
        self.out_channels = in_channels

    def forward(self, features: Tensor, indices: Tensor | None = None) -> Tensor:
        """Map ``(B, in_channels, H, W)`` to ``(B, out_channels, 2H, 2W)``.

        Args:
            features: ``(B, in_channels, H, W)``.
            indices: positions of the maxima of the encoder's max-pool, ``(B, skip_channels, H, W)``. Only upsamplers
                with ``needs_indices`` get them.
        """
        return self.upsample(features)


class Interpolation(Upsampler):
    """The base class of the interpolations: keep the channels, no parameters. Subclasses state the ``mode``."""

    mode: str

    def __init__(self, in_channels: int, skip_channels: int) -> None:
        super().__init__(in_channels, skip_channels)
        corners = None if self.mode == "nearest" else False
        self.upsample = nn.Upsample(scale_factor=2, mode=self.mode, align_corners=corners)

    def forward(self, features: Tensor, indices: Tensor | None = None) -> Tensor:
        """Map ``(B, in_channels, H, W)`` to ``(B, in_channels, 2H, 2W)``.

        Args:
            features: ``(B, in_channels, H, W)``.
            indices: ignored.
        """
        return dense_gradient(self.upsample(features))


class Bilinear(Interpolation):
    """Bilinear interpolation (paper, V.A: the first three levels)."""

    mode = "bilinear"


class Nearest(Interpolation):
    """Nearest-neighbour interpolation."""

    mode = "nearest"


class Bicubic(Interpolation):
    """Bicubic interpolation."""

    mode = "bicubic"


class SubPixel(Upsampler):
    """A pure pixel shuffle: four channels become one of twice the size, no parameters (paper, V.A, level 4).

    Args:
        in_channels: channels of the input.
        skip_channels: ignored.

    Raises:
        InputError: if ``in_channels`` is not a multiple of four.
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
    """A 3x3 convolution followed by a pixel shuffle (Shi et al., 2016), which halves the channels.

    The initial weights make the layer a nearest-neighbour upsampling of a convolution (ICNR; Aitken et al., 2017).
    """

    def __init__(self, in_channels: int, skip_channels: int) -> None:
        super().__init__(in_channels, skip_channels)
        self.out_channels = in_channels // 2
        # Not MONAI's SubpixelUpsample: its ICNR repeats the wrong axis if the number of channels changes.
        convolution = nn.Conv2d(in_channels, 4 * self.out_channels, 3, padding=1, bias=False)
        with torch.no_grad():
            one = nn.init.kaiming_normal_(torch.empty_like(convolution.weight[: self.out_channels]))
            convolution.weight.copy_(one.repeat_interleave(4, dim=0))
        self.upsample = nn.Sequential(convolution, nn.PixelShuffle(2))


class MaxUnpool(Upsampler):
    """Max-unpooling: each value goes to the position of the encoder's maximum, among zeros (SegNet; the paper's [8]).

    The indices belong to the encoder's channels. If the input has another number of channels, a 1x1 convolution adjusts
    the number first.
    """

    needs_indices = True

    def __init__(self, in_channels: int, skip_channels: int) -> None:
        super().__init__(in_channels, skip_channels)
        self.out_channels = skip_channels
        self.project = nn.Identity() if in_channels == skip_channels else nn.Conv2d(in_channels, skip_channels, 1)
        self.upsample = nn.MaxUnpool2d(2)

    def forward(self, features: Tensor, indices: Tensor | None = None) -> Tensor:
        """Map ``(B, in_channels, H, W)`` to ``(B, skip_channels, 2H, 2W)``.

        Args:
            features: ``(B, in_channels, H, W)``.
            indices: positions of the maxima of the encoder's max-pool, ``(B, skip_channels, H, W)``; required.
        """
        return self.upsample(self.project(features), indices)


def dense_gradient(upsampled: Tensor) -> Tensor:
    """Return an upsampled map whose gradient is made dense before it is downsampled.

    The gradient from a concatenation is a slice. On a CPU, a dense gradient is up to ten times as fast.
    """
    if upsampled.requires_grad:
        upsampled.register_hook(_dense)
    return upsampled


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
    """Return the upsampler class of each decoder level, deepest first.

    Args:
        names: names in ``UPSAMPLERS``, deepest level first.
        levels: number of decoder levels.

    Raises:
        InputError: if a name is unknown or the number of names is wrong; lists the choices.
    """
    if isinstance(names, str) or len(names) != levels or any(name not in UPSAMPLERS for name in names):
        raise InputError(
            "decoder.levels",
            f"{levels} names, deepest level first, each one of {', '.join(UPSAMPLERS)}",
            names if isinstance(names, str) else list(names),
        )
    return [UPSAMPLERS[name] for name in names]
