"""Paint the aorta, the vena cava and the veins within the liver."""

from collections.abc import Iterator

import numpy as np

from lits_seg.phantom.axes import ellipsoid
from lits_seg.phantom.patient import Patient


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
