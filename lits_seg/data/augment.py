"""Augment whole batches at random, on the training device.

Training uses this implementation by default: a few tensor operations transform a batch, on CPU or GPU. The tests
compare it with the reference, ``augment_monai``, which takes its settings and defaults from the classes below.

Transforms are called as ``transform(images, labels, generator)``: images ``(B, C, H, W)`` float32 in [0, 1], labels
``(B, H, W)``, and a random generator on the images' device. They return the new images and labels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Self

import torch
from annotated_types import Ge, Gt, Le
from torch import Generator, Tensor
from torch.nn import functional

from lits_seg.common.errors import InputError
from lits_seg.common.settings import Probability, Share
from lits_seg.common.stages import at_stage, require_stages
from lits_seg.data.drawn_lesions import DrawnLesions
from lits_seg.data.draws import Draws, random_pixel

Positive = Annotated[float, Gt(0), Le(10)]
Side = Annotated[int, Ge(1), Le(2048)]


@dataclass(frozen=True)
class RotateZoomBend:
    """A random rotation, zoom and elastic deformation in a single interpolation (paper, V.B).

    Images are interpolated linearly, labels by nearest neighbour. Pixels from outside the image become 0 (air).

    Args:
        rotate: largest angle in degrees, in both directions.
        zoom: largest relative change of scale, in both directions, drawn for each axis.
        bend_spacing: distance between nodes of the elastic grid, as a share of the side (not stated in the paper).
        bend_magnitude: range of the nodes' displacement, as a share of the side (not stated in the paper).
        probability: probability that a sample is transformed.
        crop: side in pixels of a crop that replaces the whole slice, in the same interpolation; None: whole slices.
        crop_on: shares of the crops around any pixel, around a pixel of liver or lesion, and around a lesion pixel. If
            the slice has no lesion, the crop falls back to the liver; if it has no liver, to any pixel.
        lesions: draws synthetic lesions into livers, after the geometry; None: no synthetic lesions.
        stages: progressive crops instead of ``crop``: from each share of the run on, the side of the crops.

    Raises:
        InputError: if ``stages`` do not ascend from 0, or if there is a ``crop`` as well.
    """

    rotate: Annotated[float, Ge(0), Le(360)] = 180.0
    zoom: Share = 0.2
    bend_spacing: Annotated[float, Ge(0.005), Le(1)] = 0.125
    bend_magnitude: tuple[Probability, Probability] = (0.0, 0.02)
    probability: Probability = 1.0
    crop: Side | None = None
    crop_on: tuple[Probability, Probability, Probability] = (0.3, 0.4, 0.3)
    lesions: DrawnLesions | None = None
    stages: Sequence[tuple[Share, Side]] = ()

    def __post_init__(self) -> None:
        _require_order("augment.bend_magnitude", self.bend_magnitude)
        if not sum(self.crop_on) > 0:
            raise InputError("augment.crop_on", "three shares, at least one of them above 0", list(self.crop_on))
        if self.stages:
            require_stages("augment.stages", self.stages, "side")
            if self.crop is not None:
                raise InputError(
                    "augment.crop", "null with augment.stages, which have the sides of the crops", self.crop
                )

    def at(self, progress: float) -> Self:
        """Return the augmentation at a share of the run in [0, 1]: with the crop of that stage."""
        return replace(self, crop=at_stage(self.stages, progress), stages=()) if self.stages else self

    def __call__(self, images: Tensor, labels: Tensor, generator: Generator, *maps: Tensor) -> tuple[Tensor, ...]:
        """Transform a batch.

        Args:
            images: ``(B, C, H, W)``, float32 in [0, 1].
            labels: ``(B, H, W)``, or ``(B, N, H, W)`` of several slices, of any type.
            generator: source of the random numbers, on the images' device.
            maps: further maps ``(B, N, H, W)`` of the slices, such as probabilities, which move as the images do, but
                keep their values. They become NaN, unknown, where synthetic lesions are drawn.

        Returns:
            Images, labels and maps of the same types and shapes; with ``crop``, H = W = ``crop``.

        Raises:
            InputError: if ``crop`` is larger than the images.
        """
        if self.crop and self.crop > min(labels.shape[-2:]):
            raise InputError("augment.crop", f"at most the images' side, {min(labels.shape[-2:])} px", self.crop)
        single = labels.dim() == 3
        grid = self._grid(labels if single else labels[:, labels.shape[1] // 2], Draws(len(images), generator))
        moved, *given = (
            functional.grid_sample(values, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
            for values in (images, *maps)
        )
        # grid_sample requires floats; small whole numbers stay exact in single precision.
        given_labels = (labels[:, None] if single else labels).float()
        nearest = functional.grid_sample(given_labels, grid, mode="nearest", align_corners=False)
        found = (nearest[:, 0] if single else nearest).to(labels.dtype)
        if not self.lesions:
            return moved, found, *given
        moved, drawn = self.lesions(moved, found, generator)
        changed = (drawn != found)[:, None]
        return moved, drawn, *(values.masked_fill(changed, torch.nan) for values in given)

    def _grid(self, labels: Tensor, draw: Draws) -> Tensor:
        """Draw the source position of each pixel, ``(B, h, w, 2)`` as (x, y); the slice's edges are at -1 and 1."""
        height, width = (self.crop, self.crop) if self.crop else labels.shape[1:]
        side = torch.tensor(labels.shape[:0:-1], device=labels.device)  # W, H
        nodes = self._nodes(height, width, max(labels.shape[1:]), draw)
        largest = math.radians(self.rotate)
        angle = draw.between(-largest, largest)
        cos, sin = angle.cos(), angle.sin()
        scale_x, scale_y = draw.around_one(self.zoom), draw.around_one(self.zoom)
        matrix = torch.stack([cos * scale_x, -sin * scale_y, sin * scale_x, cos * scale_y], dim=-1).view(-1, 2, 2)
        chosen = draw.chance(self.probability)[:, None, None]
        centre = self._centre(labels, draw) if self.crop else (side / 2).expand(len(labels), 2)
        # The matrix applies to the few nodes instead of all pixels; the interpolation between nodes is linear in them.
        nodes = torch.where(chosen, matrix @ nodes.flatten(2), 0).view_as(nodes) * (2 / side)[:, None, None]
        bend = self._between(nodes, height, width, max(labels.shape[1:]))
        # The part of each row and of each column is computed first: only the sums take all pixels.
        across, down = (torch.where(chosen, matrix, torch.eye(2, device=labels.device)) * 2 / side[:, None]).unbind(-1)
        columns, rows = (torch.arange(n, device=labels.device) - (n - 1) / 2 for n in (width, height))
        start = (centre * 2 / side - 1)[..., None] + down[..., None] * rows
        return (bend + start[..., None] + (across[..., None] * columns)[..., None, :]).permute(0, 2, 3, 1)

    def _nodes(self, height: int, width: int, side: int, draw: Draws) -> Tensor:
        """Draw the displacements of evenly spaced nodes, ``(B, 2, rows, columns)`` in pixels: normal numbers."""
        spacing = self.bend_spacing * side
        magnitude = side * draw.between(*self.bend_magnitude)
        return magnitude[:, None, None, None] * draw.normal(2, *(math.ceil(n / spacing) + 4 for n in (height, width)))

    def _between(self, nodes: Tensor, height: int, width: int, side: int) -> Tensor:
        """Interpolate the nodes' displacements to all pixels, ``(B, 2, h, w)``: bicubic."""
        rows, columns = (
            _bicubic(count, round(count * self.bend_spacing * side), n, nodes.device)
            for count, n in zip(nodes.shape[2:], (height, width), strict=True)
        )
        return rows @ nodes @ columns.T

    def _centre(self, labels: Tensor, draw: Draws) -> Tensor:
        """Draw the centre of each crop, ``(B, 2)`` as (x, y): near a pixel of the drawn class, inside the slice."""
        assert self.crop is not None
        height, width = labels.shape[1:]
        shares = torch.tensor(self.crop_on, device=labels.device).cumsum(0)
        wanted = torch.searchsorted(shares / shares[-1], draw.between(0.0, 1.0))
        inside = labels >= torch.minimum(wanted, labels.amax((1, 2)))[:, None, None]
        centre = random_pixel(inside, draw) + 0.5
        centre = centre + torch.stack([draw.between(-0.25, 0.25) for _ in range(2)], dim=-1) * self.crop
        limits = torch.tensor([width, height], device=labels.device) - self.crop / 2
        return torch.minimum(centre.clamp(min=self.crop / 2), limits)


