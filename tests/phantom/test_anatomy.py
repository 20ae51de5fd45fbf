"""The patients: organs lie where they belong, with the HU of their contrast phase."""

from collections import Counter

import numpy as np
import pytest

from lits_seg.phantom.anatomy import PHASES, draw_phase, paint_patient
from lits_seg.phantom.axes import warped_axes
from lits_seg.phantom.patient import Patient

CASES = 16


def painted(seed: int, lowest: float = -170) -> Patient:
    """Return a patient on voxels of 8 mm, from below the kidneys to the heart."""
    rng = np.random.default_rng(seed)
    x, y, z = (np.arange(low, high, 8, dtype=np.float32) for low, high in ((-190, 190), (-140, 140), (lowest, 130)))
    return paint_patient(rng, warped_axes(rng, x, y, z), (170, 122))


@pytest.fixture(scope="module")
def patients() -> list[Patient]:
    return [painted(seed) for seed in range(CASES)]


def test_phases_occur_and_the_livers_veins_follow_them() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_phase(rng) for _ in range(400)]
    counts = Counter(phase for phase, _ in drawn)
    assert {phase: count / 400 for phase, count in counts.items()} == pytest.approx(
        {phase: chance for phase, (chance, _) in PHASES.items()}, abs=0.07
    )
    for phase, brighter in (("portal", True), ("late", True), ("none", False), ("arterial", False)):
        lowest = PHASES[phase][1][0][0]
        healthy = [levels for name, levels in drawn if name == phase and levels.liver > lowest + 15]
        differences = np.array([levels.liver_veins - levels.liver for levels in healthy])
        assert (differences > 0).mean() > 0.95 if brighter else (differences <= 0).mean() > 0.6
    assert min(levels.liver for phase, levels in drawn if phase == "none") < 30  # fatty
    spleens = [levels.spleen - levels.liver for phase, levels in drawn if phase == "portal"]
    assert np.mean(np.abs(spleens) < 25) > 0.5


def test_other_organs_share_the_livers_hu(patients: list[Patient]) -> None:
    """In most patients, more than a litre of something else has the HU of the liver."""
    litres = []
    for p in patients:
        other = (np.abs(p.hu - p.levels.liver) < 20) & ~p.liver
        litres.append(other.sum() * 8**3 / 1e6)
    assert np.median(litres) > 1


def test_muscles_of_the_back_lie_beside_the_spine(patients: list[Patient]) -> None:
    for p in patients:
        x, y = (int(np.abs(axis - place).argmin()) for axis, place in ((p.axes.x, 40), (p.axes.y, p.back + 40)))
        muscles = p.hu[[x, len(p.axes.x) - 1 - x], y]
        assert 45 < np.median(muscles) < 70


def test_the_gut_holds_gas_fluid_and_contrast_agent(patients: list[Patient]) -> None:
    agents, sides = 0, np.zeros(2)
    for p in patients:
        belly = p.cavity & (p.axes.z < -70)
        hu = p.hu[belly]
        assert 0.005 < (hu < -500).mean() < 0.4
        assert 0.1 < ((hu > -10) & (hu < 130)).mean() < 0.75
        gas, fluid = belly & (p.hu < -500), belly & (((p.hu > 0) & (p.hu < 35)) | (p.hu > 150))
        sides += [(gas[:, :-1] & fluid[:, 1:]).sum(), (fluid[:, :-1] & gas[:, 1:]).sum()]
        agents += (hu > 140).mean() > 0.03
    assert 2 < agents < CASES
    assert sides[0] > 2 * sides[1]  # gas rises


def test_livers_differ(patients: list[Patient]) -> None:
    litres = np.array([p.liver.sum() * 8**3 / 1e6 for p in patients])
    assert 1.3 < np.median(litres) < 2.2
    assert litres.std() > 0.25
    lefts = [p.axes.x[np.nonzero(p.liver)[0]].max() for p in patients]
    lowest = [p.axes.z[np.nonzero(p.liver)[2]].min() for p in patients]
    assert np.ptp(lefts) > 50
    assert np.ptp(lowest) > 30
    for p in patients:
        assert (p.liver <= p.cavity).all()


def test_a_low_scan_shows_the_pelvis() -> None:
    p = painted(0, lowest=-330)
    pelvis = p.hu[..., p.axes.z < -200]
    aside = np.abs(p.axes.x) > 60
    assert (pelvis[aside] > 190).sum() > 40  # hip bones
    assert (np.abs(pelvis[aside] - p.muscle) < 1).sum() * 8**3 / 1e6 > 0.5  # L of muscle
    assert not p.liver[..., p.axes.z < -200].any()
