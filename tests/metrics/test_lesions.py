import math

import numpy as np
import pytest
from helpers import slow_metrics as slow
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage, spatial

from lits_seg.metrics.lesions import FACES, ball_diameter, diameter, label_box, measure, size_class

LABELS = arrays(np.uint8, (4, 5, 6), elements=st.sampled_from([0, 0, 1, 2]))
AFFINE = np.diag([0.7, 0.8, 2.5, 1.0])
VOXEL_ML = 0.7 * 0.8 * 2.5 / 1000


def farthest(piece: set[tuple[int, ...]], sizes: tuple[float, float, float]) -> float:
    """Between the face centres of all voxels; ``sizes`` along the array's axes."""
    points = [
        tuple(size * (x + step / 2) for size, x, step in zip(sizes, voxel, face, strict=True))
        for voxel in piece
        for face in slow.FACES
    ]
    return max(math.dist(a, b) for a in points for b in points)


@given(LABELS)
@settings(deadline=None, max_examples=60)
def test_equals_plain_definitions(labels: np.ndarray) -> None:
    pieces = slow.pieces(labels == 2)
    count, found = measure(labels, AFFINE, VOXEL_ML)
    assert count == len(found) == len(pieces)
    assert [lesion.volume_ml for lesion in found] == pytest.approx(
        sorted((len(piece) * 0.7 * 0.8 * 2.5 / 1000 for piece in pieces), reverse=True)
    )
    assert sorted(lesion.diameter_mm for lesion in found) == pytest.approx(
        sorted(farthest(piece, (2.5, 0.8, 0.7)) for piece in pieces)
    )
    assert sorted(lesion.slices for lesion in found) == sorted(
        (min(z for z, _, _ in piece), max(z for z, _, _ in piece)) for piece in pieces
    )


def test_a_ball_in_an_oblique_volume() -> None:
    z, y, x = np.ogrid[:40, :60, :60]
    labels = (2 * (((x - 30) * 0.5) ** 2 + ((y - 30) * 0.5) ** 2 + (z - 20) ** 2 < 100)).astype(np.uint8)
    cos, sin = math.cos(0.3), math.sin(0.3)
    turn = np.array([[cos, -sin, 0, 7], [sin, cos, 0, 8], [0, 0, 1, 9], [0, 0, 0, 1]])
    _, (lesion,) = measure(labels, turn @ np.diag([0.5, 0.5, 1, 1]), 0.25 / 1000)
    assert lesion.volume_ml == pytest.approx(4 / 3 * math.pi, rel=0.02)
    assert lesion.diameter_mm == pytest.approx(20, abs=1)  # half a voxel at each end
    assert lesion.slices == (11, 29)
    assert lesion.largest == 20
    assert lesion.centre_mm == pytest.approx((15 * cos - 15 * sin + 7, 15 * sin + 15 * cos + 8, 29))


@pytest.mark.parametrize("seed", range(5))
def test_a_large_lesion_is_as_long_as_its_convex_hull(seed: int) -> None:
    lesion = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(20, 40, 30)), 2) > 0.02
    affine = np.diag([0.7, 0.8, 2.5, 1])
    points = (np.argwhere(lesion)[:, ::-1][:, None] + FACES).reshape(-1, 3) @ affine[:3, :3].T
    hull = points[spatial.ConvexHull(points).vertices]
    expected = pytest.approx(spatial.distance.pdist(hull).max(), rel=1e-12)
    assert diameter(lesion, affine) == expected
    assert diameter(np.asfortranarray(lesion), affine) == expected  # the same voxels in another order of the bytes


def test_one_voxel_is_as_long_as_its_longest_edge() -> None:
    labels = np.zeros((3, 3, 3), np.uint8)
    labels[1, 1, 1] = 2
    _, (lesion,) = measure(labels, AFFINE, VOXEL_ML)
    assert lesion.diameter_mm == pytest.approx(2.5)


def test_of_very_many_the_largest_are_measured() -> None:
    labels = np.zeros((1, 9, 9), np.uint8)
    labels[0, ::2, ::2] = 2
    labels[0, 4, 3] = labels[0, 8, 8] = labels[0, 8, 7] = 2
    count, found = measure(labels, np.eye(4), 0.001, most=2)
    assert count == 23  # two of the 25 connect two others
    assert [lesion.volume_ml for lesion in found] == pytest.approx([0.003, 0.003])


def test_no_lesion() -> None:
    assert measure(np.ones((2, 3, 4), np.uint8), AFFINE, VOXEL_ML) == (0, [])


@given(LABELS, st.sampled_from([1, 2]))
@settings(deadline=None, max_examples=60)
def test_the_box_is_tight(labels: np.ndarray, lowest: int) -> None:
    box = label_box(labels, lowest)
    places = np.argwhere(labels >= lowest)
    if box is None:
        assert not len(places)
    else:
        assert [(side.start, side.stop - 1) for side in box] == list(
            zip(places.min(axis=0), places.max(axis=0), strict=True)
        )


@given(st.floats(2, 12), st.tuples(*[st.floats(0.4, 0.8)] * 3))
@settings(deadline=None, max_examples=20)
def test_a_ball_has_its_own_diameter(radius: float, spacing: tuple[float, float, float]) -> None:
    z, y, x = (np.arange(-40, 41) * side for side in spacing)
    ball = z[:, None, None] ** 2 + y[:, None] ** 2 + x**2 <= radius**2
    assert ball_diameter(ball.sum() * np.prod(spacing) / 1000) == pytest.approx(2 * radius, rel=0.06)


@given(st.floats(1e-4, 1e3), st.floats(0.1, 10))
@settings(deadline=None, max_examples=50)
def test_a_diameter_grows_with_the_sides_and_a_class_with_the_volume(volume_ml: float, scale: float) -> None:
    assert ball_diameter(scale**3 * volume_ml) == pytest.approx(scale * ball_diameter(volume_ml))
    assert ball_diameter(volume_ml) == pytest.approx((6000 * volume_ml / np.pi) ** (1 / 3))
    assert size_class(volume_ml) <= size_class(volume_ml * (1 + scale))


def test_classes_of_size() -> None:
    volumes = [np.pi / 6000 * diameter**3 for diameter in (9.99, 10.01, 19.99, 20.01)]
    assert [size_class(volume) for volume in volumes] == [0, 1, 1, 2]
