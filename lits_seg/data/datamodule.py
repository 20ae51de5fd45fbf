"""Streams slices from the store to the trainer."""

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from monai.transforms import Compose
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from lits_seg.data import phantom
from lits_seg.data.preprocess import Preprocess
from lits_seg.data.slices import StoredCase, store_cases
from lits_seg.data.splits import Split, split_patients
from lits_seg.data.volumes import find_cases
from lits_seg.errors import InputError

SLICES = ("all", "liver", "lesion")


class SliceDataModule(pl.LightningDataModule):
    """Slices for training, whole patients, slice by slice, for validation and test.

    Training batches: ``image`` ``(B, 1, size, size)`` float32 in [0, 1] and ``label`` ``(B, size, size)``,
    0/1/2. Validation and test batches hold slices of one patient and add ``truth`` ``(B, H, W)`` uint8, the
    labels at the volume's own resolution, ``case`` and ``slice`` ``(B,)``.

    Args:
        root: folder with volumes, in LiTS or MSD layout.
        store: folder for pre-processed slices; made and kept up to date by itself.
        preprocess: from HU to the network's images.
        augment: transform of training samples, or None.
        generate: called with ``root`` before anything else; makes the phantom. None for data from elsewhere.
        test_root: test on the volumes of this folder instead of the held-out fold.
        folds, fold, val_share, split_seed: see ``split_patients``.
        slices: which training slices are used: all, those with liver, or those with lesion.
        lesion_share: expected share of slices with lesion in a training batch; None: as they come.
        slices_per_epoch: training slices in an epoch; None: as many as there are.
        batch_size, eval_batch_size: slices in a batch, on each device.
        workers: loader processes; also threads that fill the store.
        seed: of the order and the augmentation.
    """

    def __init__(
        self,
        root: str | Path,
        store: str | Path,
        preprocess: Preprocess,
        augment: Compose | None = None,
        generate: Callable[[Path], object] | None = None,
        test_root: str | Path | None = None,
        folds: int = 4,
        fold: int = 0,
        val_share: float = 0.15,
        split_seed: int = 0,
        slices: str = "all",
        lesion_share: float | None = None,
        slices_per_epoch: int | None = None,
        batch_size: int = 16,
        eval_batch_size: int = 16,
        workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if slices not in SLICES:
            raise InputError("data.slices", f"one of {', '.join(SLICES)}", slices)
        if lesion_share is not None and not 0 < lesion_share < 1:
            raise InputError("data.lesion_share", "between 0 and 1, or null", lesion_share)
        self.root, self.store = Path(root), Path(store)
        self.test_root = None if test_root is None else Path(test_root)
        self.preprocess, self.augment, self.generate = preprocess, augment, generate
        self.folds, self.fold, self.val_share, self.split_seed = folds, fold, val_share, split_seed
        self.slices, self.lesion_share, self.slices_per_epoch = slices, lesion_share, slices_per_epoch
        self.batch_size, self.eval_batch_size, self.workers = batch_size, eval_batch_size, workers
        self.seed = seed
        self.split: Split = {}

    def prepare_data(self) -> None:
        """Makes the phantom if asked to, and fills the store; on one process a machine."""
        if self.generate is not None:
            self.generate(self.root)
        for root in (self.root, self.test_root):
            if root is not None:
                self._stored(root)

    def setup(self, stage: str | None = None) -> None:
        """Splits the patients. For a test on ``test_root`` alone, ``root`` is not asked for."""
        if self.test_root:
            self.split["test"] = self._stored(self.test_root)
        if "train" in self.split or (stage == "test" and self.test_root):
            return
        split = split_patients(
            self._stored(self.root),
            folds=self.folds,
            fold=self.fold,
            val_share=self.val_share,
            seed=self.split_seed,
        )
        self.split = {**split, **self.split}

    def _stored(self, root: Path) -> list[StoredCase]:
        return store_cases(find_cases(root), self.preprocess, self.store, self.workers)

    @property
    def synthetic(self) -> bool:
        """Whether the test patients are a phantom's."""
        return ((self.test_root or self.root) / phantom.DESCRIPTION).exists()

    def label_counts(self) -> list[int]:
        """Pixels of background, liver and lesion in the training patients' slices."""
        train = self.split["train"]
        lesion = sum(sum(case.lesion_pixels) for case in train)
        liver = sum(sum(case.liver_pixels) for case in train) - lesion
        return [sum(len(case) for case in train) * self.preprocess.size**2 - liver - lesion, liver, lesion]

    def train_dataloader(self) -> DataLoader:
        """Augmented slices of the training patients, in an order drawn anew each epoch."""
        slices = TrainingSlices(self.split["train"], self.slices, self.augment)
        if not len(slices):
            raise InputError(self.root, f"training slices with {self.slices}", "none")
        sampler = SeededSampler(slices.has_lesion, self.slices_per_epoch, self.lesion_share, self.seed, *self._rank())
        return DataLoader(
            slices,
            self.batch_size,
            sampler=sampler,
            # A last batch of one slice would leave batch norm without statistics.
            drop_last=len(sampler) >= self.batch_size,
            **self._loading(),
        )

    def val_dataloader(self) -> DataLoader:
        """All slices of the validation patients."""
        return self._evaluation("val")

    def test_dataloader(self) -> DataLoader:
        """All slices of the test patients."""
        return self._evaluation("test")

    def _evaluation(self, part: str) -> DataLoader:
        slices = EvaluationSlices(self.split[part])
        rank, world = self._rank()
        # Every rank needs a batch; none is repeated, since a repeated slice would count twice.
        size = min(self.eval_batch_size, max(1, len(slices) // world))
        batches = slices.batches(size)[rank::world]
        return DataLoader(slices, batch_sampler=batches, **self._loading())

    def _rank(self) -> tuple[int, int]:
        trainer = self.trainer
        return (trainer.global_rank, trainer.world_size) if trainer else (0, 1)

    def _loading(self) -> dict:
        return {
            "num_workers": self.workers,
            "persistent_workers": self.workers > 0,
            "pin_memory": torch.cuda.is_available(),
        }


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
