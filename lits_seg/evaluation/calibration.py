"""Calibrate a checkpoint on the validation patients of its run, or on other labelled volumes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy
import torch
from torch import Tensor
from tqdm import tqdm

from lits_seg.common.errors import InputError
from lits_seg.data.stored_case import StoredCase
from lits_seg.data.volumes import read_volume
from lits_seg.postprocess import Rules
from lits_seg.postprocess.fitting import (
    CRFS,
    VALUES,
    Bin,
    Patient,
    Trial,
    calibration_error,
    fit_rules,
    fit_temperature,
    reliability,
)
from lits_seg.training.module import LesionModule

SAMPLE = 200_000  # voxels of all patients, for the temperature
BATCH = 8  # slices


@dataclass(frozen=True)
class Calibration:
    """The fitted rules and temperature, and the patients.

    Args:
        patients: names of the patients.
        temperature: divisor of the logits.
        before: reliability without temperature.
        after: reliability with it.
        error_before: expected calibration error without temperature, in [0, 1].
        error_after: expected calibration error with it.
        rules: the rules that were chosen.
        dice_before: mean lesion Dice per case without rules.
        best: scores of the chosen rules.
        trials: scores of all rules that were tried.
    """

    patients: list[str]
    temperature: float
    before: list[Bin]
    after: list[Bin]
    error_before: float
    error_after: float
    rules: Rules
    dice_before: float
    best: Trial
    trials: list[Trial]


def calibrate(module: LesionModule, cases: list[StoredCase], crf: bool = False) -> Calibration:
    """Fit the temperature, then the rules on the calibrated probabilities.

    Args:
        module: the network, in eval mode.
        cases: labelled patients that did not train the network.
        crf: also try a dense CRF.

    Raises:
        InputError: if no patient has a lesion.
    """
    if "lesion" not in module.structures:
        raise InputError("ckpt", "a network that finds lesions", "a network that finds livers only")
    if not any(any(case.lesion_pixels) for case in cases):
        raise InputError(", ".join(case.name for case in cases), "a patient with a lesion", "none")
    logits, classes = liver_sample(module, cases)
    module.temperature = 1.0
    temperature = fit_temperature(logits, classes)
    lesion = classes == module.classes - 1
    before, after = (
        reliability(scipy.special.softmax(logits / divisor, axis=1)[:, -1], lesion) for divisor in (1.0, temperature)
    )
    module.temperature = temperature
    best, trials = fit_rules(
        [predicted(module, case, crf) for case in cases], values={"crf": CRFS, **VALUES} if crf else VALUES
    )
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


def liver_sample(module: LesionModule, cases: list[StoredCase]) -> tuple[np.ndarray, np.ndarray]:
    """Return logits ``(N, K)`` and reference classes ``(N,)`` of voxels of the liver, drawn evenly from all patients.

    Args:
        module: the network.
        cases: the patients.
    """
    total = sum(sum(case.liver_pixels) + sum(case.lesion_pixels) for case in cases)
    generator = np.random.default_rng(0)
    logits, classes = [], []
    for case in cases:
        for start, scores in _logits(module, case):
            target = np.asarray(case.labels[start : start + len(scores)])
            chosen = (target > 0) & (generator.random(target.shape) < SAMPLE / max(total, 1))
            logits.append(scores.permute(0, 2, 3, 1).numpy()[chosen])
            classes.append(module.targets.of(torch.from_numpy(target[chosen])).numpy())
    return np.concatenate(logits).astype(np.float64), np.concatenate(classes).astype(int)


def predicted(module: LesionModule, case: StoredCase, with_hu: bool = False) -> Patient:
    """Predict a patient without rules.

    Args:
        module: the network with its temperature.
        case: the patient.
        with_hu: also read the CT.
    """
    labels, probability = (np.zeros(case.shape, np.uint8) for _ in range(2))
    for start, scores in _logits(module, case):
        block = slice(start, start + len(scores))
        found, lesion = module.labels(scores / module.temperature, *case.shape[1:], case.pixel_mm)
        labels[block], probability[block] = found.numpy(), (lesion * 255).round().byte().numpy()
    truth = np.stack([case.truth(index) for index in range(len(case))])
    hu = read_volume(case.ct).slices if with_hu and case.ct is not None else None
    known = "liver" in module.structures
    return Patient(case.name, labels, probability, truth, case.spacing, case.voxel_ml, known, hu).cropped()


def _logits(module: LesionModule, case: StoredCase) -> Iterator[tuple[int, Tensor]]:
    """Yield the first slice of each batch and the batch's logits ``(B, K, size, size)``."""
    side = module.context // 2
    steps = np.arange(-side, side + 1)
    for start in tqdm(range(0, len(case), BATCH), desc=case.name, unit="batch", disable=None, leave=False):
        around = np.arange(start, min(start + BATCH, len(case)))[:, None] + steps
        images = torch.from_numpy(case.images[around.clip(0, len(case) - 1)])
        with torch.inference_mode():
            logits = module(images.float() / 255).float()
        if not logits.isfinite().all():
            raise InputError("the network", "finite logits", f"NaN or infinity near slice {start} of {case.name}")
        yield start, logits


def with_calibration(checkpoint: dict, calibration: Calibration) -> dict:
    """Return a checkpoint's content with the fitted rules and temperature among its settings.

    Args:
        checkpoint: content of the file, see ``read_checkpoint``.
        calibration: what was fitted.
    """
    settings = {
        **checkpoint["hyper_parameters"],
        "rules": calibration.rules.plain(),
        "temperature": calibration.temperature,
    }
    return {**checkpoint, "hyper_parameters": settings}


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
