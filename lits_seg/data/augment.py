"""Augment whole batches at random, on the device that trains.

This is the implementation that training uses: a batch takes a few tensor operations, on CPU and GPU. ``augment_monai``
is the reference that it is tested against; it takes its settings and their defaults from the classes here.

A transform is called as ``(images (B, C, H, W) float32 in [0, 1], labels (B, H, W), generator)``, with a generator of
the images' device, and returns images and labels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

from lits_seg.common.errors import InputError


@dataclass(frozen=True)
class RotateZoomBend:
    """Rotation, zoom and elastic deformation in one interpolation (paper, V.B); the outside is air.

    Image values are interpolated linearly; labels are taken from the nearest pixel.

    Args:
        rotate: largest angle in degrees, both ways.
        zoom: largest relative change of scale, both ways, of each axis.
        bend_spacing: distance of the elastic grid's nodes, as a share of the side (not stated in the paper).
        bend_magnitude: range of the nodes' displacement, as a share of the side (not stated in the paper).
        probability: share of the samples that are changed.
        crop: side in pixels of a piece that replaces the whole slice, in the same interpolation; None: whole slices.
        crop_on: shares of the pieces around any pixel, a liver pixel, a lesion pixel. A slice without lesion gives a
            piece with liver; a slice without liver gives any piece.
    """

    rotate: float = 180.0
    zoom: float = 0.2
    bend_spacing: float = 0.125
    bend_magnitude: tuple[float, float] = (0.0, 0.02)
    probability: float = 1.0
    crop: int | None = None
    crop_on: tuple[float, float, float] = (0.3, 0.4, 0.3)

    def __call__(self, images: Tensor, labels: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Return images ``(B, C, H, W)`` and labels ``(B, H, W)`` of the given type; with ``crop``, H = W = crop.

        Args:
            images: ``(B, C, H, W)``.
            labels: ``(B, H, W)``.
            generator: draws the changes; of the images' device.

        Raises:
            InputError: if ``crop`` is larger than the images.
        """
        if self.crop and self.crop > min(labels.shape[1:]):
            raise InputError("augment.crop", f"at most the images' side, {min(labels.shape[1:])} px", self.crop)
        grid = self._grid(labels, _Draws(len(images), generator))
        moved = functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        # In single precision label values stay exact.
        nearest = functional.grid_sample(labels[:, None].float(), grid, mode="nearest", align_corners=False)
        return moved, nearest[:, 0].to(labels.dtype)

    def _grid(self, labels: Tensor, draw: "_Draws") -> Tensor:
        """Draw each pixel's origin, ``(B, h, w, 2)`` as (x, y); the slice's outer edges are at -1 and 1."""
        side = torch.tensor(labels.shape[:0:-1], device=labels.device)  # W, H
        height, width = (self.crop, self.crop) if self.crop else labels.shape[1:]
        rows, columns = (torch.arange(n, device=labels.device) - (n - 1) / 2 for n in (height, width))
        place = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
        bent = place + self._bend(height, width, max(labels.shape[1:]), draw)
        largest = math.radians(self.rotate)
        angle = draw.between(-largest, largest)
        cos, sin = angle.cos(), angle.sin()
        scale_x, scale_y = draw.around_one(self.zoom), draw.around_one(self.zoom)
        matrix = torch.stack([cos * scale_x, -sin * scale_y, sin * scale_x, cos * scale_y], dim=-1)
        moved = torch.einsum("bij,bhwj->bhwi", matrix.view(-1, 2, 2), bent)
        chosen = draw.chance(self.probability)[:, None, None, None]
        centre = self._centre(labels, draw)[:, None, None] if self.crop else side / 2
        return (centre + torch.where(chosen, moved, place)) * 2 / side - 1

    def _bend(self, height: int, width: int, side: int, draw: "_Draws") -> Tensor:
        """Draw displacements ``(B, h, w, 2)`` in pixels: normal at evenly spaced nodes, bicubic in between."""
        spacing = self.bend_spacing * side
        nodes = [math.ceil(n / spacing) + 4 for n in (height, width)]
        magnitude = side * draw.between(*self.bend_magnitude)
        offsets = magnitude[:, None, None, None] * draw.normal(2, *nodes)
        full = [round(count * spacing) for count in nodes]
        field = functional.interpolate(offsets, full, mode="bicubic", align_corners=False)
        top, left = (full[0] - height) // 2, (full[1] - width) // 2
        return field[..., top : top + height, left : left + width].permute(0, 2, 3, 1)

    def _centre(self, labels: Tensor, draw: "_Draws") -> Tensor:
        """Draw each piece's centre, ``(B, 2)`` as (x, y): around a pixel of the drawn class, within the slice."""
        assert self.crop is not None
        height, width = labels.shape[1:]
        shares = torch.tensor(self.crop_on, device=labels.device).cumsum(0)
        wanted = torch.searchsorted(shares / shares[-1], draw.between(0.0, 1.0))
        flat = labels.flatten(1)
        rank = (flat >= torch.minimum(wanted, flat.amax(1))[:, None]).cumsum(1).float()
        pick = (1 + draw.between(0.0, 1.0) * (rank[:, -1] - 1)).round()
        pixel = torch.searchsorted(rank, pick[:, None])[:, 0]
        centre = torch.stack([pixel % width, pixel // width], dim=-1) + 0.5
        centre = centre + torch.stack([draw.between(-0.25, 0.25) for _ in range(2)], dim=-1) * self.crop
        limits = torch.tensor([width, height], device=labels.device) - self.crop / 2
        return torch.minimum(centre.clamp(min=self.crop / 2), limits)


@dataclass(frozen=True)
class ScannerVariety(RotateZoomBend):
    """``RotateZoomBend``, then the differences between scanners: contrast, offset, sharpness, noise.

    Args:
        gamma: range of the contrast's exponent.
        shift: largest offset of the grey values, of [0, 1].
        noise: largest standard deviation of the added noise, of [0, 1]; equalization amplifies a scan's own noise.
        blur: range of the Gaussian's sigma in pixels.
        intensity_probability: share of the samples that each of the four changes.
    """

    gamma: tuple[float, float] = (0.6, 1.6)
    shift: float = 0.1
    noise: float = 0.2
    blur: tuple[float, float] = (0.3, 1.0)
    intensity_probability: float = 0.4

    def __call__(self, images: Tensor, labels: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """As ``RotateZoomBend``; the images may leave [0, 1] a little."""
        images, labels = super().__call__(images, labels, generator)
        draw = _Draws(len(images), generator)
        for change in (self._contrast, self._offset, self._smooth, self._noise):
            chosen = draw.chance(self.intensity_probability)[:, None, None, None]
            images = torch.where(chosen, change(images, draw), images)
        return images, labels

    def _contrast(self, images: Tensor, draw: "_Draws") -> Tensor:
        lowest = images.amin((1, 2, 3), keepdim=True)
        span = images.amax((1, 2, 3), keepdim=True) - lowest
        exponent = draw.between(*self.gamma)[:, None, None, None]
        return ((images - lowest) / (span + 1e-7)) ** exponent * span + lowest

    def _offset(self, images: Tensor, draw: "_Draws") -> Tensor:
        return images + draw.between(-self.shift, self.shift)[:, None, None, None]

    def _smooth(self, images: Tensor, draw: "_Draws") -> Tensor:
        for axis in (-1, -2):
            images = _gaussian(images, draw.between(*self.blur), axis, reach=math.ceil(4 * self.blur[1]))
        return images

    def _noise(self, images: Tensor, draw: "_Draws") -> Tensor:
        return images + draw.between(0.0, self.noise)[:, None, None, None] * draw.normal(*images.shape[1:])


class _Draws:
    """Random numbers, one row per sample."""

    def __init__(self, samples: int, generator: Generator) -> None:
        self.samples, self.generator = samples, generator

    def between(self, low: float, high: float) -> Tensor:
        uniform = torch.rand(self.samples, generator=self.generator, device=self.generator.device)
        return low + (high - low) * uniform

    def around_one(self, reach: float) -> Tensor:
        return self.between(1 - reach, 1 + reach)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(self.samples, *shape, generator=self.generator, device=self.generator.device)

    def chance(self, probability: float) -> Tensor:
        return self.between(0.0, 1.0) < probability


def _gaussian(images: Tensor, sigma: Tensor, axis: int, reach: int) -> Tensor:
    """Smooth each sample by its own ``sigma`` in pixels; the kernel is the Gaussian's integral over each pixel."""
    batch, channels, height, width = images.shape
    edges = torch.arange(-reach, reach + 2, device=images.device) - 0.5
    integral = torch.erf(edges / (sigma[:, None] * math.sqrt(2)))
    kernel = integral.diff(dim=-1)
    kernel = (kernel / kernel.sum(-1, keepdim=True)).repeat_interleave(channels, dim=0)
    shape: Sequence[int] = (1, -1) if axis == -1 else (-1, 1)
    weights = kernel.view(batch * channels, 1, *shape)
    flat = images.reshape(1, batch * channels, height, width)
    return functional.conv2d(flat, weights, padding="same", groups=batch * channels).view_as(images)