@dataclass(frozen=True)
class ScannerVariety(RotateZoomBend):
    """``RotateZoomBend``, followed by differences between scanners: contrast, offset, sharpness and noise.

    Args:
        gamma: range of the exponent of the contrast change.
        shift: largest offset of the grey values, in both directions, on the scale [0, 1].
        noise: largest standard deviation of the added noise, on the scale [0, 1]. The default is large because
            histogram equalization amplifies a scan's own noise.
        blur: range of the Gaussian's sigma in pixels.
        intensity_probability: probability of each of the four changes, drawn for each sample.
    """

    gamma: tuple[Positive, Positive] = (0.6, 1.6)
    shift: Probability = 0.1
    noise: Probability = 0.2
    blur: tuple[Positive, Positive] = (0.3, 1.0)
    intensity_probability: Probability = 0.4

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_order("augment.gamma", self.gamma)
        _require_order("augment.blur", self.blur)

    def __call__(self, images: Tensor, labels: Tensor, generator: Generator, *maps: Tensor) -> tuple[Tensor, ...]:
        """Transform a batch as ``RotateZoomBend`` does, then change its grey values, which may leave [0, 1] slightly.

        Args:
            images: ``(B, C, H, W)``, float32 in [0, 1].
            labels: ``(B, H, W)``, of any type.
            generator: source of the random numbers, on the images' device.
            maps: see ``RotateZoomBend``.
        """
        images, labels, *moved = super().__call__(images, labels, generator, *maps)
        draw = Draws(len(images), generator)
        for change in (self._contrast, self._offset, self._smooth, self._noise):
            chosen = draw.chance(self.intensity_probability)[:, None, None, None]
            images = torch.where(chosen, change(images, draw), images)
        return images, labels, *moved

    def _contrast(self, images: Tensor, draw: Draws) -> Tensor:
        lowest = images.amin((1, 2, 3), keepdim=True)
        span = images.amax((1, 2, 3), keepdim=True) - lowest
        exponent = draw.between(*self.gamma)[:, None, None, None]
        return ((images - lowest) / (span + 1e-7)) ** exponent * span + lowest

    def _offset(self, images: Tensor, draw: Draws) -> Tensor:
        return images + draw.between(-self.shift, self.shift)[:, None, None, None]

    def _smooth(self, images: Tensor, draw: Draws) -> Tensor:
        for axis in (-1, -2):
            images = _gaussian(images, draw.between(*self.blur), axis, reach=math.ceil(4 * self.blur[1]))
        return images

    def _noise(self, images: Tensor, draw: Draws) -> Tensor:
        return images + draw.between(0.0, self.noise)[:, None, None, None] * draw.normal(*images.shape[1:])


