"""Paint the organs around the liver: spleen, lungs, heart, kidneys, pancreas and gallbladder.

HU without contrast agent: lung -850 to -910, kidney 20 to 40, spleen 35 to 55, bile 0 to 20 (Prokop & Galanski, Spiral
and Multislice CT of the Body, 2003). Enhanced organs: ``anatomy.PHASES``.
"""

import numpy as np

from lits_seg.phantom.axes import curve, ellipsoid, tube
from lits_seg.phantom.patient import FAT, LUNG, Patient


def paint_spleen(p: Patient) -> None:
    """Paint the spleen, a crescent around its hilum."""
    rng = p.rng
    centre = p.jitter((0.74 * p.body[0], p.back - 12, 26), 7)
    radii = np.array((30, 46, 50)) * np.clip(rng.normal(1, 0.17), 0.65, 1.5)
    box, distance = ellipsoid(p.axes, centre, radii, rng.normal(0, 0.25, 3))
    x, y, _ = p.axes.points(box)
    hollow = np.hypot((x - centre[0] + radii[0] + 4) / rng.uniform(18, 32), (y - centre[1] + 16) / 28) < 1
    hu = p.levels.spleen + np.zeros_like(distance)
    if p.phase == "arterial":  # red and white pulp take up contrast agent at different rates
        hu += 30 * np.sin(4 * p.noise(18.0, box))
    p.paint(box, (distance < 1) & ~hollow, hu, within=p.cavity)


def dome(p: Patient) -> np.ndarray:
    """Return the height z of the diaphragm at each (x, y) in mm, ``(X, Y, 1)``."""
    x, y = p.axes.x[:, None, None], p.axes.y[None, :, None]
    wide, deep = 0.54 * p.body[0], 1.05 * p.body[1]
    right = 90 - 95 * (((x + 72) / wide) ** 2 + (y / deep) ** 2) ** 2
    left = 78 - 95 * (((x - 72) / wide) ** 2 + (y / deep) ** 2) ** 2
    heart = 62 - 95 * ((x / (1.4 * wide)) ** 2 + ((y + 25) / (0.8 * deep)) ** 2) ** 2
    return np.maximum.reduce((right, left, heart, np.full_like(heart, -60)))


def paint_chest(p: Patient) -> None:
    """Paint the lungs with their vessels, the heart with its chambers, and sometimes fluid around the lungs."""
    rng = p.rng
    x, y, z = p.axes.bent
    above = (z > dome(p)) & p.cavity
    lung = above & ((np.abs(x) > 26) | (y < -30))
    grain = p.noise(6.0)
    np.copyto(p.hu, np.where(grain > 2.1, 20.0, LUNG + 40 * grain), where=lung)
    if rng.random() < 0.15:
        side = rng.choice([-1, 1])
        p.hu[lung & (side * x > 0) & (y > p.back + rng.uniform(-25, 25))] = rng.uniform(2, 25)
    contrast = p.phase != "none"
    muscle = rng.uniform(80, 130) if contrast else p.levels.aorta
    left = rng.uniform(0.8, 1) * p.levels.aorta
    right = rng.uniform(0.7, 1.1) * p.levels.portal_vein
    centre = p.jitter((22, p.middle - 8, 112), 6)
    for shift, radii, hu in (
        ((0, 0, 0), (68, 55, 48), FAT),
        ((0, 0, 0), (62, 50, 42), muscle),
        ((20, 10, 0), (28, 26, 30), left),
        ((-20, -16, 0), (32, 22, 30), right),
        ((-26, 22, 0), (24, 18, 28), right),
    ):
        box, distance = ellipsoid(p.axes, centre + shift, np.array(radii), np.array((0.0, 0.0, 0.5)))
        p.paint(box, (distance < 1) & above[box], hu)


def paint_neighbours(p: Patient) -> None:
    """Paint organs that indent the liver: kidneys with their fat, hilum, gallbladder and pancreas."""
    rng = p.rng
    for side in (-1, 1):
        centre = p.jitter((side * 0.45 * p.body[0], p.back - 6, -58 if side < 0 else -42), 5)
        radii = np.array((28, 25, 52)) * rng.uniform(0.85, 1.15)
        angles = np.array((0.25, 0.1 * side, 0.5 * side))
        box, distance = ellipsoid(p.axes, centre, radii + 6, angles)
        p.paint(box, distance < 1, FAT, within=p.cavity)
        box, distance = ellipsoid(p.axes, centre, radii, angles)
        cortex = np.where(distance > 0.72, p.levels.cortex, p.levels.medulla)
        p.paint(box, distance < 1, np.where(distance < 0.4, rng.choice([FAT, 10.0]), cortex), within=p.cavity)
    hilum = p.jitter((-26, p.middle + 13, -12), 5)
    box, distance = ellipsoid(p.axes, hilum, np.array((24, 12, 13)) * rng.uniform(0.7, 1.2), rng.normal(0, 0.4, 3))
    p.paint(box, distance < 1, rng.uniform(-95, -30), within=p.cavity)
    if rng.random() < 0.8:
        centre = p.jitter((-46, p.middle - 13, -66), 8)  # half below the liver
        angles, radii = rng.normal(0, 0.35, 3), np.array((15, 18, 30)) * rng.uniform(0.6, 1.25)
        box, distance = ellipsoid(p.axes, centre, radii, angles)
        p.paint(box, distance < 1, rng.uniform(40, 70), within=p.cavity)  # its wall
        p.paint(box, distance < 0.88, rng.uniform(-2, 22), within=p.cavity)
    corners = ((-24, 14, -48), (4, 0, -28), (36, 12, -4), (70, 34, 14))
    points = curve(np.array([p.jitter((x, p.middle + y, z), 4) for x, y, z in corners]), step=4)
    box, distance = tube(p.axes, points, np.linspace(14, 9, len(points)) * rng.uniform(0.8, 1.15))
    distance = distance + 0.13 * p.noise(5.0, box)  # the pancreas is lobulated
    p.paint(box, distance < 1, p.levels.bowel + rng.uniform(-5, 15), within=p.cavity)
