"""Draw synthetic lesions into the livers of training slices, so that scans with liver labels alone teach lesions."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

from lits_seg.common.errors import InputError
from lits_seg.data.draws import Draws, random_pixel
from lits_seg.data.sampling import LIVER_OR_LESION


@dataclass(frozen=True)
class DrawnLesions:
    """Draw soft-edged lesions into real livers, which keep their own noise and vessels.

    A lesion is a blob with a wavy outline, whose grey values differ from the liver around it by a contrast, a
    texture and, in large lesions, a dark core or a rim. The difference is added to the image: the liver's own noise
    remains. Pixels that are no liver, or a real lesion, do not change. All sizes are shares of the side of the slice
    before cropping, since spacings are unknown to the network, too: a side is some 350 mm.

    Args:
        probability: probability that a sample with liver receives lesions.
        most: largest number of lesions in a sample; the number is drawn uniformly from 1.
        radius: range of the radius; the logarithm is uniform, so that most lesions are small.
        contrast: range of the contrast to the liver, on the scale [0, 1] of the images.
        bright: share of lesions that are brighter than the liver.
        side: side of the slices before cropping in pixels; None: that of the images.

    Raises:
        InputError: if a range is empty or reaches beyond its limits.
    """

    probability: float = 0.5
    most: int = 3
    radius: tuple[float, float] = (0.008, 0.08)
    contrast: tuple[float, float] = (0.05, 0.25)
    bright: float = 0.06
    side: int | None = None

    def __post_init__(self) -> None:
        for name in ("radius", "contrast"):
            low, high = getattr(self, name)
            if not 0 < low <= high < 1:
                raise InputError(f"augment.lesions.{name}", "two ascending numbers between 0 and 1", [low, high])
        if self.most < 1:
            raise InputError("augment.lesions.most", "a whole number, at least 1", self.most)

    def __call__(self, images: Tensor, labels: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Draw lesions into a batch.

        Args:
            images: ``(B, C, H, W)``, float32 in [0, 1]; neighbouring slices receive the same lesion, smaller.
            labels: ``(B, H, W)``: 0 background, 1 liver, 2 lesion, or ``LIVER_OR_LESION``.
            generator: source of the random numbers, on the images' device.

        Returns:
            Images and labels of the same types and shapes, with the drawn lesions labelled 2.
        """
        liver = (labels == 1) | (labels == LIVER_OR_LESION)
        draw = Draws(len(images), generator)
        chosen = draw.chance(self.probability) & liver.flatten(1).any(1)
        number = draw.between(1, self.most + 1).floor()
        plain, images, labels = images, images.clone(), labels.clone()
        for turn in range(self.most):
            some = (chosen & (turn < number)).nonzero()[:, 0]  # most samples receive fewer lesions than the most
            if not len(some):
                break
            share, difference = self._lesion(images[some], liver[some], Draws(len(some), generator))
            share = share * liver[some][:, None]
            # Where lesions overlap, the later lesion replaces the earlier: contrasts do not add up.
            images[some] = images[some].lerp(plain[some] + difference, share)
            labels[some] = torch.where(share[:, images.shape[1] // 2] > 0.5, 2, labels[some])
        return images, labels

    def _lesion(self, images: Tensor, liver: Tensor, draw: Draws) -> tuple[Tensor, Tensor]:
        """Draw a lesion's share of each pixel, ``(B, C, H, W)``, and its difference to the liver, ``(B, 1, H, W)``."""
        channels, height, width = images.shape[1:]
        low, high = (math.log(limit) for limit in self.radius)
        radius = draw.between(low, high).exp() * (self.side or width)
        centre = random_pixel(liver, draw)
        angle, stretch = draw.between(0, math.pi), draw.between(-0.3, 0.3).exp()
        # The position in radii along both axes of the ellipse. Factors apply to rows and columns, not to all pixels.
        across = (torch.arange(width, device=images.device) - centre[:, :1])[:, None]
        down = (torch.arange(height, device=images.device) - centre[:, 1:])[..., None]
        cos, sin, long, short = (
            value[:, None, None] for value in (angle.cos(), angle.sin(), stretch / radius, 1 / (stretch * radius))
        )
        along = cos * long * across - sin * long * down
        beside = sin * short * across + cos * short * down
        waves = _smooth_noise(height, width, radius, draw)
        # The limits keep the outline in one piece.
        outline = (1 + draw.between(0.1, 0.45)[:, None, None] * waves).clamp(0.5, 1.8)
        squared = (along.square() + beside.square()) * outline
        # Neighbouring slices cut the ball nearer to its pole; slices are some 0.3 to 0.8 radii of a small lesion apart.
        apart = (torch.arange(channels, device=images.device) - channels // 2)[:, None, None].abs()
        pole = (apart * draw.between(0.0, 0.5)[:, None, None, None]).square()
        distance = (squared[:, None] + pole).sqrt()
        softness = draw.between(0.1, 0.5)[:, None, None, None]
        share = ((1 - distance) / softness + 0.5).clamp(0, 1)
        share = share * share * (3 - 2 * share)
        return share, self._difference(distance[:, channels // 2], waves, draw)[:, None]

    def _difference(self, distance: Tensor, waves: Tensor, draw: Draws) -> Tensor:
        """Draw grey values relative to the liver, ``(B, H, W)``, from each pixel's distance in radii."""
        contrast = draw.between(*self.contrast)[:, None, None]
        sign = torch.where(draw.chance(self.bright), 0.7, -1.0)[:, None, None]
        uneven = 1 + draw.between(0.0, 0.3)[:, None, None] * waves
        core = (draw.between(0.0, 0.5) * draw.chance(0.3))[:, None, None] * (distance < 0.6)
        rim = (draw.between(0.5, 1.2) * draw.chance(0.12))[:, None, None] * (distance > 0.8)
        return sign * contrast * (uneven + core - rim)


def _smooth_noise(height: int, width: int, radius: Tensor, draw: Draws) -> Tensor:
    """Draw noise ``(B, H, W)`` of mean 0 that varies over about a radius."""
    nodes = draw.normal(1, 16, 16)
    # The grid's 16 nodes span 8 radii; its mirrored copies continue it.
    across, down = ((torch.arange(n, device=radius.device) - n / 2) / (4 * radius[:, None]) for n in (width, height))
    grid = torch.stack(torch.broadcast_tensors(across[:, None], down[..., None]), dim=-1)
    return functional.grid_sample(nodes, grid, mode="bilinear", padding_mode="reflection", align_corners=False)[:, 0]
