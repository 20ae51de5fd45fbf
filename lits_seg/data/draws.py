"""Draw random numbers for the samples of a batch."""

import torch
from torch import Generator, Tensor


class Draws:
    """A source of random numbers, drawn independently for each sample of a batch.

    Args:
        samples: number of samples, B.
        generator: source of the random numbers, on the device of the results.
    """

    def __init__(self, samples: int, generator: Generator) -> None:
        self.samples, self.generator = samples, generator

    @property
    def device(self) -> torch.device:
        """Return the device of the results."""
        return self.generator.device

    def between(self, low: float, high: float) -> Tensor:
        """Draw uniform numbers ``(B,)`` between two limits."""
        uniform = torch.rand(self.samples, generator=self.generator, device=self.device)
        return low + (high - low) * uniform

    def around_one(self, reach: float) -> Tensor:
        """Draw uniform numbers ``(B,)`` from 1 - reach to 1 + reach."""
        return self.between(1 - reach, 1 + reach)

    def normal(self, *shape: int) -> Tensor:
        """Draw normal numbers ``(B, *shape)`` of mean 0 and standard deviation 1."""
        return torch.randn(self.samples, *shape, generator=self.generator, device=self.device)

    def chance(self, probability: float) -> Tensor:
        """Draw booleans ``(B,)`` that are true with a probability."""
        return self.between(0.0, 1.0) < probability


def random_pixel(inside: Tensor, draw: Draws) -> Tensor:
    """Draw a pixel of each mask uniformly: first its row, by the pixels in each row, then the pixel in the row.

    Args:
        inside: masks ``(B, H, W)``; every mask has at least one pixel.
        draw: source of the random numbers.

    Returns:
        Positions ``(B, 2)`` as (x, y) in pixels, float32.
    """
    by_row = inside.sum(2, dtype=torch.int32).cumsum(1)  # in 64 bits, the sum takes a dozen times as long
    pick = (draw.between(0.0, 1.0) * by_row[:, -1]).long().clamp(max=by_row[:, -1] - 1) + 1
    row = torch.searchsorted(by_row, pick[:, None])[:, 0]
    samples = torch.arange(len(inside), device=inside.device)
    before = by_row[samples, row] - inside[samples, row].sum(1)
    column = torch.searchsorted(inside[samples, row].cumsum(1), (pick - before)[:, None])[:, 0]
    return torch.stack([column, row], dim=-1).float()
