"""Select slices for the loaders, draw their order, and assign the seeds of their augmentation."""

from collections.abc import Iterator, Sequence
from itertools import accumulate

import numpy as np
import torch
from monai.transforms import Compose
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from lits_seg.common.errors import InputError
from lits_seg.data.stored_case import StoredCase

LIVER_OR_LESION = 3  # label of a liver whose lesions are not labelled; the loss ignores its pixels


class SeededSampler(Sampler[tuple[int, int]]):
    """A sampler of pairs ``(index, seed)``: a slice and the seed of its augmentation.

    Both depend only on the run's seed, the epoch and the position in the epoch. Therefore they do not change with the
    number of workers or when a run is resumed, and they differ between epochs and ranks.

    Args:
        has_lesion: whether each slice has a lesion.
        count: slices in an epoch, over all ranks; None: all slices.
        lesion_share: share of slices with lesion in every batch, within one slice; None: not controlled.
        seed: seed of the run.
        rank: index of this process.
        world: number of processes.
        patients: number of each slice's patient, if every patient shall have the same share of the slices of each kind,
            however long its scan is; None: every slice has the same share.
        groups: number of each slice's data set; None: a single data set.
        shares: share of each data set. A data set without slices of a kind leaves its share of them to the others.

    Raises:
        InputError: if ``lesion_share`` is set and all slices, or no slices, have a lesion.
    """

    def __init__(
        self,
        has_lesion: Sequence[bool],
        count: int | None,
        lesion_share: float | None,
        seed: int,
        rank: int,
        world: int,
        patients: Sequence[int] | None = None,
        groups: Sequence[int] | None = None,
        shares: Sequence[float] = (1.0,),
    ) -> None:
        self.patients = None if patients is None else torch.tensor(patients)
        self.groups = torch.zeros(len(has_lesion), dtype=torch.long) if groups is None else torch.tensor(groups)
        self.shares = torch.tensor(shares, dtype=torch.double)
        self.lesion = torch.tensor(has_lesion)
        self.count, self.lesion_share = count or len(has_lesion), lesion_share
        self.seed, self.rank, self.world = seed, rank, world
        self.epoch = 0
        lesions = int(self.lesion.sum())
        if lesion_share is not None and not 0 < lesions < len(self.lesion):
            found = f"{lesions} of {len(self.lesion)}"
            raise InputError("data.lesion_share", "training slices with and without lesion", found)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; the trainer calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count // self.world

    def __iter__(self) -> Iterator[tuple[int, int]]:
        state = np.random.SeedSequence([self.seed, self.epoch]).generate_state(1)
        generator = torch.Generator().manual_seed(int(state[0]))
        if self.lesion_share is None:
            indices = self._draw(torch.arange(len(self.lesion)), self.count, generator)
        else:
            # Slices with and without lesion are interleaved evenly on every rank, so that each batch has the share.
            turn = torch.arange(self.count, dtype=torch.double) // self.world
            share = self.lesion_share
            lesion = ((turn + 1) * share + 1e-6).floor() > (turn * share + 1e-6).floor()
            indices = torch.empty(self.count, dtype=torch.long)
            for kind in (True, False):
                places = lesion == kind
                indices[places] = self._draw((self.lesion == kind).nonzero()[:, 0], int(places.sum()), generator)
        seeds = torch.randint(2**31, (self.count,), generator=generator)
        for place in range(self.rank, len(self) * self.world, self.world):
            yield int(indices[place]), int(seeds[place])

    def _draw(self, slices: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Draw ``count`` of some slices, from each data set by its share."""
        owner = self.groups[slices]
        present = owner.unique()
        if len(present) == 1:  # no turns are drawn: the order is that of a training on this data set alone
            return self._draw_patients(slices, count, generator)
        ends = (self.shares[present].cumsum(0) / self.shares[present].sum() * count).round().long()
        turns = torch.searchsorted(ends, torch.randperm(count, generator=generator), right=True)
        drawn = torch.empty(count, dtype=torch.long)
        for number, group in enumerate(present):
            places = turns == number
            drawn[places] = self._draw_patients(slices[owner == group], int(places.sum()), generator)
        return drawn

    def _draw_patients(self, slices: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Draw ``count`` of some slices; the patients take turns if they shall have the same share."""
        if self.patients is None:
            return _deal(slices, count, generator)
        owner = self.patients[slices]
        turns = _deal(owner.unique(), count, generator)
        drawn = torch.empty(count, dtype=torch.long)
        for patient in owner.unique():
            places = turns == patient
            drawn[places] = _deal(slices[owner == patient], int(places.sum()), generator)
        return drawn


class TrainingSlices(Dataset):
    """Slices of the training patients, selected by anatomy and indexed by ``(index, seed)``.

    Args:
        cases: the patients.
        slices: ``all`` slices, those with ``liver``, or those with ``lesion``.
        augment: augmentation of single samples; None: no augmentation.
        context: slices in an image, centred on the labelled slice; the first and last slice are repeated at the ends.
        resident: return positions for ``ResidentSlices`` instead of images.
        label_context: number of middle slices whose labels are returned; 1: ``(size, size)``, without that dimension.
    """

    def __init__(
        self,
        cases: Sequence[StoredCase],
        slices: str,
        augment: Compose | None,
        context: int = 1,
        resident: bool = False,
        label_context: int = 1,
    ) -> None:
        self.cases, self.augment, self.context, self.resident = cases, augment, context, resident
        self.label_context = label_context
        pixels = {
            "all": lambda case: [1] * len(case),
            "liver": lambda case: case.liver_pixels,
            "lesion": lambda case: case.lesion_pixels,
        }[slices]
        starts = accumulate((len(case) for case in cases), initial=0)
        numbered = list(enumerate(zip(cases, starts, strict=False)))
        kept = [(n, case, start, i) for n, (case, start) in numbered for i in range(len(case)) if pixels(case)[i]]
        self.places = [(case, i) for _, case, _, i in kept]
        self.patients = [number for number, *_ in kept]
        self.flat = [start + i for *_, start, i in kept]
        self.has_lesion = [case.lesion_pixels[i] > 0 for case, i in self.places]
        self.maps = max((len(case.maps) for case in cases), default=0)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, drawn: tuple[int, int]) -> dict[str, Tensor | int]:
        index, seed = drawn
        case, i = self.places[index]
        more: dict[str, Tensor | int] = {"seed": seed}
        if self.maps:
            more["maps"] = _maps(case, i, self.maps)
        if self.resident:
            return {"place": self.flat[index], **more}
        image, label = _image(case, i, self.context), _training_labels(case, i, self.label_context)
        if self.augment is None:
            return {"image": image, "label": label, **more}
        self.augment.set_random_state(seed=seed)
        sample = self.augment({"image": image.float() / 255, "label": label.view(-1, *image.shape[1:]).float()})
        return {
            "image": torch.as_tensor(sample["image"]).as_subclass(Tensor),
            "label": torch.as_tensor(sample["label"]).as_subclass(Tensor).byte().squeeze(0),
            **more,
        }


