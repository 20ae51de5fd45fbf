"""Calibrate a checkpoint on labelled patients that did not train the network which predicts them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import scipy
import torch
from tqdm import tqdm

from lits_seg.common.errors import InputError
from lits_seg.common.files import reserve
from lits_seg.data.datamodule import SliceDataModule
from lits_seg.data.stored_case import StoredCase
from lits_seg.data.volumes import read_volume
from lits_seg.postprocess.fitting import (
    CRFS,
    VALUES,
    Calibration,
    Patient,
    calibration_error,
    fit_rules,
    fit_temperature,
    reliability,
)
from lits_seg.training.checkpoints import FITTED
from lits_seg.training.module import LesionModule

SAMPLE = 200_000  # voxels of all patients, for the temperature


@dataclass(frozen=True)
class Labelled:
    """Labelled patients, and a network that has not seen them.

    Args:
        module: the network, in eval mode, on the device that predicts.
        volumes: the volumes, after ``setup``.
        part: the part of the split.
    """

    module: LesionModule
    volumes: SliceDataModule
    part: Literal["val", "test"]

    @property
    def cases(self) -> list[StoredCase]:
        """The patients."""
        return self.volumes.split[self.part]


@dataclass(frozen=True)
class Predicted:
    """A patient, the network that predicts the patient, and its logits ``(S, K, size, size)``, before temperature."""

    module: LesionModule
    case: StoredCase
    logits: np.ndarray

    def patient(self, temperature: float, batch_size: int, with_hu: bool) -> Patient:
        """Return the labels and the lesion's probability, before any rules.

        Args:
            temperature: divisor of the logits.
            batch_size: slices in a batch.
            with_hu: also read the CT.
        """
        case = self.case
        labels, probability = (np.zeros(case.shape, np.uint8) for _ in range(2))
        for start in range(0, len(case), batch_size):
            block = slice(start, start + batch_size)
            scores = torch.from_numpy(self.logits[block].astype(np.float32)) / temperature
            found, lesion = self.module.labels(scores, *case.shape[1:], case.pixel_mm)
            labels[block], probability[block] = found.numpy(), (lesion * 255).round().byte().numpy()
        truth = np.stack([case.truth(index) for index in range(len(case))])
        has_liver = "liver" in self.module.structures
        hu = read_volume(case.ct).slices if with_hu and case.ct is not None else None
        return Patient(case.name, labels, probability, truth, case.spacing, case.voxel_ml, has_liver, hu).cropped()


def calibrate(groups: Sequence[Labelled], scratch: Path, batch_size: int, crf: bool = False) -> Calibration:
    """Fit the temperature, then the rules on the calibrated probabilities.

    Args:
        groups: the patients of one or more networks of the same classes.
        scratch: folder for the logits: 2 bytes per pixel and class.
        batch_size: slices in a batch.
        crf: also try a dense CRF.

    Raises:
        InputError: if no patient has a lesion, or if a logit is not finite.
    """
    if any("lesion" not in group.module.structures for group in groups):
        raise InputError("ckpt", "a network that finds lesions", "a network that finds livers only")
    cases = [case for group in groups for case in group.cases]
    if not any(any(case.lesion_pixels) for case in cases):
        raise InputError(", ".join(case.name for case in cases), "a patient with a lesion", "none")
    predicted = [one for number, group in enumerate(groups) for one in predict(group, scratch / str(number))]
    logits, classes = liver_sample(predicted)
    temperature = fit_temperature(logits, classes)
    lesion = classes == logits.shape[1] - 1
    before, after = (
        reliability(scipy.special.softmax(logits / divisor, axis=1)[:, -1], lesion) for divisor in (1.0, temperature)
    )
    values = {"crf": CRFS, **VALUES} if crf else VALUES
    best, trials = fit_rules([one.patient(temperature, batch_size, crf) for one in predicted], values=values)
    return Calibration(
        patients=[case.name for case in cases],
        temperature=temperature,
        before=before,
        after=after,
        error_before=calibration_error(before),
        error_after=calibration_error(after),
        rules=best.rules,
        dice_before=trials[0].dice,
        best=best,
        trials=trials,
    )


def predict(group: Labelled, folder: Path) -> list[Predicted]:
    """Run the network once on every slice of its patients.

    Args:
        group: the patients and their network.
        folder: a new folder for the logits.
    """
    folder.mkdir()
    size, volumes = group.module.preprocess.size, group.volumes
    maps = [
        np.lib.format.open_memmap(folder / f"{i}.npy", "w+", np.float16, (len(case), group.module.classes, size, size))
        for i, case in enumerate(group.cases)
    ]
    for file in folder.iterdir():
        reserve(file)
    loader = volumes.val_dataloader() if group.part == "val" else volumes.test_dataloader()
    for loaded in tqdm(loader, desc="predicting", unit="batch", disable=None, leave=False):
        number, slices = int(loaded["case"][0]), loaded["slice"].numpy()
        batch = volumes.transfer_batch_to_device(loaded, group.module.device, 0)
        with torch.inference_mode():
            logits = group.module(volumes.on_after_batch_transfer(batch, 0)["image"]).half().cpu()
        if not logits.isfinite().all():
            near = f"NaN or infinity near slice {slices[0]} of {group.cases[number].name}"
            raise InputError("the network", "finite logits", near)
        maps[number][slices] = logits.numpy()
    return [Predicted(group.module, *pair) for pair in zip(group.cases, maps, strict=True)]


def liver_sample(predicted: Sequence[Predicted]) -> tuple[np.ndarray, np.ndarray]:
    """Return logits ``(N, K)`` and reference classes ``(N,)`` of voxels of the liver, drawn evenly from all patients.

    Args:
        predicted: the patients with their logits.
    """
    total = sum(sum(one.case.liver_pixels) for one in predicted)  # with lesions
    generator = np.random.default_rng(0)
    logits, classes = [], []
    for one in predicted:
        for scores, target in zip(one.logits, one.case.labels, strict=True):
            chosen = (target > 0) & (generator.random(target.shape) < SAMPLE / max(total, 1))
            logits.append(scores[:, chosen].T)
            classes.append(one.module.targets.of(torch.from_numpy(target[chosen])).numpy())
    return np.concatenate(logits).astype(np.float64), np.concatenate(classes).astype(int)


def with_calibration(checkpoint: dict, calibration: Calibration) -> dict:
    """Return a checkpoint's content with the fitted rules and temperature among its settings, and the patients.

    Args:
        checkpoint: content of the file, see ``read_checkpoint``.
        calibration: what was fitted.
    """
    settings = {
        **checkpoint["hyper_parameters"],
        "rules": calibration.rules.plain(),
        "temperature": calibration.temperature,
    }
    return {**checkpoint, "hyper_parameters": settings, FITTED: calibration.patients}


def summary(calibration: Calibration) -> str:
    """Return the text to print."""
    best = calibration.best
    rules = ", ".join(
        f"{name}={value if isinstance(value, dict) else format(value, 'g')}"
        for name, value in calibration.rules.plain().items()
    )
    return "\n".join(
        [
            f"patients: {', '.join(calibration.patients)}",
            f"temperature: {calibration.temperature:.3g} (calibration error {calibration.error_before:.3f} -> "
            f"{calibration.error_after:.3f})",
            f"rules: {rules}",
            f"lesion Dice per case: {calibration.dice_before:.3f} -> {best.dice:.3f} on the same patients, with "
            f"{best.false_lesions:.1f} false lesions per patient",
        ]
    )


def path_next_to(ckpt: str | Path, ending: str) -> Path:
    """Return the path of a file of a calibration, next to its checkpoint.

    Args:
        ckpt: the checkpoint.
        ending: the file's ending, such as ``.json``.
    """
    path = Path(ckpt)
    return path.with_name(f"{path.stem}_calibrated{ending}")
