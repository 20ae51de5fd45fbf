"""Paint the trunk: skin, fat, muscles, ribs, spine and pelvis.

HU: muscle 48 to 68, fat -50 to -110 (Prokop & Galanski, Spiral and Multislice CT of the Body, 2003). Muscle and costal
cartilage have the HU of an unenhanced liver. The proportions are those of public CTs (LiTS, CHAOS): the spine's centre
is 70 mm in front of the fat of the back, between two muscles 60 to 80 mm wide and 50 mm deep.
"""

import numpy as np

from lits_seg.phantom.axes import ellipsoid
from lits_seg.phantom.patient import FAT, Patient


def paint_trunk(p: Patient, body: tuple[float, float]) -> None:
    """Paint skin, fat, muscles and ribs, and set the patient's cavity: muscle is what surrounds the cavity.

    Args:
        p: the patient.
        body: half width and half depth of the trunk in mm.
    """
    rng, (a, b), n = p.rng, body, p.rng.uniform(2.1, 2.7)
    fat, wall = rng.uniform(5, min(32, b - 85)), rng.uniform(9, 15)
    p.body, p.back = (a - fat - wall, b - 0.7 * (fat + wall)), b - rng.uniform(68, 76) - 0.7 * fat
    x, y = p.axes.x[:, None, None] + 0.5 * p.axes.warp[0], p.axes.y[:, None] + 0.5 * p.axes.warp[1]
    across, depth = np.abs(x / a) ** n, np.abs(y / b)
    groove = 0.12 * np.exp(-((p.axes.x / 18) ** 2))[:, None, None]
    along = np.where(y > 0, depth**3.2 + groove * depth, depth**n)  # the back is flat, with a groove over the spine

    def outline(inset: float) -> np.ndarray:
        return across * (a / (a - inset)) ** n + along * (b / (b - 0.7 * inset)) ** n

    p.hu[outline(0) < 1] = 20.0  # skin
    p.hu[outline(2.5) < 1] = FAT
    p.cavity[:] = outline(fat + wall) < 1
    for side in (-1, 1):
        for centre, radii in (
            ((38, p.back + 41, 0), (40, 27, 4000)),  # erector muscle of the back
            ((36, p.back + 2, -110), (16, 19, 85)),  # psoas
            ((62, p.back + 20, -95), (20, 8, 70)),  # quadratus lumborum
        ):
            box, distance = ellipsoid(p.axes, np.array((side * centre[0], *centre[1:])), np.array(radii))
            p.cavity[box] &= distance > 1
    streaks = p.noise(7.0)
    middle = outline(fat + 0.55 * wall) - 1  # of the wall
    fatty = (streaks > rng.uniform(1.1, 2.2)) | (np.abs(middle) < 0.012)
    np.copyto(p.hu, np.where(fatty, -40.0, p.muscle), where=(outline(fat) < 1) & ~p.cavity, casting="same_kind")
    folds = 8 * p.noise(12.0)
    np.copyto(p.hu, FAT + folds, where=p.cavity)
    _paint_ribs(p, middle)


def _paint_ribs(p: Patient, middle: np.ndarray) -> None:
    """Paint ribs: oblique bands in the wall, dense outside and spongy inside, with cartilage in front."""
    rng, (x, y) = p.rng, (p.axes.x[:, None, None], p.axes.y[:, None])
    z = p.axes.bent[2]
    pitch, slope = rng.uniform(24, 30), rng.uniform(35, 60)
    height = np.cos(2 * np.pi * (z + slope * np.abs(np.arctan2(x, y)) + rng.uniform(0, pitch)) / pitch)
    lowest = rng.uniform(-90, -50) - 0.35 * (y + 60)
    rib = (np.abs(middle) < 0.09) & (height > 0.5) & (np.abs(x) > 18) & (z > lowest)
    bone = np.where(y < -0.6 * p.body[1], rng.uniform(70, 140), rng.uniform(260, 520))  # cartilage in front
    np.copyto(p.hu, bone, where=rib, casting="same_kind")
    p.hu[rib & (np.abs(middle) < 0.05) & (height > 0.72) & (bone > 200)] = rng.uniform(120, 220)


def paint_spine(p: Patient) -> None:
    """Paint the spine, and the crura of the diaphragm in front of the spine."""
    rng, back = p.rng, p.back
    size = rng.uniform(19, 24)
    box, distance = ellipsoid(p.axes, np.array((0.0, back, 0.0)), np.array((size * 1.15, size * 0.88, 4000.0)))
    z = p.axes.bent[2][box]
    disc = np.cos(2 * np.pi * (z + rng.uniform(0, 34)) / rng.uniform(30, 36)) > 0.86
    bone = np.where(distance > 0.86, rng.uniform(280, 450), rng.uniform(130, 230))
    p.paint(box, distance < 1, np.where(disc, 85.0, bone))
    p.cavity[box] &= distance > 1.04
    for centre, radii, hu in (
        ((0, back + 28, 0), (12, 11, 4000), rng.uniform(250, 420)),  # ring around the canal
        ((0, back + 27, 0), (9, 8, 4000), 30.0),
        ((0, back + 46, 0), (4, 14, 4000), rng.uniform(220, 380)),  # spinous process
        ((-28, back + 25, 0), (17, 4, 4000), rng.uniform(200, 350)),
        ((28, back + 25, 0), (17, 4, 4000), rng.uniform(200, 350)),
    ):
        box, distance = ellipsoid(p.axes, np.array(centre, float), np.array(radii, float))
        p.paint(box, distance < 1, hu)
    for side in (-1, 1):
        box, distance = ellipsoid(p.axes, p.jitter((side * 15, back - 22, 5), 2), np.array((6, 13, 65)))
        p.paint(box, distance < 1, p.muscle, within=p.cavity)


def paint_pelvis(p: Patient) -> None:
    """Paint the pelvis if the scan reaches so low: hip bones, muscles, bladder, and uterus or prostate."""
    rng, back = p.rng, p.back
    if p.axes.z[0] > -190:
        return
    urine = rng.uniform(-2, 18) if rng.random() < 0.85 else rng.uniform(150, 500)
    for x, y, z, radii, turn, hu in (
        (92, back + 36, -280, (50, 32, 75), 0.0, p.muscle),  # gluteal muscles
        (58, back - 16, -245, (25, 24, 75), 0.0, p.muscle),  # iliopsoas
        (86, back + 6, -262, (8, 46, 66), 0.5, rng.uniform(200, 420)),  # hip bone
        (0, p.front + 62, -300, (42, 34, 38), 0.0, urine),
        (0, back - 32, -300, (26, 22, 28), 0.0, rng.uniform(45, 115)),  # uterus or prostate
    ):
        for side in (-1, 1):
            angles = np.array((0.3 if turn else 0.0, 0.0, -side * turn))
            box, distance = ellipsoid(p.axes, np.array((side * x, y, z), float), np.array(radii, float), angles)
            p.paint(box, (distance < 1) & (p.hu[box] > -500), hu)
