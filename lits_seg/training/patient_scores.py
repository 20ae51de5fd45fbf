"""Score and draw the test patients of a run: each is assembled from its predicted slices."""

import logging
import shutil
from contextlib import nullcontext
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import WandbLogger

from lits_seg.common.errors import InputError
from lits_seg.common.files import reserve, write_text
from lits_seg.common.ownership import MARK, png_mark
from lits_seg.common.tables import csv_text
from lits_seg.data.ct import open_ct
from lits_seg.data.layouts import PROBABILITY
from lits_seg.data.stored_case import StoredCase
from lits_seg.metrics import summarise_structures
from lits_seg.metrics.case import score_case
from lits_seg.metrics.overlap import LOWEST_LABEL
from lits_seg.metrics.scores import CaseScores, flat_case
from lits_seg.runs.folder import CASES, OVERLAYS, PICTURES
from lits_seg.training import pictures

log = logging.getLogger(__name__)


class PatientScores(Callback):
    """Apply the module's rules to whole test volumes and score them, even if several ranks predicted their slices.

    The callback writes three results into ``folder``:

    - ``test_cases.csv`` with a row per patient;
    - ``overlays/CASE.png`` with image, reference and prediction of the slice with the most lesion;
    - ``overlays.png`` with a selection of patients from best to worst (the paper's Fig. 3).

    Every logger receives the mean scores; W&B also the table and the selection. A patient with unseen slices has no
    score.

    Args:
        folder: the run's folder; all ranks must be able to write there.
        patients: largest number of rows in ``overlays.png``.

    Attributes:
        cases: the scores, after the test.
    """

    def __init__(self, folder: str | Path, patients: int = 5) -> None:
        self.folder, self.patients = Path(folder), patients
        self.cases: list[CaseScores] = []

    @property
    def _masks(self) -> Path:
        return self.folder / ".test_masks"

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Require, before the training, that validation and test will see at least one patient whole.

        Raises:
            InputError: if a setting of the trainer cuts all patients, if nobody can choose the best checkpoint, or if
                lesions are scored that are not labelled.
        """
        if trainer.overfit_batches:
            expected = "0 (data.slices_per_epoch and trainer.limit_train_batches make epochs shorter)"
            raise InputError("trainer.overfit_batches", expected, trainer.overfit_batches)
        scored = [*trainer.datamodule.split["val"], *trainer.datamodule.split["test"]]
        unlabelled = [case.name for case in scored if not case.lesions_known]
        if unlabelled and "lesion" in pl_module.structures:
            expected = "false for data sets with lesions=unknown, whose lesions cannot be scored"
            raise InputError("data.sources: split", expected, f"true for {', '.join(unlabelled)}")
        monitors = [saver.monitor for saver in trainer.checkpoint_callbacks if saver.monitor is not None]
        if monitors and not trainer.datamodule.split["val"]:
            expected = (
                f"patients for validation ({monitors[0]} chooses the checkpoint), or callbacks=[default,last_weights]"
            )
            raise InputError("data.val_share or data.split", expected, "none")
        if trainer.fast_dev_run or trainer.world_size > 1:  # several ranks learn what they have seen at the end only
            return
        for part in ("val", "test"):
            if not trainer.datamodule.split[part]:
                continue
            limit = getattr(trainer, f"limit_{part}_batches")
            loader = getattr(trainer.datamodule, f"{part}_dataloader")()
            batches = list(loader.batch_sampler)
            seen = {
                i for batch in batches[: limit if isinstance(limit, int) else int(limit * len(batches))] for i in batch
            }
            if not any(seen.issuperset(range(*ends)) for ends in pairwise(loader.dataset.starts)):
                expected = "all slices of at least one patient, as only whole patients have scores"
                found = f"{limit} of {len(batches)} batches" if isinstance(limit, int) else f"a share of {limit:g}"
                raise InputError(f"trainer.limit_{part}_batches", expected, found)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Create the files of masks and probabilities that all ranks write their slices into."""
        if trainer.is_global_zero:
            shutil.rmtree(self._masks, ignore_errors=True)
            self._masks.mkdir(parents=True)
            for number, case in enumerate(trainer.datamodule.split["test"]):
                for name in (number, f"{PROBABILITY}{number}"):
                    np.lib.format.open_memmap(self._masks / f"{name}.npy", "w+", np.uint8, case.shape)
                    reserve(self._masks / f"{name}.npy")
        trainer.strategy.barrier()
        self._map = lru_cache(maxsize=4)(lambda name: np.load(self._masks / f"{name}.npy", mmap_mode="r+"))

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Write a batch of predicted slices, all of one patient, into the patient's files; mask 0: not predicted."""
        number, slices = int(batch["case"][0]), batch["slice"].cpu().numpy()
        self._map(number)[slices] = outputs["labels"].cpu().numpy() + 1
        self._map(f"{PROBABILITY}{number}")[slices] = (255 * outputs["probability"]).round().byte().cpu().numpy()

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Score and draw after all ranks have written their slices; log the means on all ranks.

        Each rank scores a part of the patients: a rank that waits for longer than PyTorch's timeout would end the run.
        """
        self._map.cache_clear()
        trainer.strategy.barrier()
        cases = trainer.datamodule.split["test"]
        numbers = range(trainer.global_rank, len(cases), trainer.world_size)
        own = {number: self._score(number, cases[number], trainer, pl_module) for number in numbers}
        whole = {number: found for number, found in own.items() if found is not None}
        scores = _of_all_ranks({number: found[0] for number, found in whole.items()}, trainer)
        self.cases = list(scores.values())
        chosen = [list(scores)[i] for i in self._from_best_to_worst(pl_module.structures[0])]
        shown = _of_all_ranks({number: whole[number][1] for number in chosen if number in whole}, trainer)
        if trainer.is_global_zero:
            self._write([shown[number] for number in chosen], trainer)
            shutil.rmtree(self._masks, ignore_errors=True)
        voxels = [case.voxels for case in self.cases]
        if not voxels:
            return
        means = summarise_structures(**{name: [getattr(one, name) for one in voxels] for name in pl_module.structures})
        # The values are equal on all ranks.
        pl_module.log_dict({f"test/{name}": mean for name, mean in means.items()}, sync_dist=True)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Remove the files of masks, which take gigabytes, if the test ends early, as by Ctrl-C."""
        if trainer.is_global_zero:
            shutil.rmtree(self._masks, ignore_errors=True)

    def _score(
        self, number: int, case: StoredCase, trainer: pl.Trainer, module: pl.LightningModule
    ) -> tuple[CaseScores, dict[str, Any]] | None:
        """Score a patient and draw the slice with the most lesion.

        Returns:
            The scores, and the slice for the selection of patients; None if not all slices were seen.
        """
        mask = np.load(self._masks / f"{number}.npy", mmap_mode="r")
        if not mask[:, 0, 0].all():
            return None
        predicted = mask - 1
        probability = np.load(self._masks / f"{PROBABILITY}{number}.npy", mmap_mode="r")
        with nullcontext() if module.rules.crf is None or case.ct is None else open_ct(case.ct) as ct:
            hu, known = None if ct is None else ct.slices, "liver" in module.structures
            module.rules(predicted, probability, case.spacing, case.voxel_ml, known, hu)
        (self.folder / PICTURES).mkdir(exist_ok=True)
        truth = np.stack([case.truth(i) for i in range(len(case))])
        scores = score_case(predicted, truth, case.spacing, case.name, case.voxel_ml, probability)
        chosen = _largest(truth, predicted, LOWEST_LABEL[module.structures[0]])
        image = torch.from_numpy(case.images[chosen] / np.float32(255))[None, None]
        preprocess = trainer.datamodule.preprocess
        row = {
            "image": preprocess.restore(image, *truth[chosen].shape, case.pixel_mm)[0, 0].numpy(),
            "truth": truth[chosen],
            "predicted": np.array(predicted[chosen]),
            "title": f"{case.name}, slice {chosen}, Dice {getattr(scores, module.structures[0]).dice:.2f}",
        }
        panels = pictures.panels(row["image"], row["truth"], row["predicted"])
        Image.fromarray(panels).save(self.folder / PICTURES / f"{case.name}.png", optimize=True, pnginfo=png_mark())
        return scores, row

    def _write(self, shown: list[dict[str, Any]], trainer: pl.Trainer) -> None:
        """Write the table of all patients and the selection; ``shown`` has the slices of the selection."""
        count = len(trainer.datamodule.split["test"])
        if len(self.cases) < count:
            left_out = count - len(self.cases)
            log.warning("%d of %d test patients were not seen whole and have no scores", left_out, count)
        if not self.cases:
            return
        rows = [flat_case(case) for case in self.cases]
        write_text(self.folder / CASES, csv_text(rows))
        figure = pictures.overlays(shown)
        figure.savefig(self.folder / OVERLAYS, dpi=110, metadata=MARK)
        plt.close(figure)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_table("test/cases", columns=list(rows[0]), data=[list(row.values()) for row in rows])
                _log_overlays(logger, shown)

    def _from_best_to_worst(self, structure: str) -> list[int]:
        ranked = sorted(range(len(self.cases)), key=lambda i: -getattr(self.cases[i], structure).dice)
        places = np.linspace(0, len(ranked) - 1, self.patients) if ranked else ()
        return sorted({ranked[int(i)] for i in places}, key=ranked.index)


def _of_all_ranks(own: dict[int, Any], trainer: pl.Trainer) -> dict[int, Any]:
    """Return what all ranks have, in the order of the keys, on every rank."""
    parts = [own] * trainer.world_size
    if trainer.world_size > 1:
        torch.distributed.all_gather_object(parts, own)
    return dict(sorted((number, value) for part in parts for number, value in part.items()))


def _largest(truth: np.ndarray, predicted: np.ndarray, lowest: int) -> int:
    """Return the slice with most pixels of a structure, whose lowest label is ``lowest``."""
    true, found = ((labels >= lowest).sum(axis=(1, 2)) for labels in (truth, predicted))
    return int((true if true.any() else found).argmax())


def _log_overlays(logger: WandbLogger, rows: list[dict[str, Any]]) -> None:
    classes = {0: "background", 1: "liver", 2: "lesion"}
    logger.log_image(
        "test/overlays",
        [row["image"] for row in rows],
        caption=[row["title"] for row in rows],
        masks=[
            {part: {"mask_data": row[part], "class_labels": classes} for part in ("truth", "predicted")} for row in rows
        ],
    )