def _require_order(key: str, limits: Sequence[float]) -> None:
    if not limits[0] <= limits[1]:
        raise InputError(key, "[lowest, highest]", list(limits))


@lru_cache(maxsize=16)
def _bicubic(nodes: int, length: int, part: int, device: torch.device) -> Tensor:
    """Return the matrix ``(part, nodes)`` that interpolates nodes to ``length`` values and keeps the middle part."""
    one_hot = torch.eye(nodes, device=device)[None, :, :, None]
    weights = functional.interpolate(one_hot, (length, 1), mode="bicubic", align_corners=False)[0, :, :, 0].T
    first = (length - part) // 2
    return weights[first : first + part].contiguous()


def _gaussian(images: Tensor, sigma: Tensor, axis: int, reach: int) -> Tensor:
    """Smooth each sample of ``(B, C, H, W)`` along one axis; the kernel is the Gaussian's integral over each pixel.

    Args:
        images: ``(B, C, H, W)``.
        sigma: in pixels, ``(B,)``.
        axis: -1 or -2.
        reach: half the kernel's length in pixels.
    """
    batch, channels, height, width = images.shape
    edges = torch.arange(-reach, reach + 2, device=images.device) - 0.5
    integral = torch.erf(edges / (sigma[:, None] * math.sqrt(2)))
    kernel = integral.diff(dim=-1)
    kernel = (kernel / kernel.sum(-1, keepdim=True)).repeat_interleave(channels, dim=0)
    shape: Sequence[int] = (1, -1) if axis == -1 else (-1, 1)
    weights = kernel.view(batch * channels, 1, *shape)
    flat = images.reshape(1, batch * channels, height, width)
    return functional.conv2d(flat, weights, padding="same", groups=batch * channels).view_as(images)
