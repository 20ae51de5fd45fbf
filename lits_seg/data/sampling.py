"""What the loaders draw from: which slices, in which order, with which seed."""

from collections.abc import Iterator, Sequence
from itertools import accumulate

import numpy as np
import torch
from monai.transforms import Compose
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from lits_seg.data.slices import StoredCase
from lits_seg.errors import InputError


class SeededSampler(Sampler[tuple[int, int]]):
    """Deals out ``(index, seed)``: which slice, and the seed of its augmentation.

    Both follow from the run's seed, the epoch and the place in the epoch alone. So they are the same whatever
    the number of workers and after a resume, and differ between epochs and ranks.
    """

    def __init__(
        self,
        has_lesion: Sequence[bool],
        count: int | None,
        lesion_share: float | None,
        seed: int,
        rank: int,
        world: int,
    ) -> None:
        self.lesion = torch.tensor(has_lesion)
        self.count, self.seed, self.rank, self.world = count or len(has_lesion), seed, rank, world
        self.epoch = 0
        self.weights: Tensor | None = None
        if lesion_share is not None:
            lesions = int(self.lesion.sum())
            if not 0 < lesions < len(self.lesion):
                raise InputError(
                    "data.lesion_share",
                    "training slices with and without lesion",
                    f"{lesions} of {len(self.lesion)}",
                )
            without = (1 - lesion_share) / (len(self.lesion) - lesions)
            self.weights = torch.where(self.lesion, lesion_share / lesions, without)

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count // self.world

    def __iter__(self) -> Iterator[tuple[int, int]]:
        generator = torch.Generator().manual_seed(
            int(np.random.SeedSequence([self.seed, self.epoch]).generate_state(1)[0])
        )
        if self.weights is not None:
            indices = torch.multinomial(self.weights, self.count, replacement=True, generator=generator)
        else:
            rounds = -(-self.count // len(self.lesion))
            indices = torch.cat([torch.randperm(len(self.lesion), generator=generator) for _ in range(rounds)])
        seeds = torch.randint(2**31, (self.count,), generator=generator)
        for place in range(self.rank, len(self) * self.world, self.world):
            yield int(indices[place]), int(seeds[place])


class TrainingSlices(Dataset):
    """Slices of the training patients with a part of the anatomy; indexed by ``(index, seed)``."""

    def __init__(self, cases: Sequence[StoredCase], slices: str, augment: Compose | None) -> None:
        self.cases, self.augment = cases, augment
        pixels = {
            "all": lambda case: [1] * len(case),
            "liver": lambda case: case.liver_pixels,
            "lesion": lambda case: case.lesion_pixels,
        }[slices]
        self.places = [(case, i) for case in cases for i, count in enumerate(pixels(case)) if count]
        self.has_lesion = [case.lesion_pixels[i] > 0 for case, i in self.places]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, drawn: tuple[int, int]) -> dict[str, Tensor]:
        index, seed = drawn
        case, i = self.places[index]
        sample = {
            "image": _image(case, i),
            "label": torch.from_numpy(case.labels[i][None].astype(np.float32)),
        }
        if self.augment is not None:
            self.augment.set_random_state(seed=seed)
            sample = self.augment(sample)
        return {
            "image": torch.as_tensor(sample["image"]).as_subclass(Tensor),
            "label": torch.as_tensor(sample["label"]).as_subclass(Tensor)[0].long(),
        }


class EvaluationSlices(Dataset):
    """Every slice of the given patients, as it is."""

    def __init__(self, cases: Sequence[StoredCase]) -> None:
        self.cases = cases
        self.starts = [0, *accumulate(len(case) for case in cases)]

    def batches(self, size: int) -> list[list[int]]:
        """Indices in batches that hold slices of one patient, since patients differ in their slices' shape."""
        return [
            list(range(i, min(i + size, stop)))
            for start, stop in zip(self.starts, self.starts[1:], strict=False)
            for i in range(start, stop, size)
        ]

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, index: int) -> dict[str, Tensor | int]:
        number = int(np.searchsorted(self.starts, index, side="right")) - 1
        case, i = self.cases[number], index - self.starts[number]
        return {
            "image": _image(case, i),
            "label": torch.from_numpy(case.labels[i].astype(np.int64)),
            "truth": torch.from_numpy(case.truth(i)),
            "case": number,
            "slice": i,
        }


def _image(case: StoredCase, i: int) -> Tensor:
    return torch.from_numpy(case.images[i][None].astype(np.float32) / 255)
