"""What a network has to beat: lesions by a threshold within the true liver."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage

from lits_seg.data.layouts import Case
from lits_seg.data.volumes import read_case
from lits_seg.metrics import case_scores
from lits_seg.metrics.counts import VolumeOverlap

# HU below the liver's median; and the smoothing, in pixels, against noise.
OFFSETS = tuple(range(10, 65, 5))
SIGMAS = (0.0, 1.0)
FITTING_PATIENTS = 8


def threshold_in_liver(train: Sequence[Case], test: Sequence[Case]) -> tuple[torch.Tensor, str]:
    """Marks smoothed voxels darker than the liver's median; given the true liver, which a network is not.

    Threshold and smoothing are those with the best mean Dice on (at most eight) training patients.
    Returns the test patients' counts ``(patients, 3)`` and a description.
    """
    choices = [(sigma, offset) for sigma in SIGMAS for offset in OFFSETS]
    fitted = torch.stack([_counts(case, choices) for case in train[:FITTING_PATIENTS]])
    dice = [case_scores(fitted[:, i])["dice"].mean() for i in range(len(choices))]
    best = choices[int(np.argmax(dice))]
    counts = torch.cat([_counts(case, [best]) for case in test])
    sigma, offset = best
    return counts, f"{offset} HU below the true liver's median, smoothed by {sigma:g} px"


def _counts(case: Case, choices: Sequence[tuple[float, int]]) -> torch.Tensor:
    """``(choices, 3)``."""
    image, label = read_case(case)
    truth = torch.from_numpy(label.slices)
    overlap = VolumeOverlap(len(choices))
    liver = label.slices > 0
    hu = image.slices.astype(np.float32)
    median = np.median(hu[liver]) if liver.any() else 0.0
    smooth = {sigma: ndimage.gaussian_filter(hu, (0, sigma, sigma)) for sigma, _ in choices}
    for number, (sigma, offset) in enumerate(choices):
        lesion = liver & (smooth[sigma] < median - offset)
        patient = torch.full((len(truth),), number)
        overlap.update(torch.from_numpy(lesion.astype(np.uint8) * 2), truth, patient)
    return overlap.compute()[:, 0]
