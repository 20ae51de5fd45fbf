"""Paint the vessels: those of the mesentery, the great ones, and the veins within the liver.

The radii are half of what anatomy books give: aorta 9 to 13 mm, portal vein 5 to 7 mm, mesenteric vessels 1 to 5 mm.
"""

from collections.abc import Iterator

import numpy as np

from lits_seg.phantom.axes import curve, ellipsoid, tube
from lits_seg.phantom.patient import Patient


def _paint_tube(p: Patient, points: np.ndarray, radii: np.ndarray, hu: float, within: np.ndarray) -> None:
    box, distance = tube(p.axes, points, radii)
    p.paint(box, distance < 1, hu, within=within)


def paint_mesentery(p: Patient) -> None:
    """Paint small vessels and lymph nodes in the fat between the loops of bowel."""
    rng, lowest = p.rng, max(float(p.axes.z[0]), -250.0)
    for _ in range(int(0.3 * max(0.0, 60 - lowest))):
        start = np.array((rng.uniform(-0.7, 0.8) * p.body[0], rng.uniform(p.front + 15, p.back - 25), 0))
        start[2] = rng.uniform(lowest, 60 if start[0] > 0 else 0)
        points = curve(np.cumsum(np.vstack((start, rng.normal(0, 16, (3, 3)))), axis=0), step=2)
        _paint_tube(p, points, np.linspace(rng.uniform(2, 4.5), 1.2, len(points)), p.levels.portal_vein, p.cavity)


def paint_great_vessels(p: Patient) -> None:
    """Paint the aorta, the vena cava, and the vessels of spleen, bowel and kidneys."""
    rng, back, aorta, portal = p.rng, p.back, p.levels.aorta, p.levels.portal_vein
    cava = 0.5 * (p.levels.liver_veins + p.levels.liver)
    for centre, radius, hu in (
        ((9.0, back - 31, 0.0), rng.uniform(9, 13), aorta),
        ((-24.0, back - 32, 0.0), rng.uniform(10, 15), cava),
    ):
        box, distance = ellipsoid(p.axes, p.jitter(centre, 2), np.array((radius, radius * 0.85, 4000.0)))
        p.paint(box, distance < 1, hu + np.where(distance > 0.93, 10.0, 0.0))
    joint, outside = (-8, p.middle + 10, -32), p.cavity & ~p.liver
    for radius, hu, corners in (
        (6.5, portal, (joint, (-18, p.middle + 12, -20), (-30, p.middle + 13, -8))),  # portal vein
        (5.0, portal, (joint, (32, p.middle + 24, -2), (0.6 * p.body[0], back - 22, 22))),  # of the spleen
        (5.0, portal, (joint, (-5, p.middle + 4, -90), (-4, p.middle, -170))),  # of the bowel
        (3.5, aorta, ((8, back - 44, -20), (9, p.middle + 14, -70), (8, p.middle + 2, -160))),  # of the bowel
        (4.0, cava, ((-24, back - 34, -52), (-36, back - 28, -54), (-0.4 * p.body[0], back - 10, -56))),  # of a kidney
        (4.0, cava, ((-20, back - 38, -46), (12, back - 46, -44), (0.4 * p.body[0], back - 10, -42))),
    ):
        points = curve(np.array([p.jitter(corner, 2) for corner in corners]), step=2)
        _paint_tube(p, points, np.full(len(points), radius * rng.uniform(0.8, 1.2)), hu, outside)


def paint_liver_vessels(p: Patient) -> None:
    """Paint the liver's veins, from the vena cava, and the branches of the portal vein; they are part of the liver."""
    rng, liver, mid = p.rng, p.liver.copy(), p.middle + 29
    for root, targets, radius, hu in (
        (
            (-24, p.back - 34, 62),
            ((-110, mid - 8, 20), (-60, mid - 53, 25), (20, mid - 43, 30), (-90, mid + 42, 10)),
            5.5,
            p.levels.liver_veins,
        ),
        (
            (-30, p.middle + 13, -8),
            ((-110, mid + 17, -25), (-95, mid - 33, 5), (-15, mid - 48, 20), (-75, mid + 47, -40)),
            6.5,
            p.levels.portal_vein,
        ),
    ):
        for target in targets:
            for points, radii in _branch(rng, np.array(root), p.jitter(target, 12), rng.uniform(0.7, 1.3) * radius, 3):
                _paint_tube(p, points, radii, hu, liver)
    p.liver = liver


def _branch(
    rng: np.random.Generator, start: np.ndarray, end: np.ndarray, radius: float, depth: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield points and radii in mm along a vessel that bends, tapers and branches, and of its branches."""
    length = float(np.linalg.norm(end - start))
    bend = rng.normal(0, 0.1 * length, 3)
    t = np.arange(0, 1, min(1.0, 0.8 * radius / max(length, 1.0)))
    path = start + t[:, None] * (end - start) + np.sin(np.pi * t)[:, None] * bend
    yield path, radius * (1 - 0.6 * t)
    if depth:
        for s in rng.uniform(0.3, 1.0, 3):
            fork = start + s * (end - start) + np.sin(np.pi * s) * bend
            aside = rng.normal(0, 1, 3)
            tip = fork + 0.45 * (end - start) + 0.4 * length * aside / np.linalg.norm(aside)
            yield from _branch(rng, fork, tip, radius * (1 - 0.6 * s) * rng.uniform(0.55, 0.85), depth - 1)
