"""The lesions: their sizes and contrasts, in a liver without texture."""

import numpy as np
import pytest
from scipy import ndimage

from lits_seg.phantom.axes import WarpedAxes
from lits_seg.phantom.patient import Levels, Patient
from lits_seg.phantom.tumours import paint_lesions

SPACING = 1.5  # mm
LIVER = 100.0  # HU


def block(seed: int) -> Patient:
    """Return a patient whose liver is a cube of 12 cm."""
    places = np.arange(80, dtype=np.float32) * SPACING
    still = np.zeros((80, 80, 80), np.float32)
    axes = WarpedAxes(places, places, places, (still, still, still), reach=0.0)
    hu, liver = np.full(axes.shape, LIVER, np.float32), np.ones(axes.shape, bool)
    levels = Levels(LIVER, *[LIVER] * 7)
    return Patient(np.random.default_rng(seed), axes, hu, liver, liver, "portal", levels, 55.0, (60, 60), 30.0)


@pytest.fixture(scope="module")
def lesions() -> np.ndarray:
    """Equivalent diameters in mm and median contrasts in HU of lesions, ``(N, 2)``."""
    found = []
    for seed in range(16):
        patient = block(seed)
        pieces, count = ndimage.label(paint_lesions(patient))
        for piece in range(1, count + 1):
            voxels = pieces == piece
            diameter = (6 / np.pi * voxels.sum()) ** (1 / 3) * SPACING
            found.append((diameter, LIVER - np.median(patient.hu[voxels])))
    return np.array(found)


def test_small_lesions_and_large_ones_occur(lesions: np.ndarray) -> None:
    diameters = lesions[:, 0]
    assert len(diameters) > 60
    assert np.percentile(diameters, 20) < 8
    assert (diameters < 6).any()
    assert diameters.max() > 35
    # Log-uniform sizes: about as many lesions from 5 to 9 mm as from 9 to 16 mm.
    small, middle = ((diameters > low).sum() - (diameters > high).sum() for low, high in ((5, 9), (9, 16)))
    assert 0.5 < small / middle < 2.5


def test_faint_lesions_and_marked_ones_occur_in_every_size(lesions: np.ndarray) -> None:
    contrasts = np.abs(lesions[:, 1])
    for chosen in (lesions[:, 0] < 10, lesions[:, 0] >= 10):
        assert (contrasts[chosen] < 20).mean() > 0.05
        assert (contrasts[chosen] > 35).mean() > 0.1
    assert (lesions[:, 1] > 0).mean() > 0.7  # most are darker