class ResidentSlices:
    """All slices of some patients on a device, as uint8: 131 kB per slice of 256² pixels with its labels.

    Args:
        cases: the patients.
        context: slices in an image, as for ``TrainingSlices``.
        device: device that holds the slices.
        label_context: number of middle slices with labels, as for ``TrainingSlices``.
    """

    def __init__(self, cases: Sequence[StoredCase], context: int, device: torch.device, label_context: int = 1) -> None:
        # Copied case by case, so that the whole store is never in main memory.
        self.images, self.labels = (
            torch.cat([torch.from_numpy(np.array(part(case))).to(device) for case in cases])
            for part in (lambda case: case.images, lambda case: _training_label(case, slice(None)))
        )
        lengths = torch.tensor([len(case) for case in cases])
        ends = lengths.cumsum(0)
        self.first = (ends - lengths).repeat_interleave(lengths).to(device)
        self.last = (ends - 1).repeat_interleave(lengths).to(device)
        self.offsets = torch.arange(context, device=device) - context // 2
        margin = (context - label_context) // 2
        self.labelled = slice(margin, margin + label_context)

    def __call__(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return images ``(B, context, size, size)`` and labels as ``TrainingSlices``, at positions ``(B,)``."""
        around = (places[:, None] + self.offsets).maximum(self.first[places, None]).minimum(self.last[places, None])
        labels = self.labels[around[:, self.labelled]]
        return self.images[around], labels[:, 0] if labels.shape[1] == 1 else labels


class EvaluationSlices(Dataset):
    """All slices of some patients, without augmentation.

    Args:
        cases: the patients.
        context: slices in an image, as for ``TrainingSlices``.
    """

    def __init__(self, cases: Sequence[StoredCase], context: int = 1) -> None:
        self.cases, self.context = cases, context
        self.starts = list(accumulate((len(case) for case in cases), initial=0))

    def batches(self, size: int) -> list[list[int]]:
        """Return batches of at most ``size`` indices; each has a single patient, since slice shapes differ."""
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
            "image": _image(case, i, self.context),
            "label": torch.from_numpy(case.labels[i].copy()),
            "truth": torch.from_numpy(case.truth(i)),
            "pixel_mm": torch.tensor(case.pixel_mm),
            "case": number,
            "slice": i,
        }


def _deal(indices: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw ``count`` indices, which may be 0, without replacement; reshuffle when all have been drawn."""
    rounds = max(1, -(-count // len(indices)))
    return torch.cat([indices[torch.randperm(len(indices), generator=generator)] for _ in range(rounds)])[:count]


def _around(case: StoredCase, i: int, context: int) -> np.ndarray:
    """Return the numbers of a slice and its neighbours; the first and last slice are repeated at the ends."""
    return np.clip(np.arange(context) + i - context // 2, 0, len(case) - 1)


def _image(case: StoredCase, i: int, context: int) -> Tensor:
    return torch.from_numpy(case.images[_around(case, i, context)])


def _training_labels(case: StoredCase, i: int, context: int) -> Tensor:
    return torch.from_numpy(_training_label(case, i if context == 1 else _around(case, i, context)))


def _maps(case: StoredCase, i: int, count: int) -> Tensor:
    """Read the probability maps of a slice; NaN, unknown, if the case has none."""
    if case.maps:
        return torch.from_numpy(case.probability(i))
    return torch.full((count, *case.labels.shape[1:]), torch.nan, dtype=torch.float16)


def _training_label(case: StoredCase, i: int | slice | np.ndarray) -> np.ndarray:
    """Read labels of the network's images; a liver whose lesions are unknown becomes ``LIVER_OR_LESION``."""
    label = np.array(case.labels[i])
    if not case.lesions_known:
        label[label == 1] = LIVER_OR_LESION
    return label
