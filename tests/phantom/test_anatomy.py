"""The patients: organs lie where they belong, with the HU of their contrast phase."""

from collections import Counter

import numpy as np
import pytest

from lits_seg.phantom.anatomy import PHASES, paint_patient
from lits_seg.phantom.axes import warped_axes
from lits_seg.phantom.patient import Patient

CASES = 40


def painted(seed: int) -> Patient:
    """Return a patient on voxels of 6 mm, from the pelvis to the heart."""
    rng = np.random.default_rng(seed)
    x, y, z = (np.arange(low, high, 6, dtype=np.float32) for low, high in ((-190, 190), (-140, 140), (-330, 130)))
    return paint_patient(rng, warped_axes(rng, x, y, z), (170, 122))


@pytest.fixture(scope="module")
def patients() -> list[Patient]:
    return [painted(seed) for seed in range(CASES)]


def test_phases_occur_and_the_livers_veins_follow_them(patients: list[Patient]) -> None:
    assert sum(chance for chance, _ in PHASES.values()) == pytest.approx(1)
    assert set(Counter(p.phase for p in patients)) == set(PHASES)
    for p in patients:
        healthy = p.levels.liver > PHASES[p.phase][1][0][0]  # not fatty, or not much
        if p.phase in ("none", "arterial") and healthy:
            assert p.levels.liver_veins <= p.levels.liver + 15  # a fatty liver is darker than its veins
        if p.phase == "portal":
            assert p.levels.liver_veins > p.levels.liver
    arterial = [p.levels.liver - p.levels.liver_veins for p in patients if p.phase == "arterial"]
    assert max(arterial) > 5


def test_other_organs_share_the_livers_hu(patients: list[Patient]) -> None:
    """In most patients, more than a litre of something else has the HU of the liver."""
    litres = []
    for p in patients:
        other = (np.abs(p.hu - p.levels.liver) < 20) & ~p.liver
        litres.append(other.sum() * 6**3 / 1e6)
    assert np.median(litres) > 1
    assert np.mean([abs(p.levels.spleen - p.levels.liver) < 25 for p in patients if p.phase == "portal"]) > 0.4


def test_muscles_of_the_back_lie_beside_the_spine(patients: list[Patient]) -> None:
    for p in patients:
        x, y = (int(np.abs(axis - place).argmin()) for axis, place in ((p.axes.x, 40), (p.axes.y, p.back + 40)))
        muscles = p.hu[[x, len(p.axes.x) - 1 - x], y]
        assert 45 < np.median(muscles) < 70


def test_the_gut_holds_gas_fluid_and_contrast_agent(patients: list[Patient]) -> None:
    agents = 0
    for p in patients:
        belly = p.cavity & (p.axes.z < -70)
        hu = p.hu[belly]
        assert 0.005 < (hu < -500).mean() < 0.4
        assert 0.1 < ((hu > -10) & (hu < 130)).mean() < 0.75
        front = p.axes.y[np.nonzero(belly & (p.hu < -500))[1]].mean()
        assert front < p.axes.y[np.nonzero(belly & (p.hu > 0) & (p.hu < 35))[1]].mean()  # gas rises
        agents += (hu > 140).mean() > 0.03
    assert 5 < agents < CASES


def test_livers_differ(patients: list[Patient]) -> None:
    litres = np.array([p.liver.sum() * 6**3 / 1e6 for p in patients])
    assert 1.3 < np.median(litres) < 2.2
    assert litres.std() > 0.25
    lefts = [p.axes.x[np.nonzero(p.liver)[0]].max() for p in patients]
    lowest = [p.axes.z[np.nonzero(p.liver)[2]].min() for p in patients]
    assert np.ptp(lefts) > 50
    assert np.ptp(lowest) > 30
    for p in patients:
        assert not p.liver[..., p.axes.z < -190].any()
        assert (p.liver <= p.cavity).all()
