"""A UNet on the encoder of MobileNet V1 (Howard et al., 2017)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from lits_seg.common.settings import Width
from lits_seg.models.any_size import AnySize, conv_norm_relu, initialise
from lits_seg.models.vgg import FiveWidths

BLOCKS = (1, 2, 2, 6, 2)  # separable convolutions of each level


class MobileNetV1UNet(AnySize):
    """A UNet on MobileNet V1, which is a classifier and has no decoder of its own: the decoder is a choice.

    With the default widths, the network has 4,306,338 parameters from one channel to two classes.

    Args:
        in_channels: channels of the images.
        out_channels: number of classes.
        widths: channels of the encoder's levels, outermost first; each level halves the resolution.
        decoder_widths: channels of the decoder's levels, deepest first.
    """

    stride = 32
    pretrained = ("encoder",)

    def __init__(
        self,
        in_channels: Width = 1,
        out_channels: Width = 2,
        widths: FiveWidths = (64, 128, 256, 512, 1024),
        decoder_widths: FiveWidths = (64, 32, 32, 16, 16),
    ) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        channels = widths[0] // 2
        level = conv_norm_relu(in_channels, channels, stride=2)
        for number, (width, count) in enumerate(zip(widths, BLOCKS, strict=True)):
            for block in range(count):
                level.extend(_separable(channels, width, stride=2 if number and block == 0 else 1))
                channels = width
            self.encoder.append(level)
            level = nn.Sequential()
        for skip, width in zip((*reversed(widths[:-1]), 0), decoder_widths, strict=True):
            self.decoder.append(nn.Sequential(conv_norm_relu(channels + skip, width), conv_norm_relu(width, width)))
            channels = width
        self.logits = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.apply(initialise)

    def logits_of(self, images: Tensor) -> Tensor:
        """Map padded images to logits of the same size."""
        features, skips = images, []
        for level in self.encoder:
            features = level(features)
            skips.append(features)
        skips.pop()
        for level in self.decoder:
            larger = functional.interpolate(features, scale_factor=2.0, mode="nearest")
            features = level(torch.cat([larger, skips.pop()], dim=1) if skips else larger)
        return self.logits(features)


def _separable(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """Return a depthwise and a 1x1 convolution, each with batch norm and ReLU."""
    depthwise = conv_norm_relu(in_channels, in_channels, stride=stride, groups=in_channels)
    return depthwise.extend(conv_norm_relu(in_channels, out_channels, 1))
