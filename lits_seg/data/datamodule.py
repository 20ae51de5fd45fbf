"""Load slices from the store for training, validation and test."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pytorch_lightning as pl
import torch
from annotated_types import Ge, Gt, Le, Lt
from monai.transforms import Compose
from torch import Generator
from torch.utils.data import DataLoader

from lits_seg.common.errors import InputError
from lits_seg.common.settings import BatchSize, Place, Seed, Share, Workers, arguments, require_fits
from lits_seg.data.augment import RotateZoomBend
from lits_seg.data.copies import require_apart
from lits_seg.data.data_sets import DataSets, SplitSettings
from lits_seg.data.layouts import is_phantom
from lits_seg.data.named_splits import count_folds, read_split
from lits_seg.data.preprocess import Preprocess
from lits_seg.data.sampling import EvaluationSlices, ResidentSlices, SeededSampler, TrainingSlices
from lits_seg.data.sources import Source, by_composed_name, require_livers, require_shares, require_slices
from lits_seg.data.split_record import SplitRecord
from lits_seg.data.splits import PARTS, Split

# Arguments that are no plain values.
OBJECTS = ("root", "store", "test_root", "preprocess", "augment", "generate", "sources", "recorded", "trained_on")


class SliceDataModule(pl.LightningDataModule):
    """Load augmented slices for training, and all slices of each patient for validation and test.

    The network receives batches with ``image`` ``(B, context, size, size)`` float32 in [0, 1] and ``label``
    ``(B, size, size)``, 0/1/2. Each batch for validation or test has slices of a single patient. It adds ``truth``
    ``(B, H, W)`` uint8, the labels at the volume's own resolution, their ``pixel_mm`` ``(B, 2)`` along H and W, and
    ``case`` and ``slice``, both ``(B,)``. The loaders return 8-bit images, which are converted to float and augmented
    on the device.

    Args:
        root: folder with volumes, in the layout of LiTS, MSD or nnU-Net.
        store: folder of the slice store, which is filled and updated automatically.
        preprocess: converts HU to the network's images.
        augment: augmentation of training slices: by batches on the device (``augment``), one by one in the loader
            (``augment_monai``), or None.
        generate: function that writes volumes into ``root`` before it is read; None: ``root`` already has volumes.
        test_root: folder with volumes to test on, instead of the held-out fold.
        folds: see ``split_patients``.
        fold: see ``split_patients``.
        val_share: see ``split_patients``.
        split_seed: the ``seed`` of ``split_patients``.
        split: ``folds``, or another split of ``root``, see ``named_split``.
        slices: training slices to use: ``all``, those with ``liver``, or those with ``lesion``.
        lesion_share: share of slices with lesion in every training batch; None: not controlled.
        balance_patients: draw slices so that every patient has the same share, however long its scan is.
        context: 1, 3 or 5 neighbouring slices as the image's channels (2.5-D).
        label_context: number of middle slices whose labels training batches have, for networks that return logits of
            several slices: odd, at most ``context``. If it is not 1, ``label`` is ``(B, label_context, size, size)``.
        device_resident: keep the training slices on the device, for GPUs that are faster than the loaders.
        slices_per_epoch: training slices in an epoch; None: all slices.
        batch_size: slices in a training batch, on each device.
        eval_batch_size: slices in a batch for validation and test, on each device.
        workers: number of loader processes, and of threads that fill the store.
        on_error: reaction to an unusable case: ``stop`` the run, or ``skip`` the case with a warning.
        seed: seed of the order of slices and of the augmentation.
        sources: further data sets to train on, by name; None: ``root`` alone.
        recorded: the content of a run's ``split.json``, whose patients are used again; None: split anew.
        trained_on: patients that may not be tested, if another run's network is tested on ``test_root``: their
            fingerprints by part and name, from that run's ``split.json``.
        allow_overlap: warn if two parts of the split share a patient, instead of raising an error.

    Attributes:
        inherited: the patients that networks have seen which the training starts from or learns from, see
            ``SplitRecord``. The callbacks that bring these networks note them.

    Raises:
        InputError: if a setting is invalid.
    """

    def __init__(
        self,
        root: Place | Path,
        store: Place | Path,
        preprocess: Preprocess,
        augment: Compose | RotateZoomBend | None = None,
        generate: Callable[[Path], object] | None = None,
        test_root: Place | Path | None = None,
        folds: Annotated[int, Ge(2), Le(1000)] = 4,
        fold: Annotated[int, Ge(0), Lt(1000)] = 0,
        val_share: Share | None = 0.15,
        split_seed: Seed = 0,
        split: Place = "folds",
        slices: Literal["all", "liver", "lesion"] = "all",
        lesion_share: Annotated[float, Gt(0), Lt(1)] | None = None,
        balance_patients: bool = False,
        context: Annotated[int, Ge(1), Le(5)] = 1,
        label_context: Annotated[int, Ge(1), Le(5)] = 1,
        device_resident: bool = False,
        slices_per_epoch: Annotated[int, Ge(1), Le(10_000_000)] | None = None,
        batch_size: BatchSize = 16,
        eval_batch_size: BatchSize = 16,
        workers: Workers = 2,
        on_error: Literal["stop", "skip"] = "stop",
        seed: Seed = 0,
        sources: Mapping[str, Source] | None = None,
        recorded: Mapping[str, Any] | None = None,
        trained_on: Mapping[str, Mapping[str, str]] | None = None,
        allow_overlap: bool = False,
    ) -> None:
        super().__init__()
        given = locals()
        plain = {name: kind for name, kind in arguments(SliceDataModule).items() if name not in OBJECTS}
        require_fits("data.", plain, given)
        if context % 2 == 0:
            raise InputError("data.context", "1, 3 or 5 slices", context)
        if label_context % 2 == 0 or label_context > context:
            raise InputError("data.label_context", f"an odd number, at most data.context ({context})", label_context)
        if label_context > 1 and getattr(augment, "lesions", None):
            raise InputError("augment.lesions", "null, since these are drawn for one slice's labels", "drawn lesions")
        if not fold < folds:
            raise InputError("data.fold", f"one of 0 to {folds - 1} (data.folds={folds})", fold)
        if device_resident and isinstance(augment, Compose):
            found = "augmentation one by one"
            raise InputError("data.device_resident", "augmentation by batches, or no augmentation", found)
        self.root, self.test_root = Path(root), None if test_root is None else Path(test_root)
        self.preprocess, self.augment, self.generate = preprocess, augment, generate
        self.folds, self.fold, self.val_share = folds, fold, val_share
        self.slices, self.lesion_share, self.slices_per_epoch = slices, lesion_share, slices_per_epoch
        self.batch_size, self.eval_batch_size, self.workers = batch_size, eval_batch_size, workers
        self.balance_patients, self.context, self.label_context = balance_patients, context, label_context
        self.device_resident, self.seed, self.allow_overlap = device_resident, seed, allow_overlap
        self.sources = by_composed_name(sources or {})
        require_shares(self.sources, self.root)
        self.recorded = None if recorded is None else SplitRecord.parse(recorded)
        self.inherited = {} if self.recorded is None else dict(self.recorded.inherited)
        if self.recorded is not None:
            self.recorded.require_each_once(one_set=test_root is None)
        elif self.test_root is not None and trained_on is None and not allow_overlap:
            require_apart(self.root, self.test_root)
        self.data_sets = DataSets(
            root=self.root,
            test_root=self.test_root,
            sources=self.sources,
            store=Path(store),
            preprocess=preprocess,
            workers=workers,
            skip=on_error == "skip",
            new_split=SplitSettings(split, folds, fold, val_share, split_seed),
            recorded=self.recorded,
            trained_on=trained_on or {},
            allow_overlap=allow_overlap,
        )
        self.split: Split = {}
        self._resident: ResidentSlices | None = None

    def prepare_data(self) -> None:
        """Generate the volumes if requested, and fill the store. Lightning calls this in one process per machine."""
        if self.generate is not None:
            self.generate(self.root)
        self.data_sets.prepare()

    def setup(self, stage: str | None = None) -> None:
        """Split the patients, after ``prepare_data``. ``root`` is not read if the stage is a test on ``test_root``."""
        if self.test_root is not None and "test" not in self.split:
            self.split["test"] = self.data_sets.tested()
        if "train" not in self.split and not (stage == "test" and self.test_root):
            self.split = {**self.data_sets.split(), **self.split}
            self.data_sets.require_no_leak(self.split)
        if self.recorded is not None:
            used = ["test"] if stage == "test" else PARTS
            self.recorded.require_unchanged({part: self.split[part] for part in used})

    @property
    def synthetic(self) -> bool:
        """Return whether test patients are synthetic, all or some."""
        if self.test_root is not None:
            return is_phantom(self.test_root)
        return is_phantom(self.root) or any(is_phantom(one.root) for one in self.sources.values() if one.split)

    @property
    def selected_on_test(self) -> bool:
        """Return whether a checkpoint that is chosen by the validation patients is chosen by test patients."""
        record, new = self.recorded, self.data_sets.new_split
        if record is None and Path(new.name).is_file() and count_folds(new.name) is None:
            record = read_split(new.name, self.fold)
        same = self.val_share == 0 if record is None else bool(set(record.val) & set(record.test))
        return same and self.test_root is None

    def label_counts(self) -> list[int]:
        """Count the pixels of background, liver and lesion in the training patients' slices."""
        train = self.split["train"]
        lesion = sum(sum(case.lesion_pixels) for case in train)
        liver = sum(sum(case.liver_pixels) for case in train) - lesion
        return [sum(len(case) for case in train) * self.preprocess.size**2 - liver - lesion, liver, lesion]

    def train_dataloader(self) -> DataLoader:
        """Load augmented slices of the training patients, in a new order each epoch."""
        one_by_one = self.augment if isinstance(self.augment, Compose) else None
        slices = TrainingSlices(
            self.split["train"], self.slices, one_by_one, self.context, self.device_resident, self.label_context
        )
        if not len(slices):
            raise InputError(self.root, f"training slices (data.slices={self.slices})", "none")
        require_slices(self.sources, {case.source for case, _ in slices.places}, self.slices)
        if getattr(self.augment, "lesions", None):
            require_livers(self.split["train"], self.root)
        patients = slices.patients if self.balance_patients else None
        names, further = ["", *self.sources], [source.share for source in self.sources.values()]
        sampler = SeededSampler(
            slices.has_lesion,
            self.slices_per_epoch,
            self.lesion_share,
            self.seed,
            *self._rank(),
            patients,
            [names.index(case.source) for case, _ in slices.places],
            [1 - sum(further), *further],
        )
        return DataLoader(
            slices,
            self.batch_size,
            sampler=sampler,
            # Batch norm cannot compute statistics of a last batch with a single slice.
            drop_last=len(sampler) >= self.batch_size,
            **self._loading(),
        )

    def val_dataloader(self) -> DataLoader:
        """Load all slices of the validation patients."""
        return self._evaluation("val")

    def test_dataloader(self) -> DataLoader:
        """Load all slices of the test patients."""
        return self._evaluation("test")

    def on_before_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Keep the seed of a training batch, that of its first slice, on the host: no synchronization is needed."""
        return {**batch, "seed": int(batch["seed"][0])} if "seed" in batch else batch

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Look up resident slices, convert images to float, and augment training batches, all on the device."""
        if "place" in batch:
            if self._resident is None:
                device = batch["place"].device
                self._resident = ResidentSlices(self.split["train"], self.context, device, self.label_context)
            images, labels = self._resident(batch["place"])
        else:
            images, labels = batch["image"], batch["label"]
        if images.dtype == torch.uint8:
            images = images.float() / 255
        maps = [batch["maps"].float()] if "maps" in batch else []
        if "seed" in batch and isinstance(self.augment, RotateZoomBend):
            generator = Generator(images.device).manual_seed(batch["seed"])
            progress = self.trainer.lightning_module.progress() if self.augment.stages else 0.0
            images, labels, *maps = self.augment.at(progress)(images, labels, generator, *maps)
        return {**batch, "image": images, "label": labels.long(), **({"maps": maps[0]} if maps else {})}

    def _evaluation(self, part: str) -> DataLoader:
        slices = EvaluationSlices(self.split[part], self.context)
        rank, world = self._rank()
        # Every rank needs at least one batch. Batches are not repeated, since their slices would count twice.
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
