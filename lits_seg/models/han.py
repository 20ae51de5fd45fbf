"""The network of Han (2017), which sees five slices and labels the middle one."""

from torch import Tensor, nn

from lits_seg.common.settings import Width, Widths
from lits_seg.models.unet import UShape


class ConvResidualBlock(nn.Module):
    """A 3x3 convolution, and two more with a shortcut around both; each with batch norm and PReLU.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        first, second, third = (_conv_norm(channels, out_channels) for channels in (in_channels, *[out_channels] * 2))
        self.first = first.append(nn.PReLU())
        self.pair = second.append(nn.PReLU()).extend(third)
        self.activation = nn.PReLU()

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, in_channels, H, W)`` to ``(B, out_channels, H, W)``."""
        features = self.first(features)
        return self.activation(self.pair(features) + features)


class HanUNet(UShape):
    """A UNet with long concatenated and short residual skip connections (Han, 2017).

    The paper states 5 slices, 3 classes, 3x3 convolutions with batch norm and PReLU, and 128 channels in the second
    level. The other widths, the number of convolutions in each level and the upsampling are choices.

    Args:
        in_channels: channels of the images (5: neighbouring CT slices).
        out_channels: number of classes.
        encoder_widths: see ``UShape``.
        innermost_width: see ``UShape``.
        decoder_widths: see ``UShape``.
    """

    def __init__(
        self,
        in_channels: Width = 5,
        out_channels: Width = 3,
        encoder_widths: Widths = (64, 128, 256, 512),
        innermost_width: Width = 512,
        decoder_widths: Widths = (512, 256, 128, 64),
    ) -> None:
        upsample = ["bilinear"] * len(encoder_widths)
        block = ConvResidualBlock
        super().__init__(
            in_channels, out_channels, encoder_widths, innermost_width, decoder_widths, upsample, block, block
        )


def _conv_norm(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.BatchNorm2d(out_channels))
