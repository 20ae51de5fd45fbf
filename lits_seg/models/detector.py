"""A detector of lesions in windows, and a network whose lesions it confirms (Bellver et al., 2017)."""

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le, Len, Lt
from monai.networks.nets import ResNet
from torch import Tensor, nn
from torch.nn import functional

from lits_seg.common.errors import InputError
from lits_seg.common.settings import Count, CountOrZero, Width
from lits_seg.models.cascade import Cascade, middle_slices

MEANS = (104.01, 116.67, 122.68)  # of ImageNet's three channels, in grey values 0 to 255
UNLIKELY = 30.0  # how far the logit of a removed lesion is below the others
Side = Annotated[int, Ge(1), Le(2048)]
Border = Annotated[int, Ge(0), Le(2048)]
FourWidths = Annotated[Sequence[Width], Len(4, 4)]


class Detector(nn.Module):
    """A ResNet-50 that detects lesions in windows: cells of the liver's box, each with its surroundings.

    ``forward`` maps windows ``(N, C, h, w)`` to logits ``(N, 2, h, w)``, which are the same for all pixels of a window.
    It sees the middle slice alone. With one output for both classes, the network has 23,510,081 parameters.

    The cells tile the box of a slice's liver from its upper left corner. Cells whose window is not inside the image,
    or that hold little liver, do not count.

    Args:
        in_channels: slices in an image.
        out_channels: 2 classes: without and with lesion.
        cell: side of a cell in pixels.
        around: pixels that a window shows on each side of its cell, at most ``cell``.
        margin: pixels by which the liver's box is widened on each side, at most ``cell``.
        liver_pixels: a cell counts if it has more pixels of liver, with lesions.
        lesion_pixels: a window is one with lesion if its cell has more lesion pixels.
        threshold: a lesion is found if its probability is greater.
        windows: windows in a training batch, half of them with lesion, as far as the slices have as many.
        layers: blocks in each of the four levels of the ResNet.
        widths: inner channels of the blocks in each level.

    Attributes:
        pretrained: see ``AnySize``.

    Raises:
        InputError: if ``around`` or ``margin`` is larger than ``cell``.
    """

    pretrained = ("trunk",)
    means: Tensor

    def __init__(
        self,
        in_channels: Width = 1,
        out_channels: Literal[2] = 2,
        cell: Side = 50,
        around: Border = 15,
        margin: Border = 25,
        liver_pixels: CountOrZero = 625,
        lesion_pixels: CountOrZero = 50,
        threshold: Annotated[float, Gt(0), Lt(1)] = 0.33,
        windows: Annotated[Count, Ge(2)] = 64,
        layers: FourWidths = (3, 4, 6, 3),
        widths: FourWidths = (64, 128, 256, 512),
    ) -> None:
        super().__init__()
        for name, value in (("around", around), ("margin", margin)):
            if value > cell:  # the windows of an image would take more memory than the image by any factor
                raise InputError(f"model.{name}", f"at most model.cell ({cell})", value)
        self.cell, self.around, self.margin = cell, around, margin
        self.liver_pixels, self.lesion_pixels, self.windows = liver_pixels, lesion_pixels, windows
        self.least_logit = math.log(threshold / (1 - threshold))
        self.trunk = ResNet(
            "bottleneck", list(layers), list(widths), 2, 3, conv1_t_stride=2, feed_forward=False, bias_downsample=False
        )
        self.score = nn.Linear(4 * widths[-1], 1)
        self.register_buffer("means", torch.tensor(MEANS).view(1, 3, 1, 1), persistent=False)

    def forward(self, windows: Tensor) -> Tensor:
        """Map ``(N, C, h, w)`` to logits ``(N, 2, h, w)``."""
        logits = functional.pad(self.logit(windows)[:, None], (1, 0))
        return logits[:, :, None, None].expand(-1, -1, *windows.shape[-2:])

    def logit(self, windows: Tensor) -> Tensor:
        """Return the logit of a lesion in each window, ``(N,)``."""
        grey = windows[:, windows.shape[1] // 2, None] * 255
        return self.score(self.trunk(grey - self.means))[:, 0]

    def draw(self, images: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Draw a training batch of windows, all mirrored and rotated alike, by one of 8 views.

        Args:
            images: ``(B, C, H, W)``.
            label: LiTS labels ``(B, H, W)``; a liver whose lesions are unknown has another label, and no windows.

        Returns:
            Windows ``(N, 1, h, w)`` and their labels ``(N, h, w)``: 2 with lesion, else 1. There is always a window.
        """
        liver, lesion = (label == 1) | (label == 2), label == 2
        cells = self._cells(liver)
        pixels = self._pixels(liver, *cells).flatten()
        positive = self._pixels(lesion, *cells).flatten() > self.lesion_pixels
        # If no cell of the batch has enough liver, the one with most counts: a step needs a window.
        counts = pixels > pixels.max().clamp(max=self.liver_pixels + 1) - 1
        chosen = _some(counts & positive, self.windows // 2)
        chosen = torch.cat([chosen, _some(counts & ~positive, max(1, len(chosen)))])
        windows = self._cut(images[:, images.shape[1] // 2], *cells, self.around).flatten(0, 2)[chosen, None]
        view = int(torch.randint(8, ()))
        windows = torch.rot90(windows.flip(-1) if view >= 4 else windows, view % 4, (-2, -1))
        labels = torch.where(positive[chosen], 2, 1)
        return windows, labels[:, None, None].expand(-1, *windows.shape[-2:])

    def found(self, images: Tensor, liver: Tensor) -> Tensor:
        """Return whether each pixel is in a window with a lesion, ``(B, H, W)``; a pixel may be in several windows.

        Args:
            images: slices ``(B, H, W)``.
            liver: mask of the liver ``(B, H, W)``.
        """
        rows, columns = self._cells(liver)
        counts = self._pixels(liver, rows, columns) > self.liver_pixels
        windows = self._cut(images, rows, columns, self.around).flatten(0, 2)[:, None]
        lesion = counts.flatten()
        if images.is_meta or torch.compiler.is_exporting():  # how many windows count is not known
            lesion = lesion & (self.logit(windows) > self.least_logit)
        elif lesion.any():
            lesion = lesion.masked_scatter(lesion, self.logit(windows[lesion]) > self.least_logit)
        (row, in_rows), (column, in_columns) = (
            self._cell_of(starts, length) for starts, length in zip((rows, columns), images.shape[1:], strict=True)
        )
        cells = _at(lesion.view_as(counts), row[:, :, None], column[:, None])
        cells = cells & in_rows[:, :, None] & in_columns[:, None]
        # A window holds the pixels of its cell and those around it.
        side = 2 * self.around + 1
        wide = functional.max_pool2d(cells[:, None].float(), (side, 1), 1, (self.around, 0))
        return functional.max_pool2d(wide, (1, side), 1, (0, self.around))[:, 0] > 0

    def _cells(self, liver: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first row ``(B, n)`` and the first column ``(B, m)`` of the cells, some outside the image."""
        least = self.cell + 2 * self.around
        if min(liver.shape[1:]) < least:
            raise InputError("model.cell", f"windows that fit into images of {tuple(liver.shape[1:])} pixels", least)
        return self._starts(liver.any(2)), self._starts(liver.any(1))

    def _starts(self, used: Tensor) -> Tensor:
        count = (used.shape[1] - self.around + self.margin) // self.cell
        first = used.int().argmax(1) - self.margin
        return first[:, None] + self.cell * torch.arange(count, device=used.device)

    def _inside(self, starts: Tensor, length: int) -> Tensor:
        """Return the nearest starts of cells whose windows are in the image."""
        return starts.clamp(self.around, length - self.around - self.cell)

    def _cell_of(self, starts: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Return the number of each row's or column's cell, and whether it has one, ``(B, length)``."""
        offset = torch.arange(length, device=starts.device) - starts[:, :1]
        number = offset.clamp(min=0) // self.cell
        return number.clamp(max=starts.shape[1] - 1), (offset >= 0) & (number < starts.shape[1])

    def _pixels(self, mask: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the pixels of a mask in each cell, ``(B, n, m)``; -1 if the cell's window is not in the image."""
        in_rows, in_columns = (
            starts == self._inside(starts, length)
            for starts, length in zip((rows, columns), mask.shape[1:], strict=True)
        )
        pixels = self._cut(mask, rows, columns, 0).sum((-2, -1))
        return torch.where(in_rows[:, :, None] & in_columns[:, None], pixels, -1)

    def _cut(self, values: Tensor, rows: Tensor, columns: Tensor, around: int) -> Tensor:
        """Return the values ``(B, n, m, h, w)`` in all cells, with the pixels around them."""
        offsets = torch.arange(-around, self.cell + around, device=values.device)
        row = self._inside(rows, values.shape[1])[:, :, None, None, None] + offsets[:, None]
        column = self._inside(columns, values.shape[2])[:, None, :, None, None] + offsets
        return _at(values, row, column)


class DetectorCascade(Cascade):
    """A network for livers and lesions, whose weights are fixed, and a detector that confirms its lesions.

    In evaluation, ``forward`` returns the network's logits. Where the detector finds no lesion in the predicted liver,
    the lesion's probability becomes 0, and its pixels belong to the liver. In training, ``forward`` maps windows that
    ``Detector.draw`` has drawn to the detector's logits.

    The arguments are those of ``Cascade``: ``liver`` is the network, with 3 classes, and ``lesion`` the detector.
    """

    lesion: Detector

    def forward(self, images: Tensor) -> Tensor:
        """Map ``(B, in_channels, H, W)`` to ``(B, 3, H, W)``; in training, map windows to the detector's logits."""
        if self.training:
            return self.lesion(images)
        logits = self.liver(middle_slices(images, self.channels[0]))
        background, liver = logits[:, 0], logits[:, 1:].amax(1)
        found = self.lesion.found(images[:, images.shape[1] // 2], liver > background)
        removed = torch.stack([background, liver, torch.maximum(background, liver) - UNLIKELY], dim=1)
        return torch.where(found[:, None], logits, removed)


def _at(values: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the values ``(B, H, W)`` at rows and columns ``(B, …)``; a gather, which every runtime has."""
    places = rows * values.shape[2] + columns
    return values.flatten(1).gather(1, places.flatten(1)).view(places.shape)


def _some(mask: Tensor, count: int) -> Tensor:
    """Return at most ``count`` random positions of a mask ``(N,)``."""
    places = mask.nonzero()[:, 0]
    return places[torch.randperm(len(places), device=mask.device)[:count]]
