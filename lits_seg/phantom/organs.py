"""Paint the organs around the liver: trunk, spine, bowel, stomach, spleen, lungs, heart, kidneys, gallbladder."""

import numpy as np

from lits_seg.phantom.axes import ellipsoid, smooth_noise
from lits_seg.phantom.patient import FAT, LUNG, Patient


def paint_body(p: Patient, body: tuple[float, float]) -> None:
    """Paint the trunk (skin, fat, muscles and ribs) and set the patient's cavity.

    Args:
        p: the patient.
        body: half width and half depth of the trunk in mm.
    """
    rng, everything = p.rng, (slice(None),) * 3
    x, y, z = p.axes.points(everything)
    (a, b), n = body, rng.uniform(2.1, 2.7)
    fat, wall = rng.uniform(5, 32), rng.uniform(9, 15)
    cavity = (a - fat - wall, b - 0.7 * fat - wall)
    p.body = cavity

    def outline(wide: float, deep: float) -> np.ndarray:
        return (np.abs(x) / wide) ** n + (np.abs(y) / deep) ** n

    p.hu[outline(a, b) < 1] = 20.0  # skin
    p.hu[outline(a - 2.5, b - 2.5) < 1] = FAT
    muscle = outline(a - fat, b - 0.7 * fat) < 1
    streaks = smooth_noise(rng, p.axes.shape, p.axes.extent, 7.0)
    p.hu[muscle] = np.where(streaks > 1.3, -40.0, rng.uniform(48, 65))[muscle]
    p.cavity = outline(*cavity) < 1
    p.hu[p.cavity] = (FAT + 8 * smooth_noise(rng, p.axes.shape, p.axes.extent, 12.0))[p.cavity]
    # Ribs are oblique bands in a shell of the wall, dense outside and spongy inside.
    depth = outline(cavity[0] + wall * 0.45, cavity[1] + wall * 0.45) - 1
    pitch, slope = rng.uniform(24, 30), rng.uniform(35, 60)
    height = np.cos(2 * np.pi * (z + slope * np.abs(np.arctan2(x, y)) + rng.uniform(0, pitch)) / pitch)
    rib = (np.abs(depth) < 0.11) & (height > 0.5) & (np.abs(x) > 18) & (z > rng.uniform(-90, -50) - 0.35 * (y + 60))
    p.hu[rib] = rng.uniform(260, 520)
    p.hu[rib & (np.abs(depth) < 0.055) & (height > 0.72)] = rng.uniform(120, 220)


def paint_spine_and_muscles(p: Patient) -> None:
    """Paint the spine and the muscles of the back."""
    rng = p.rng
    back = min(p.body[1] - 28, 70.0)
    for side in (-1, 1):  # muscles of the back, psoas
        for centre, radii in (((side * 34, back + 24, 0), (28, 20, 400)), ((side * 34, back + 2, -90), (17, 20, 70))):
            box, distance = ellipsoid(p.axes, np.array(centre), np.array(radii))
            p.paint(box, distance < 1, rng.uniform(45, 62))
    body = rng.uniform(18, 23)
    box, distance = ellipsoid(p.axes, np.array((0.0, back, 0.0)), np.array((body * 1.15, body * 0.9, 4000.0)))
    _, _, z = p.axes.points(box)
    disc = np.cos(2 * np.pi * (z + rng.uniform(0, 34)) / rng.uniform(30, 36)) > 0.86
    bone = np.where(distance > 0.86, rng.uniform(280, 450), rng.uniform(130, 230))
    p.paint(box, distance < 1, np.where(disc, 85.0, bone))
    for centre, radii, hu in (
        ((0, back + 30, 0), (11, 9, 4000), rng.uniform(250, 420)),  # ring around the canal
        ((0, back + 28, 0), (8, 7, 4000), 30.0),
        ((0, back + 44, 0), (4, 14, 4000), rng.uniform(220, 380)),  # spinous process
        ((-28, back + 27, 0), (17, 4, 4000), rng.uniform(200, 350)),
        ((28, back + 27, 0), (17, 4, 4000), rng.uniform(200, 350)),
    ):
        box, distance = ellipsoid(p.axes, np.array(centre, float), np.array(radii, float))
        p.paint(box, distance < 1, hu)


