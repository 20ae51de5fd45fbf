"""The phantom's shapes: against the formulas of geometry."""

import numpy as np
import pytest

from lits_seg.phantom.axes import WarpedAxes, curve, ellipsoid, rotation, smooth_noise, tube, warped_axes

PLACES = np.arange(-50, 51, dtype=np.float32)


def straight() -> WarpedAxes:
    still = np.zeros((101, 101, 101), np.float32)
    return WarpedAxes(PLACES, PLACES, PLACES, (still, still, still), reach=0.0)


@pytest.mark.parametrize("angles", [None, np.array([0.3, -0.5, 1.0])])
def test_an_ellipsoid_has_its_volume_and_its_centre(angles: np.ndarray | None) -> None:
    axes, centre, radii = straight(), np.array([5.0, -3.0, 8.0]), np.array([30.0, 20.0, 10.0])
    box, distance = ellipsoid(axes, centre, radii, angles)
    inside = distance < 1
    assert inside.sum() == pytest.approx(4 / 3 * np.pi * radii.prod(), rel=0.01)
    middle = [axis[inside].mean() for axis in axes.points(box)]
    np.testing.assert_allclose(middle, centre, atol=0.05)


def test_rotations_keep_lengths_and_hands() -> None:
    turn = rotation(np.array([0.3, -0.5, 1.0]))
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)


def test_a_warp_bends_points_but_stays_within_its_reach() -> None:
    axes = warped_axes(np.random.default_rng(0), PLACES, PLACES[::2], PLACES[::5])
    assert axes.shape == (101, 51, 21)
    assert axes.extent.tolist() == [100, 100, 100]
    everywhere = (slice(None),) * 3
    bent, plain = axes.points(everywhere), axes.points(everywhere, bent=False)
    shifts = [one - other for one, other in zip(bent, plain, strict=True)]
    assert all(shift.std() > 1 for shift in shifts)
    assert max(np.abs(shift).max() for shift in shifts) < axes.reach


def test_noise_varies_over_its_scale() -> None:
    fine, coarse = (
        smooth_noise(np.random.default_rng(0), (64, 64, 64), np.full(3, 63.0), scale) for scale in (4.0, 20.0)
    )
    assert 0.3 < fine.std() < 1.5
    assert np.abs(np.diff(fine, axis=0)).mean() > 2 * np.abs(np.diff(coarse, axis=0)).mean()


def test_a_tube_has_its_volume_and_a_curve_runs_through_its_points() -> None:
    corners = np.array([(-30.0, 0, 0), (0, 0, 0), (30, 0, 0)])
    points = curve(corners, step=1)
    assert len(points) == pytest.approx(60, abs=2)
    np.testing.assert_allclose(points[[0, -1]], corners[[0, -1]], atol=1e-9)
    box, distance = tube(straight(), points, np.full(len(points), 8.0))
    assert (distance < 1).sum() == pytest.approx(np.pi * 8**2 * 60 + 4 / 3 * np.pi * 8**3, rel=0.05)
    x, y, z = straight().points(box)
    inside = (np.abs(x) < 20) & (np.hypot(y, z) < 8)
    np.testing.assert_allclose(8 * distance[inside], np.hypot(y, z)[inside], atol=0.5)
    _, outside = tube(straight(), points + 200, np.full(len(points), 8.0))
    assert outside.size == 0


def test_a_curve_bends_without_corners() -> None:
    points = curve(np.array([(0.0, 0, 0), (20, 20, 0), (40, 0, 0)]), step=1)
    steps = np.diff(points, axis=0)
    turns = (
        (steps[1:] * steps[:-1]).sum(axis=1) / np.linalg.norm(steps[1:], axis=1) / np.linalg.norm(steps[:-1], axis=1)
    )
    assert turns.min() > 0.95
    assert points[:, 1].max() == pytest.approx(20, abs=0.5)
