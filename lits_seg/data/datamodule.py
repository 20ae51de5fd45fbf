"""Streams slices from the store to the trainer."""

from collections.abc import Callable
from pathlib import Path

import pytorch_lightning as pl
import torch
from monai.transforms import Compose
from torch.utils.data import DataLoader

from lits_seg.data import phantom
from lits_seg.data.preprocess import Preprocess
from lits_seg.data.sampling import EvaluationSlices, SeededSampler, TrainingSlices
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