def _hollow(p: Patient, centre: np.ndarray, radii: np.ndarray, wall: float) -> None:
    """Paint a hollow organ: a wall around fluid, food or oral contrast, with anterior gas in half of the organs."""
    rng = p.rng
    box, distance = ellipsoid(p.axes, centre, radii, rng.normal(0, 0.5, 3))
    content: float | np.ndarray = rng.choice(
        [rng.uniform(0, 35), rng.uniform(30, 70), rng.uniform(150, 450)], p=[0.5, 0.25, 0.25]
    )
    _, y, _ = p.axes.points(box)
    if rng.random() < 0.5:
        content = np.where(y < centre[1] - rng.uniform(-0.3, 0.7) * radii[1], -900.0, content)
    inner = 1 - wall / float(min(radii))
    p.paint(box, distance < 1, np.where(distance < inner, content, rng.uniform(35, 90)), within=p.cavity)


def paint_bowel(p: Patient) -> None:
    """Paint bowel loops, colon, pancreas and lymph nodes."""
    rng = p.rng
    for _ in range(rng.integers(30, 55)):
        centre = np.array(
            (rng.uniform(-0.8, 0.8) * p.body[0], rng.uniform(-0.85, 0.3) * p.body[1], rng.uniform(-170, 5))
        )
        _hollow(p, centre, rng.uniform(8, 24, 3), wall=rng.uniform(1.5, 4))
    for side in (-1, 1):  # ascending and descending colon
        centre = np.array((side * 0.78 * p.body[0], 0.15 * p.body[1], -50 if side > 0 else -80))
        _hollow(p, centre, np.array((20, 20, 70)) * rng.uniform(0.8, 1.2), wall=2.5)
    for _ in range(rng.integers(5, 11)):  # pancreas, lymph nodes, mesenteric vessels
        box, distance = ellipsoid(
            p.axes, p.jitter((20, 0, -30), 30), np.array((32, 10, 11)) * rng.uniform(0.3, 1.2), rng.normal(0, 0.5, 3)
        )
        p.paint(box, distance < 1, rng.uniform(40, 110 if p.phase == "portal" else 70), within=p.cavity)


def paint_stomach_and_spleen(p: Patient) -> None:
    """Paint the stomach and the spleen."""
    rng = p.rng
    _hollow(p, p.jitter((58, -38, 25), 9), np.array((48, 34, 46)) * rng.uniform(0.6, 1.15), wall=rng.uniform(3, 6))
    box, distance = ellipsoid(
        p.axes,
        p.jitter((0.72 * p.body[0], 30, 28), 7),
        np.array((32, 48, 50)) * rng.uniform(0.7, 1.25),
        rng.normal(0, 0.3, 3),
    )
    hu = p.levels[1] + np.zeros_like(distance)
    if p.phase == "arterial":
        hu = hu + 30 * np.sin(distance * 25)
    p.paint(box, distance < 1, hu, within=p.cavity)


def dome(p: Patient) -> np.ndarray:
    """Return the height z of the diaphragm at each (x, y) in mm, ``(X, Y, 1)``."""
    x, y = p.axes.x[:, None, None], p.axes.y[None, :, None]
    right = 92 - 95 * (((x + 72) / 95) ** 2 + ((y + 5) / 92) ** 2)
    left = 80 - 95 * (((x - 72) / 92) ** 2 + ((y + 5) / 92) ** 2)
    return np.maximum(np.maximum(right, left), -60.0)


def paint_lungs_and_heart(p: Patient) -> None:
    """Paint the lungs and the heart above the diaphragm."""
    rng = p.rng
    z = p.axes.z[None, None, :] + p.axes.warp[2]
    above = (z > dome(p)) & p.cavity
    x, y, _ = p.axes.points((slice(None),) * 3)
    lung = above & ((np.abs(x) > 26) | (y < -30))
    p.hu[lung] = (LUNG + 40 * smooth_noise(rng, p.axes.shape, p.axes.extent, 6.0))[lung]
    box, distance = ellipsoid(p.axes, p.jitter((22, -38, 112), 6), np.array((62, 50, 42)))
    p.paint(box, (distance < 1) & above[box], rng.uniform(40, 60) if p.phase == "none" else rng.uniform(100, 190))


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
