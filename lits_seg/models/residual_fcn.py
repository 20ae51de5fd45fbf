"""Residual FCNs with pre-activation, and chains of two: Drozdzal et al. (2016, 2018) and Vorontsov et al. (2017)."""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Le, Len
from torch import Tensor, nn
from torch.nn import functional

from lits_seg.common.errors import InputError
from lits_seg.common.settings import Probability, Width, Widths
from lits_seg.models.any_size import AnySize, initialise
from lits_seg.models.unet import UNet

Kind = Literal["simple", "basic", "bottleneck"]
Last = Literal["conv_norm", "norm_conv"]
Kinds = Annotated[Sequence[Kind], Len(1, 8)]
Repetitions = Annotated[Sequence[Annotated[int, Ge(1), Le(64)]], Len(1, 8)]


class PreactivatedBlock(nn.Module):
    """Convolutions, each after batch norm and ReLU, and a shortcut around all of them (He et al., 2016).

    Args:
        kind: ``simple``: a max-pool and one 3x3 convolution; ``basic``: two 3x3 convolutions; ``bottleneck``: 1x1, 3x3
            and 1x1 convolutions, with a quarter of the channels inside.
        in_channels: channels of the input.
        out_channels: channels of the output.
        down: halve the resolution at the start.
        up: double the resolution at the end, by repeating pixels.
        dropout: probability of dropping a value after the first convolution, in [0, 1].

    Raises:
        InputError: if ``kind`` has another name.
    """

    def __init__(
        self, kind: Kind, in_channels: int, out_channels: int, down: bool, up: bool, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.down, self.up = down, up

        def convolution(before: int, after: int, side: int, *between: nn.Module, stride: int = 1) -> list[nn.Module]:
            layer = nn.Conv2d(before, after, side, stride, padding=side // 2)
            return [nn.BatchNorm2d(before), nn.ReLU(inplace=True), *between, layer]

        stride, inner, dropped = 2 if down else 1, out_channels // 4, nn.Dropout(dropout)
        doubled = [nn.Upsample(scale_factor=2, mode="nearest")] if up else []
        if kind == "simple":
            pooled = [nn.MaxPool2d(2)] if down else []
            layers = [*convolution(in_channels, out_channels, 3, *pooled), dropped, *doubled]
        elif kind == "basic":
            layers = [*convolution(in_channels, out_channels, 3, stride=stride), dropped]
            layers += convolution(out_channels, out_channels, 3, *doubled)
        elif kind == "bottleneck":
            layers = [*convolution(in_channels, inner, 1, stride=stride), dropped, *convolution(inner, inner, 3)]
            layers += convolution(inner, out_channels, 1, *doubled)
        else:
            raise InputError("model.kinds", "simple, basic or bottleneck for each level", kind)
        self.layers = nn.Sequential(*layers)
        self.shortcut = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, in_channels, H, W)`` to ``(B, out_channels, H', W')``."""
        shortcut = self.shortcut(features[..., ::2, ::2] if self.down else features)
        if self.up:
            shortcut = functional.interpolate(shortcut, scale_factor=2.0, mode="nearest")
        return self.layers(features) + shortcut


class ResidualMaps(nn.Module):
    """A residual FCN without classifier: ``width`` maps of the images' size.
    H and W must be multiples of ``stride``.

    The skip connections of all levels are summed, after a 1x1 convolution if the number of channels differs.

    Args:
        in_channels: channels of the images.
        width: channels of the first and of the last convolution.
        kinds: kind of the blocks of each level, outermost first; the last level is the innermost.
        widths: channels of each level.
        repetitions: number of blocks in each level on either side; the first halves, the last doubles the resolution.
        dropout: probability of dropping a value within a block, in [0, 1].
        last: order of the last layer, ``conv_norm`` (convolution, batch norm, ReLU) or ``norm_conv``.

    Raises:
        InputError: if the lists have different lengths.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        kinds: Sequence[Kind],
        widths: Sequence[int],
        repetitions: Sequence[int],
        dropout: float,
        last: Last,
    ) -> None:
        super().__init__()
        self.stride = 2 ** len(kinds)
        for name, given in (("widths", widths), ("repetitions", repetitions)):
            if len(given) != len(kinds):
                raise InputError(f"model.{name}", f"{len(kinds)} numbers, as many as model.kinds", list(given))

        self.first = nn.Conv2d(in_channels, width, 3, padding=1)
        self.down, self.match, self.up = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        *levels, innermost = zip(kinds, widths, repetitions, strict=True)
        channels = width
        for level in levels:
            self.down.append(_blocks(*level, channels, dropout, down=True))
            channels = level[1]
        self.across = _blocks(*innermost, channels, dropout, down=True, up=True)
        channels = innermost[1]
        for level in reversed(levels):
            self.match.append(_match(channels, level[1]))
            self.up.append(_blocks(*level, level[1], dropout, up=True))
            channels = level[1]
        self.match.append(_match(channels, width))
        convolution, norm = nn.Conv2d(width, width, 3, padding=1), [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        self.last = nn.Sequential(*([convolution, *norm] if last == "conv_norm" else [*norm, convolution]))

    def forward(self, images: Tensor) -> Tensor:
        """Map ``(B, in_channels, H, W)`` to ``(B, width, H, W)``."""
        skips = [self.first(images)]
        for level in self.down:
            skips.append(level(skips[-1]))
        features = self.across(skips[-1])
        for match, level in zip(self.match, [*self.up, self.last], strict=True):
            features = level(match(features) + skips.pop())
        return features


class ResidualFCN(AnySize):
    """The network of Drozdzal et al. (2016), in their 2018 paper after a second network that normalises the slice.

    With the defaults and one class, the network has 11,470,369 parameters. The kind of dropout, and the width of the
    second network, are choices.

    Args:
        in_channels: channels of the images.
        out_channels: number of classes.
        width: see ``ResidualMaps``, as all arguments up to ``last``.
        kinds: kind of the blocks of each level, outermost first.
        widths: channels of each level.
        repetitions: number of blocks in each level.
        dropout: probability of dropping a value within a block, in [0, 1].
        last: order of the last layer.
        preprocessor: channels of the levels of a UNet, outermost first, that maps the images to one channel, on which
            the residual FCN works; None: no such UNet.
    """

    def __init__(
        self,
        in_channels: Width = 1,
        out_channels: Width = 2,
        width: Width = 32,
        kinds: Kinds = ("simple", "simple", "bottleneck", "bottleneck", "bottleneck", "bottleneck"),
        widths: Widths = (32, 32, 128, 256, 512, 1024),
        repetitions: Repetitions = (1, 1, 3, 8, 10, 3),
        dropout: Probability = 0.1,
        last: Last = "norm_conv",
        preprocessor: Widths | None = None,
    ) -> None:
        super().__init__()
        self.preprocessor: nn.Module = nn.Identity()
        if preprocessor is not None:
            *outer, inner = preprocessor
            self.preprocessor = UNet(["deconv"] * len(outer), in_channels, 1, outer, inner, list(reversed(outer)))
            in_channels = 1
        self.maps = ResidualMaps(in_channels, width, kinds, widths, repetitions, dropout, last)
        self.logits = nn.Conv2d(width, out_channels, 1)
        self.stride = self.maps.stride
        self.maps.apply(initialise)

    def logits_of(self, images: Tensor) -> Tensor:
        """Map padded images to logits of the same size."""
        return self.logits(self.maps(self.preprocessor(images)))


class Tandem(AnySize):
    """Two residual FCNs in tandem, for the liver and for its lesions (Vorontsov et al., 2017).

    The second network sees the images and the last maps of the first. Each has a head with one logit: liver (with its
    lesions) or not, lesion or not. The class logits ``[0, liver, lesion + max(liver, 0)]`` contain both: lesion wins if
    its logit is positive, else liver. ``loss=tandem_dice`` reads the heads from the class logits.

    With the defaults, the network has 2,104,898 parameters.

    Args:
        in_channels: channels of the images.
        out_channels: number of classes, 3.
        width: see ``ResidualMaps``, as all arguments below, for each of the networks.
        kinds: kind of the blocks of each level, outermost first.
        widths: channels of each level.
        dropout: probability of dropping a value within a block, in [0, 1].

    Raises:
        InputError: if ``out_channels`` is not 3.
    """

    def __init__(
        self,
        in_channels: Width = 1,
        out_channels: Literal[3] = 3,
        width: Width = 32,
        kinds: Kinds = ("simple", "simple", "basic", "basic", "basic", "basic"),
        widths: Widths = (32, 32, 32, 64, 128, 128),
        dropout: Probability = 0.05,
    ) -> None:
        super().__init__()
        if out_channels != 3:
            raise InputError("model.out_channels", "3 (background, liver, lesion), for two heads", out_channels)
        self.first, self.second = (
            ResidualMaps(channels, width, kinds, widths, [1] * len(kinds), dropout, "conv_norm")
            for channels in (in_channels, in_channels + width)
        )
        self.liver, self.lesion = nn.Conv2d(width, 1, 1), nn.Conv2d(width, 1, 1)
        self.stride = self.first.stride
        self.first.apply(initialise)
        self.second.apply(initialise)

    def logits_of(self, images: Tensor) -> Tensor:
        """Map padded images to logits of the same size."""
        maps = self.first(images)
        # In 16 bits, the sum of both heads would lose the lesion's.
        liver = self.liver(maps).float()
        lesion = self.lesion(self.second(torch.cat([images, maps], dim=1))).float()
        return torch.cat([torch.zeros_like(liver), liver, lesion + liver.clamp(min=0)], dim=1)


def _blocks(
    kind: Kind, out_channels: int, count: int, in_channels: int, dropout: float, down: bool = False, up: bool = False
) -> nn.Sequential:
    """Return the blocks of a level: the first may halve the resolution, the last may double it."""
    blocks = [
        PreactivatedBlock(
            kind,
            out_channels if number else in_channels,
            out_channels,
            down and number == 0,
            up and number == count - 1,
            dropout,
        )
        for number in range(count)
    ]
    return nn.Sequential(*blocks)


def _match(in_channels: int, out_channels: int) -> nn.Module:
    return nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)
