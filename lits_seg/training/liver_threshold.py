"""A baseline without training: a threshold in HU within the reference liver."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from lits_seg.data.layouts import Case
from lits_seg.data.volumes import read_case
from lits_seg.metrics import case_scores
from lits_seg.metrics.case import count_voxels
from lits_seg.metrics.overlap import LOWEST_LABEL
from lits_seg.metrics.scores import VoxelCounts

OFFSETS = tuple(range(10, 65, 5))  # HU below the liver's median
SIGMAS = (0.0, 1.0)  # of the Gaussian against noise, in pixels
FITTING_PATIENTS = 8


def threshold_in_liver(train: Sequence[Case], test: Sequence[Case]) -> tuple[list[VoxelCounts], str]:
    """Score a rule that marks smoothed voxels darker than the liver's median.

    Unlike a network, the rule is given the reference liver.

    Args:
        train: patients for choosing threshold and smoothing by mean Dice; only the first eight are used.
        test: patients to score.

    Returns:
        The counted lesion voxels of each test patient, and a description of the rule.
    """
    choices = [(sigma, offset) for sigma in SIGMAS for offset in OFFSETS]
    fitted = np.array([_counts(case, choices) for case in train[:FITTING_PATIENTS]])
    dice = [case_scores(fitted[:, i])["dice"].mean() for i in range(len(choices))]
    best = choices[int(np.argmax(dice))]
    counts = [_counts(case, [best])[0] for case in test]
    sigma, offset = best
    return counts, f"{offset} HU below the reference liver's median, smoothed by {sigma:g} px"


def _counts(case: Case, choices: Sequence[tuple[float, int]]) -> list[VoxelCounts]:
    """Count one patient's lesion voxels for each choice of smoothing (pixels) and threshold (HU)."""
    image, label = read_case(case)
    liver = label.slices > 0
    hu = image.slices.astype(np.float32)
    median = np.median(hu[liver]) if liver.any() else 0.0
    smooth = {sigma: ndimage.gaussian_filter(hu, (0, sigma, sigma)) for sigma, _ in choices}
    counts = []
    for sigma, offset in choices:
        lesion = liver & (smooth[sigma] < median - offset)
        counts.append(count_voxels(lesion.astype(np.uint8) * 2, label.slices, LOWEST_LABEL["lesion"]))
    return counts
