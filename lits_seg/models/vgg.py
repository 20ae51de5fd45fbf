"""Networks on the convolutions of VGG (Simonyan and Zisserman, 2014): FCN-8s, SegNet and TernausNet-11."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import torch
from annotated_types import Len
from torch import Tensor, nn
from torch.nn import functional

from lits_seg.common.settings import Width
from lits_seg.models.any_size import AnySize, conv_norm_relu, initialise

VGG11, VGG16 = (1, 1, 2, 2, 2), (2, 2, 3, 3, 3)  # convolutions of each level; a max-pool follows each level
WIDTHS = (64, 128, 256, 512, 512)
FiveWidths = Annotated[Sequence[Width], Len(5, 5)]


class FCN8s(AnySize):
    """FCN-8s (Long et al., 2015): VGG16 as convolutions, with scores of three levels summed.

    The original learns bilinear upsampling, except for the last. Here, all upsampling is bilinear and fixed, as in the
    released network. From 3 channels to 2 classes, the network has 134,270,278 parameters.

    Args:
        in_channels: channels of the images.
        out_channels: number of classes.
        widths: channels of the five levels.
        head_width: channels of the two layers that were VGG16's fully connected layers.
    """

    stride = 32
    pretrained = ("trunk", "head")

    def __init__(
        self,
        in_channels: Width = 1,
        out_channels: Width = 2,
        widths: FiveWidths = WIDTHS,
        head_width: Width = 4096,
    ) -> None:
        super().__init__()
        self.trunk = levels(VGG16, in_channels, widths)
        self.head = nn.Sequential(
            nn.Conv2d(widths[4], head_width, 7, padding=3),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Conv2d(head_width, head_width, 1),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
        )
        self.scores = nn.ModuleList(nn.Conv2d(width, out_channels, 1) for width in (head_width, widths[3], widths[2]))
        self.apply(initialise)

    def logits_of(self, images: Tensor) -> Tensor:
        """Map padded images to logits of the same size."""
        features, maps = images, []
        for level in self.trunk:
            features = functional.max_pool2d(level(features), 2)
            maps.append(features)
        logits = self.scores[0](self.head(features))
        for score, skip in zip(self.scores[1:], (maps[3], maps[2]), strict=True):
            logits = functional.interpolate(logits, scale_factor=2.0, mode="bilinear") + score(skip)
        return functional.interpolate(logits, scale_factor=8.0, mode="bilinear")


class SegNet(AnySize):
    """SegNet (Badrinarayanan et al., 2017): a mirrored VGG16 that passes only the positions of maxima to the decoder.

    From one channel to two classes, the network has 29,443,010 parameters.

    Args:
        in_channels: channels of the images.
        out_channels: number of classes.
        widths: channels of the five levels.
    """

    stride = 32
    pretrained = ("encoder",)

    def __init__(self, in_channels: Width = 1, out_channels: Width = 2, widths: FiveWidths = WIDTHS) -> None:
        super().__init__()
        self.encoder = levels(VGG16, in_channels, widths, norm=True)
        self.decoder = nn.ModuleList()
        for count, (narrower, width) in reversed(list(zip(VGG16[1:], pairwise(widths), strict=True))):
            inner = [conv_norm_relu(width, width, bias=True) for _ in range(count - 1)]
            self.decoder.append(nn.Sequential(*inner, conv_norm_relu(width, narrower, bias=True)))
        last = nn.Conv2d(widths[0], out_channels, 3, padding=1)
        self.decoder.append(nn.Sequential(conv_norm_relu(widths[0], widths[0], bias=True), last))
        self.apply(initialise)

    def logits_of(self, images: Tensor) -> Tensor:
        """Map padded images to logits of the same size."""
        features, positions = images, []
        for level in self.encoder:
            features, indices = functional.max_pool2d(level(features), 2, return_indices=True)
            positions.append(indices)
        for level in self.decoder:
            features = level(functional.max_unpool2d(features, positions.pop(), [2, 2]))
        return features


class TernausNet(AnySize):
    """TernausNet-11 (Iglovikov and Shvets, 2018): a UNet on VGG11 without norms.

    From one channel to two classes, the network has 22,926,274 parameters.

    Args:
        in_channels: channels of the images.
        out_channels: number of classes.
        base_width: channels of the last layer; those of all other layers are multiples.
    """

    stride = 32
    pretrained = ("encoder",)

    def __init__(self, in_channels: Width = 1, out_channels: Width = 2, base_width: Width = 32) -> None:
        super().__init__()
        one = base_width
        widths = (2 * one, 4 * one, 8 * one, 16 * one, 16 * one)
        self.encoder = levels(VGG11, in_channels, widths)
        self.decoder = nn.ModuleList()
        channels = widths[4]
        for skip, inner, outer in zip(reversed(widths), (16, 16, 16, 8, 4), (8, 8, 4, 2, 1), strict=True):
            self.decoder.append(_doubling(channels, inner * one, outer * one))
            channels = outer * one + skip
        self.decoder.append(nn.Sequential(nn.Conv2d(channels, one, 3, padding=1), nn.ReLU(inplace=True)))
        self.logits = nn.Conv2d(one, out_channels, 1)
        self.apply(initialise)

    def logits_of(self, images: Tensor) -> Tensor:
        """Map padded images to logits of the same size."""
        features, skips = images, []
        for level in self.encoder:
            skips.append(level(features))
            features = functional.max_pool2d(skips[-1], 2)
        features = self.decoder[0](features)
        for level in self.decoder[1:]:
            features = level(torch.cat([features, skips.pop()], dim=1))
        return self.logits(features)


def levels(counts: Sequence[int], in_channels: int, widths: Sequence[int], norm: bool = False) -> nn.ModuleList:
    """Return VGG's levels of 3x3 convolutions and ReLUs, outermost first, without the max-pools.

    Args:
        counts: number of convolutions of each level, such as ``VGG16``.
        in_channels: channels of the images.
        widths: channels of each level.
        norm: whether a batch norm follows each convolution.
    """
    found, channels = nn.ModuleList(), in_channels
    for count, width in zip(counts, widths, strict=True):
        layers: list[nn.Module] = []
        for _ in range(count):
            if norm:
                layers += conv_norm_relu(channels, width, bias=True)
            else:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
        found.append(nn.Sequential(*layers))
    return found


def _doubling(in_channels: int, inner: int, out_channels: int) -> nn.Sequential:
    """Return a 3x3 convolution and a transposed 3x3 convolution that doubles the size, each with a ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, inner, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(inner, out_channels, 3, stride=2, padding=1, output_padding=1),
        nn.ReLU(inplace=True),
    )
