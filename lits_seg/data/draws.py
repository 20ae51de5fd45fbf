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

    def between(self, low: float, high: float) -> Tensor:
        """Draw uniform numbers ``(B,)`` between two limits."""
        uniform = torch.rand(self.samples, generator=self.generator, device=self.generator.device)
        return low + (high - low) * uniform

    def around_one(self, reach: float) -> Tensor:
        """Draw uniform numbers ``(B,)`` from 1 - reach to 1 + reach."""
        return self.between(1 - reach, 1 + reach)

    def normal(self, *shape: int) -> Tensor:
        """Draw normal numbers ``(B, *shape)`` of mean 0 and standard deviation 1."""
        return torch.randn(self.samples, *shape, generator=self.generator, device=self.generator.device)

    def chance(self, probability: float) -> Tensor:
        """Draw booleans ``(B,)`` that are true with a probability."""
        return self.between(0.0, 1.0) < probability
