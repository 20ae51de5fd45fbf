"""DenseUNet: the 2-D network of H-DenseUNet (Li et al., 2018)."""

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Len
from monai.networks.nets import DenseNet
from torch import Tensor, nn
from torch.nn import functional

from lits_seg.common.settings import Width
from lits_seg.models.any_size import AnySize, conv_norm_relu, initialise

DROPOUT = 0.3  # before the last batch norm


class DenseUNet(AnySize):
    """A UNet on DenseNet-161 whose decoder adds the maps of the encoder, and has one convolution per level.

    From 3 channels to 3 classes, the network has 49,527,843 parameters.

    Args:
        in_channels: channels of the images.
        out_channels: number of classes.
        init_features: channels of the first convolution.
        growth_rate: channels that each layer of a dense block adds.
        block_config: number of layers in each of the four dense blocks.
    """

    stride = 32
    pretrained = ("trunk",)

    def __init__(
        self,
        in_channels: Width = 3,
        out_channels: Width = 3,
        init_features: Width = 96,
        growth_rate: Width = 48,
        block_config: Annotated[Sequence[Width], Len(4, 4)] = (6, 12, 36, 24),
    ) -> None:
        super().__init__()
        densenet = DenseNet(
            2, in_channels, 1, init_features=init_features, growth_rate=growth_rate, block_config=tuple(block_config)
        )
        self.trunk = densenet.features
        skips, channels = [init_features], init_features
        for layers in block_config:
            skips.append(channels + layers * growth_rate)
            channels = skips[-1] // 2
        channels = skips.pop()  # the last block has no transition
        self.project = nn.Conv2d(skips[-1], channels, 1)
        widths = (skips[-2], skips[-3], skips[-4], skips[-4])
        self.decoder = nn.ModuleList()
        for width in widths:
            self.decoder.append(conv_norm_relu(channels, width, bias=True))
            channels = width
        last = 2 * init_features // 3  # 64 of 96
        self.decoder.append(conv_norm_relu(channels, last, bias=True).insert(1, nn.Dropout(DROPOUT)))
        self.logits = nn.Conv2d(last, out_channels, 1)
        self.decoder.apply(initialise)

    def logits_of(self, images: Tensor) -> Tensor:
        """Map padded images to logits of the same size."""
        features, skips = images, []
        for name, layer in self.trunk.named_children():
            if name == "pool0" or name.startswith("transition"):
                skips.append(features)
            features = layer(features)
        features, projected = functional.relu(features), self.project(skips.pop())
        skips.append(projected)
        for level in self.decoder:
            larger = functional.interpolate(features, scale_factor=2.0, mode="nearest")
            features = level(larger + skips.pop() if skips else larger)
        return self.logits(features)
