"""DRIU (Maninis et al., 2016) as Bellver et al. (2017) trained it on livers and lesions: VGG16 with side outputs."""

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.nn import functional

from lits_seg.common.errors import InputError
from lits_seg.common.settings import Width
from lits_seg.models.any_size import AnySize, initialise
from lits_seg.models.vgg import VGG16, WIDTHS, FiveWidths, levels

Slices = Annotated[int, Ge(1), Le(5)]


class DRIU(AnySize):
    """Maps of the last four levels of VGG16, enlarged, and summed with learned weights.

    The original has a sigmoid for each structure. Here, its score is the class's logit, and the background's logit is
    0: the softmax of two classes is that sigmoid. In training, ``forward`` also returns the logits of each level
    alone, the side outputs, for ``loss=side_outputs``. A single slice is the input of all three channels of VGG16.
    With one slice and two classes, the network has 14,917,637 parameters; with three slices in and out, 14,917,903.

    Args:
        in_channels: slices in an image, centred on the segmented slice.
        out_channels: number of classes, with the background.
        out_slices: number of middle slices whose logits are returned in training, ``(B, K, out_slices, H, W)``. In
            evaluation, only those of the middle slice are returned.
        widths: channels of the five levels.
        side_width: channels of each level's map.

    Raises:
        InputError: if ``out_slices`` is even, or more than the slices in an image.
    """

    stride = 16
    pretrained = ("trunk",)

    def __init__(
        self,
        in_channels: Width = 1,
        out_channels: Width = 2,
        out_slices: Slices = 1,
        widths: FiveWidths = WIDTHS,
        side_width: Width = 16,
    ) -> None:
        super().__init__()
        if out_slices % 2 == 0 or out_slices > in_channels:
            raise InputError("data.label_context", f"an odd number, at most data.context ({in_channels})", out_slices)
        self.in_channels, self.out_slices = in_channels, out_slices
        scores = (out_channels - 1) * out_slices
        self.trunk = levels(VGG16, 3 if in_channels == 1 else in_channels, widths)
        self.maps = nn.ModuleList(nn.Conv2d(width, side_width, 3, padding=1) for width in widths[1:])
        self.sides = nn.ModuleList(nn.Conv2d(side_width, scores, 1) for _ in widths[1:])
        # One 1x1 convolution of all enlarged maps is the sum of one for each map, which is cheaper before enlarging.
        self.fuse = nn.ModuleList(nn.Conv2d(side_width, scores, 1, bias=level == 0) for level in range(len(self.maps)))
        self.trunk.apply(initialise)
        for layers in (self.maps, self.sides, self.fuse):
            layers.apply(_initialise_small)

    def logits_of(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Map padded images to logits; in training, to a tuple of them and of the side outputs."""
        features = images.repeat(1, 3, 1, 1) if self.in_channels == 1 else images
        features = self.trunk[0](features)
        main, sides = [], []
        for number, level in enumerate(self.trunk[1:]):
            features = level(functional.max_pool2d(features, 2))
            smaller, enlarge = self.maps[number](features), 2.0 ** (number + 1)
            main.append(_enlarged(self.fuse[number](smaller), enlarge))
            if self.training:
                sides.append(self._logits(_enlarged(self.sides[number](smaller), enlarge)))
        logits = self._logits(torch.stack(main).sum(0))
        return (logits, *sides) if self.training else logits

    def _logits(self, scores: Tensor) -> Tensor:
        """Return logits ``(B, K, H, W)``, or ``(B, K, out_slices, H, W)``, from scores of all classes and slices."""
        by_slice = scores.unflatten(1, (-1, self.out_slices))
        logits = torch.cat([torch.zeros_like(by_slice[:, :1]), by_slice], dim=1)
        return logits if self.training and self.out_slices > 1 else logits[:, :, self.out_slices // 2]


def _enlarged(scores: Tensor, factor: float) -> Tensor:
    return functional.interpolate(scores, scale_factor=factor, mode="bilinear")


def _initialise_small(module: nn.Module) -> None:
    """Draw small weights, as the original does for all layers that do not come from VGG16; for ``apply``."""
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, std=0.001)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
