"""Paint the upper abdomen of a patient in HU, organ by organ, in a randomly drawn contrast phase."""

import numpy as np

from lits_seg.phantom.axes import WarpedAxes
from lits_seg.phantom.liver import paint_liver
from lits_seg.phantom.organs import (
    paint_body,
    paint_bowel,
    paint_lungs_and_heart,
    paint_neighbours,
    paint_spine_and_muscles,
    paint_stomach_and_spleen,
)
from lits_seg.phantom.patient import AIR, Patient
from lits_seg.phantom.vessels import paint_great_vessels

# Each contrast phase's probability and HU ranges: liver, spleen, kidney cortex, kidney medulla, aorta, liver veins.
PHASES: dict[str, tuple[float, tuple[tuple[float, float], ...]]] = {
    "none": (0.10, ((45, 65), (42, 55), (30, 38), (28, 34), (35, 48), (30, 42))),
    "arterial": (0.12, ((60, 85), (85, 130), (140, 220), (50, 80), (220, 360), (55, 95))),
    "portal": (0.68, ((85, 135), (105, 140), (160, 215), (130, 180), (130, 190), (130, 195))),
    "late": (0.10, ((75, 105), (85, 110), (130, 180), (130, 180), (95, 125), (95, 125))),
}


def paint_patient(rng: np.random.Generator, axes: WarpedAxes, body: tuple[float, float]) -> Patient:
    """Paint a patient without lesions.

    Args:
        rng: random generator for the differences between patients.
        axes: axes of the voxels.
        body: half width and half depth of the trunk in mm.
    """
    names = list(PHASES)
    phase = names[rng.choice(len(names), p=[PHASES[name][0] for name in names])]
    levels = [rng.uniform(*pair) for pair in PHASES[phase][1]]
    if rng.random() < 0.15:  # fatty liver
        levels[0] -= rng.uniform(15, 40)
    shape = axes.shape
    empty = np.zeros(shape, bool)
    patient = Patient(rng, axes, np.full(shape, AIR, np.float32), empty, empty.copy(), phase, tuple(levels), (0, 0))
    paint_body(patient, body)
    paint_spine_and_muscles(patient)
    paint_bowel(patient)
    paint_stomach_and_spleen(patient)
    paint_lungs_and_heart(patient)
    paint_liver(patient)
    paint_neighbours(patient)
    paint_great_vessels(patient)
    return patient
