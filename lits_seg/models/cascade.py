"""A liver network and a lesion network in sequence, as a single network (Christ et al., 2017; Bellver et al., 2017)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Self

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

from lits_seg.common.errors import InputError
from lits_seg.common.settings import Width
from lits_seg.models.folding import for_inference

LEAST = 60 / 388  # smallest side of a box that is enlarged, as a share of the image's (Christ et al.)
Margin = Annotated[int, Ge(0), Le(4096)]


class Cascade(nn.Module):
    """A network for the liver, whose weights are fixed, and a network for lesions within the predicted liver.

    In evaluation, ``forward`` returns logits of background, liver and lesion, by which a pixel is lesion if both
    networks say so, and liver if only the first does. In training, it returns what the lesion network returns.

    Args:
        liver: network of the liver, for images with ``liver_channels`` slices and 2 classes, or 3 with lesions.
        lesion: network of the lesions, with 2 classes, or 3 with the liver.
        liver_channels: slices in the images of the liver network, the middle ones.
        lesion_channels: slices in the images of the lesion network, the middle ones.
        in_channels: slices in an image.
        out_channels: number of classes of the cascade.
        trained_classes: number of classes of the lesion network.
        margin: the lesion network sees the box around the predicted liver of a slice, widened by this number of pixels;
            the rest of the image is 0. None: it sees the whole image.
        enlarge: whether the box is enlarged to the size of the image, and the logits are reduced again (Christ et al.).

    Raises:
        InputError: if ``enlarge`` is given without ``margin``.
    """

    def __init__(
        self,
        liver: nn.Module,
        lesion: nn.Module,
        liver_channels: Width,
        lesion_channels: Width,
        in_channels: Width,
        out_channels: Width = 3,
        trained_classes: Width = 2,
        margin: Margin | None = None,
        enlarge: bool = False,
    ) -> None:
        super().__init__()
        if enlarge and margin is None:
            raise InputError("liver_enlarge", "liver_margin as well, such as 0", "null")
        self.liver, self.lesion = liver.requires_grad_(False).eval(), lesion
        self.channels = (liver_channels, lesion_channels)
        self.in_channels, self.out_channels, self.trained_classes = in_channels, out_channels, trained_classes
        self.margin, self.enlarge = margin, enlarge
        self.out_slices = int(getattr(lesion, "out_slices", 1))
        self.liver_seen: Tensor | None = None  # the liver's logit in the last training images, if `forward` needed it

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the lesion network; the liver network is always in evaluation."""
        super().train(mode)
        self.liver.eval()
        return self

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Map ``(B, in_channels, H, W)`` to ``(B, 3, H, W)``; in training, to the lesion network's logits."""
        if self.training and self.margin is None:
            return self.lesion(middle_slices(images, self.channels[1]))
        with torch.no_grad():
            liver = self.liver_logit(images)
        if self.training:
            self.liver_seen = liver
        seen = middle_slices(images, self.channels[1])
        if self.margin is not None:
            rows, columns = (_between((liver > 0).any(axis), self.margin) for axis in (2, 1))
            seen = seen * (rows[:, None, :, None] & columns[:, None, None, :])
        logits = self._enlarged(seen, rows, columns) if self.enlarge else self.lesion(seen)
        if self.training:
            return logits
        # In 16 bits, the sum of both stages would lose the lesion's logit.
        logits = logits.float()
        lesion = logits[:, -1] - logits[:, :-1].amax(1)
        # The lesion has the largest logit if and only if both logits are positive.
        return torch.stack([torch.zeros_like(liver), liver, liver.relu() + torch.minimum(lesion, liver)], dim=1)

    def _enlarged(self, seen: Tensor, rows: Tensor, columns: Tensor) -> Any:
        """Return what the lesion network returns for a box that is enlarged to the image, at the place of the box.

        Args:
            seen: images ``(B, C, H, W)``.
            rows: whether a row is in the box, ``(B, H)``; no row: the box is the image.
            columns: whether a column is in the box, ``(B, W)``.
        """
        places = [_places(rows), _places(columns)]
        logits = self.lesion(_resampled(seen, *(enlarging for enlarging, _ in places)))
        reducing = [back for _, back in places]
        if isinstance(logits, tuple):
            return tuple(_resampled(one, *reducing) for one in logits)
        return _resampled(logits, *reducing)

    def liver_logit(self, images: Tensor) -> Tensor:
        """Return a logit ``(B, H, W)`` that is positive where the liver or its lesions are predicted."""
        logits = self.liver(middle_slices(images, self.channels[0])).float()
        return logits[:, 1:].amax(1) - logits[:, 0]

    @torch.no_grad()
    def outside_liver(self, images: Tensor, logits: Tensor) -> Tensor:
        """Return ``(B, H, W)``: where the liver is not predicted, after ``forward`` has mapped images to logits."""
        if not self.training:
            return logits[:, 1:].amax(1) <= logits[:, 0]
        return (self.liver_logit(images) if self.liver_seen is None else self.liver_seen) <= 0

    @contextmanager
    def hidden_liver(self) -> Iterator[None]:
        """Hide the liver network from ``modules()`` in a block that resets the statistics of all batch norms."""
        whole = self._modules
        self.__dict__["liver"], self._modules = self.liver, {"lesion": self.lesion}
        try:
            yield
        finally:
            del self.__dict__["liver"]
            self._modules = whole

    def for_inference(self, int8: bool) -> "Cascade":
        """Rewrite both networks, see ``models.for_inference``."""
        self.liver, self.lesion = for_inference(self.liver, int8), for_inference(self.lesion, int8)
        return self


def learned_part(network: nn.Module) -> nn.Module:
    """Return the part of a network whose weights are trained: of a cascade, its lesion network."""
    return network.lesion if isinstance(network, Cascade) else network


def middle_slices(images: Tensor, channels: int) -> Tensor:
    """Return the middle ``channels`` slices of images ``(B, C, H, W)``."""
    first = (images.shape[1] - channels) // 2
    return images[:, first : first + channels]


def _between(used: Tensor, margin: int) -> Tensor:
    """Return ``(B, N)``: whether a row is at most ``margin`` rows from, or between, the used rows."""
    wide = nn.functional.max_pool1d(used.float()[:, None], 2 * margin + 1, 1, margin)[:, 0]
    return (wide.cumsum(1) > 0) & (wide.flip(1).cumsum(1).flip(1) > 0)


def _places(used: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each row of the enlarged box its position in the image, and the reverse, both ``(B, N)`` in pixels.

    Args:
        used: whether a row of the image is in the box, ``(B, N)``.
    """
    count = used.shape[1]
    first, end = used.int().argmax(1), count - used.flip(1).int().argmax(1)
    scale = ((end - first) / count).clamp(min=LEAST)[:, None]
    start = ((first + end) / 2)[:, None] - scale * count / 2
    middles = torch.arange(count, device=used.device) + 0.5
    return start + middles * scale - 0.5, ((middles - start) / scale - 0.5).clamp(0, count - 1)


def _resampled(values: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Interpolate linearly, by matrix products, which every runtime has; outside, values are 0.

    Args:
        values: ``(B, …, H, W)``.
        rows: positions of the new rows, ``(B, H)``.
        columns: positions of the new columns, ``(B, W)``.
    """
    down, across = (
        (1 - (places[:, :, None] - torch.arange(places.shape[1], device=places.device)).abs()).relu()
        for places in (rows, columns)
    )
    flat = values.flatten(1, -3)
    return (down[:, None] @ flat @ across[:, None].transpose(2, 3)).view_as(values)
