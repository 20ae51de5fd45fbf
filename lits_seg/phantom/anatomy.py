"""Paint the upper abdomen of a patient in HU, organ by organ, in a randomly drawn contrast phase."""

import numpy as np

from lits_seg.phantom.axes import WarpedAxes
from lits_seg.phantom.gut import paint_bowel, paint_colon, paint_stomach
from lits_seg.phantom.liver import paint_liver
from lits_seg.phantom.organs import paint_chest, paint_neighbours, paint_spleen
from lits_seg.phantom.patient import AIR, Levels, Patient
from lits_seg.phantom.trunk import paint_pelvis, paint_spine, paint_trunk
from lits_seg.phantom.vessels import paint_great_vessels, paint_liver_vessels, paint_mesentery

# Each contrast phase's probability and HU ranges, in the order of ``Levels``; liver veins: difference to the liver.
# Unenhanced: Prokop & Galanski, Spiral and Multislice CT of the Body (2003); the liver is 1 to 18 HU above the spleen
# (Park et al., Radiology 2011). Enhanced: the ranges of public CTs (LiTS, CHAOS). In the arterial phase, the liver's
# veins hold blood without contrast agent.
PHASES: dict[str, tuple[float, tuple[tuple[float, float], ...]]] = {
    "none": (0.10, ((45, 65), (42, 55), (30, 38), (28, 34), (35, 48), (32, 45), (-22, -8), (35, 50))),
    "arterial": (0.15, ((60, 85), (85, 130), (140, 220), (50, 80), (220, 360), (65, 140), (-22, 0), (60, 110))),
    "portal": (0.65, ((85, 135), (95, 140), (160, 215), (130, 180), (130, 190), (140, 200), (10, 70), (75, 120))),
    "late": (0.10, ((75, 105), (80, 110), (130, 180), (130, 180), (95, 125), (95, 125), (5, 35), (65, 100))),
}


def draw_phase(rng: np.random.Generator) -> tuple[str, Levels]:
    """Draw a contrast phase, a key of ``PHASES``, and the HU of the organs; one liver in seven is fatty."""
    names = list(PHASES)
    phase = names[rng.choice(len(names), p=[PHASES[name][0] for name in names])]
    drawn = Levels(*[rng.uniform(*pair) for pair in PHASES[phase][1]])
    levels = drawn._replace(liver_veins=drawn.liver + drawn.liver_veins)  # fat does not darken the veins
    if rng.random() < 0.15:
        levels = levels._replace(liver=levels.liver - rng.uniform(15, 40))
    return phase, levels


def paint_patient(rng: np.random.Generator, axes: WarpedAxes, body: tuple[float, float]) -> Patient:
    """Paint a patient without lesions.

    Args:
        rng: random generator for the differences between patients.
        axes: axes of the voxels.
        body: half width and half depth of the trunk in mm.
    """
    phase, levels = draw_phase(rng)
    empty = np.zeros(axes.shape, bool)
    patient = Patient(
        rng,
        axes,
        hu=np.full(axes.shape, AIR, np.float32),
        liver=empty,
        cavity=empty.copy(),
        phase=phase,
        levels=levels,
        muscle=rng.uniform(48, 68),
        body=(0, 0),
        back=0,
    )
    paint_trunk(patient, body)
    paint_spine(patient)
    paint_mesentery(patient)
    paint_bowel(patient)
    paint_colon(patient)
    paint_pelvis(patient)
    paint_stomach(patient)
    paint_spleen(patient)
    paint_chest(patient)
    paint_liver(patient)
    paint_neighbours(patient)
    paint_great_vessels(patient)
    paint_liver_vessels(patient)
    return patient
