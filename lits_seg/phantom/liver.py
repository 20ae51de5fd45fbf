"""Paint the liver, the neighbouring organs and the great vessels."""

from collections.abc import Iterator

import numpy as np

from lits_seg.phantom.axes import ellipsoid, smooth_noise
from lits_seg.phantom.organs import dome
from lits_seg.phantom.patient import FAT, Patient


def paint_liver(p: Patient) -> None:
    """Paint the liver from three lobes, with texture and fissure."""
    rng, axes = p.rng, p.axes
    size = rng.uniform(0.86, 1.1)
    parts = (
        ((-0.55 * p.body[0], 4, -2), (74, 88, 92), (0.1, -0.15, 0.25)),
        ((-0.28 * p.body[0], -28, 22), (72, 54, 52), (0.0, 0.1, -0.2)),
        ((10, -46, 34), (rng.uniform(55, 92), 36, rng.uniform(28, 46)), (0.0, 0.2, -0.1)),
    )
    field = np.full(axes.shape, 9.0, np.float32)
    for centre, radii, angles in parts:
        turned = np.array(angles) + rng.normal(0, 0.1, 3)
        box, distance = ellipsoid(axes, p.jitter(centre, 4), size * np.array(radii), turned)
        # A soft minimum joins the lobes without a crease.
        field[box] = -0.09 * np.logaddexp(-field[box] / 0.09, -distance / 0.09)
    z = axes.z[None, None, :] + axes.warp[2]
    x, y, _ = axes.points((slice(None),) * 3)
    inside = (field < 1) & p.cavity & (z < dome(p) - 3)
    inside &= np.hypot(x / 30, (y - min(p.body[1] - 28, 70.0)) / 32) > 1  # the spine and crura
    # The lower surface rises towards the left and the back.
    inside &= z > -88 * size + 0.55 * (x + 0.6 * p.body[0]) + 0.1 * (y + 20)
    p.liver |= inside
    texture = 3.5 * smooth_noise(rng, axes.shape, axes.extent, 45.0) + rng.uniform(1, 5) * smooth_noise(
        rng, axes.shape, axes.extent, rng.uniform(3, 8)
    )
    p.hu = np.where(inside, p.levels[0] + texture, p.hu).astype(np.float32)
    if rng.random() < 0.75:  # fissure of the ligamentum teres, with fat
        wide = rng.uniform(2, 6)
        fissure = (np.abs(x + 8 - 0.25 * (y + 40)) < wide) & (y < rng.uniform(-45, -25)) & (z < rng.uniform(0, 30))
        p.paint((slice(None),) * 3, fissure & inside, -70.0)


def paint_neighbours(p: Patient) -> None:
    """Paint organs that indent the liver: kidneys with their fat, hilum and gallbladder."""
    rng = p.rng
    for side in (-1, 1):
        centre = p.jitter((side * 0.5 * p.body[0], 0.58 * p.body[1], -58 if side < 0 else -42), 5)
        radii = np.array((29, 25, 52)) * rng.uniform(0.85, 1.15)
        angles = np.array((0.25, 0.1 * side, 0.5 * side))
        box, distance = ellipsoid(p.axes, centre, radii + 6, angles)
        p.paint(box, distance < 1, FAT, within=p.cavity)
        box, distance = ellipsoid(p.axes, centre, radii, angles)
        cortex = np.where(distance > 0.72, p.levels[2], p.levels[3])
        p.paint(box, distance < 1, np.where(distance < 0.4, rng.choice([FAT, 10.0]), cortex), within=p.cavity)
    hilum = p.jitter((-26, -4, -12), 5)
    box, distance = ellipsoid(p.axes, hilum, np.array((24, 12, 13)) * rng.uniform(0.7, 1.2), rng.normal(0, 0.4, 3))
    p.paint(box, distance < 1, rng.uniform(-95, -30), within=p.cavity)
    if rng.random() < 0.8:
        centre = p.jitter((-46, -44, -66), 8)  # half below the liver
        angles, radii = rng.normal(0, 0.35, 3), np.array((15, 18, 30)) * rng.uniform(0.6, 1.25)
        box, distance = ellipsoid(p.axes, centre, radii, angles)
        p.paint(box, distance < 1, rng.uniform(40, 70), within=p.cavity)  # its wall
        p.paint(box, distance < 0.88, rng.uniform(-2, 22), within=p.cavity)


def paint_great_vessels(p: Patient) -> None:
    """Paint the aorta, the vena cava and the veins within the liver."""
    back = min(p.body[1] - 28, 70.0)
    aorta, veins = p.levels[4], p.levels[5]
    for centre, radius, hu in (
        ((9.0, back - 30, 0.0), p.rng.uniform(9, 13), aorta),
        ((-24.0, back - 32, 0.0), p.rng.uniform(10, 15), 0.5 * (veins + p.levels[0])),
    ):
        box, distance = ellipsoid(p.axes, p.jitter(centre, 2), np.array((radius, radius * 0.85, 4000.0)))
        p.paint(box, distance < 1, hu + np.where(distance > 0.93, 10.0, 0.0))
    ivc_top = np.array((-24.0, back - 34, 62.0))
    hilum = np.array((-28.0, -2.0, -8.0))
    for root, targets, radius in (
        (ivc_top, ((-110, -10, 20), (-60, -55, 25), (20, -45, 30), (-90, 40, 10)), 5.5),
        (hilum, ((-110, 15, -25), (-95, -35, 5), (-15, -50, 20), (-75, 45, -40)), 6.5),
    ):
        for target in targets:
            for point, width in _branch(p.rng, root, p.jitter(target, 12), p.rng.uniform(0.7, 1.3) * radius, depth=2):
                box = p.axes.box(point, width, bent=False)
                x, y, z = (axis - middle for axis, middle in zip(p.axes.points(box, bent=False), point, strict=True))
                inside = (x**2 + y**2 + z**2 < width**2) & p.liver[box]
                p.hu[box] = np.where(inside, veins, p.hu[box])


def _branch(
    rng: np.random.Generator, start: np.ndarray, end: np.ndarray, radius: float, depth: int
) -> Iterator[tuple[np.ndarray, float]]:
    """Yield points and radii in mm along a vessel that bends, tapers and branches."""
    length = float(np.linalg.norm(end - start))
    bend = rng.normal(0, 0.1 * length, 3)
    for t in np.arange(0, 1, min(1.0, 0.8 * radius / max(length, 1.0))):
        yield start + t * (end - start) + np.sin(np.pi * t) * bend, radius * (1 - 0.6 * t)
    if depth:
        for t in rng.uniform(0.3, 1.0, 3):
            fork = start + t * (end - start) + np.sin(np.pi * t) * bend
            aside = rng.normal(0, 1, 3)
            tip = fork + 0.45 * (end - start) + 0.4 * length * aside / np.linalg.norm(aside)
            yield from _branch(rng, fork, tip, radius * (1 - 0.6 * t) * rng.uniform(0.55, 0.85), depth - 1)
