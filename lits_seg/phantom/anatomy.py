"""The phantom's patient: organs of the upper abdomen as warped ellipsoids and tubes, in HU.

Coordinates are mm, x to the patient's left, y to posterior, z to superior, the origin in the liver's middle.
Arrays are indexed ``[x, y, z]``.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

AIR, FAT, LUNG = -1000.0, -105.0, -850.0

# Ranges of HU by contrast phase: liver, spleen, kidney cortex, kidney medulla, aorta, veins of the liver.
PHASES: dict[str, tuple[float, tuple[tuple[float, float], ...]]] = {
    "none": (0.10, ((45, 65), (42, 55), (30, 38), (28, 34), (35, 48), (30, 42))),
    "arterial": (0.12, ((60, 85), (85, 130), (140, 220), (50, 80), (220, 360), (55, 95))),
    "portal": (0.68, ((85, 135), (105, 140), (160, 215), (130, 180), (130, 190), (130, 195))),
    "late": (0.10, ((75, 105), (85, 110), (130, 180), (130, 180), (95, 125), (95, 125))),
}

Box = tuple[slice, slice, slice]


@dataclass
class Grid:
    """Voxel centres in mm, bent by a smooth random warp so that no organ is an exact ellipsoid."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    warp: tuple[np.ndarray, np.ndarray, np.ndarray]
    reach: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(X, Y, Z)``."""
        return (len(self.x), len(self.y), len(self.z))

    def box(self, centre: np.ndarray, radius: float, bent: bool = True) -> Box:
        """Indices of the voxels within ``radius`` mm (and the warp's reach) of a point."""
        bounds, radius = [], radius + self.reach * bent
        for axis, middle in zip((self.x, self.y, self.z), centre, strict=True):
            low, high = np.searchsorted(axis, (middle - radius, middle + radius))
            bounds.append(slice(int(low), int(high)))
        return tuple(bounds)  # type: ignore[return-value]

    def points(self, box: Box, bent: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coordinates of a box's voxels, each ``(x, y, z)`` in mm."""
        axes = np.meshgrid(self.x[box[0]], self.y[box[1]], self.z[box[2]], indexing="ij", copy=False)
        if not bent:
            return tuple(axes)
        return tuple(axis + shift[box] for axis, shift in zip(axes, self.warp, strict=True))


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int, int], extent: np.ndarray, scale: float) -> np.ndarray:
    """Random field of standard deviation near 1 that varies over ``scale`` mm; ``extent`` of the volume in mm."""
    nodes = [max(2, int(np.ceil(length / scale)) + 1) for length in extent]
    coarse = torch.from_numpy(rng.standard_normal(nodes).astype(np.float32))[None, None]
    fine = [min(4 * n, size) for n, size in zip(nodes, shape, strict=True)]
    for size in (fine, shape):  # twice linear is smooth enough, and fast
        coarse = functional.interpolate(coarse, tuple(size), mode="trilinear", align_corners=True)
    return coarse[0, 0].numpy() * 1.6


def make_grid(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> Grid:
    """A grid with its warp: some 6 mm over 60 mm, and 1.5 mm over 18 mm."""
    shape, extent = (len(x), len(y), len(z)), np.array([np.ptp(x), np.ptp(y), np.ptp(z)])
    fields = [
        6.0 * smooth_noise(rng, shape, extent, 60.0) + 1.5 * smooth_noise(rng, shape, extent, 18.0) for _ in "xyz"
    ]
    return Grid(x, y, z, (fields[0], fields[1], fields[2]), reach=26.0)


def rotation(angles: np.ndarray) -> np.ndarray:
    """Rotation matrix from three angles in radians."""
    (a, b, c), turns = angles, []
    for angle, (i, j) in ((a, (1, 2)), (b, (0, 2)), (c, (0, 1))):
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        turns.append(turn)
    return turns[0] @ turns[1] @ turns[2]


def ellipsoid(
    grid: Grid, centre: np.ndarray, radii: np.ndarray, angles: np.ndarray | None = None
) -> tuple[Box, np.ndarray]:
    """A box and the relative distance in it: below 1 inside the ellipsoid."""
    box = grid.box(centre, float(max(radii)))
    points = [axis - middle for axis, middle in zip(grid.points(box), centre, strict=True)]
    if angles is not None:
        turn = rotation(angles).astype(np.float32)
        points = [sum(turn[i, j] * points[j] for j in range(3)) for i in range(3)]
    return box, np.sqrt(sum((axis / radius) ** 2 for axis, radius in zip(points, radii, strict=True)))


@dataclass
class Patient:
    """The state while a patient is painted: HU and labels ``(X, Y, Z)``, and what is random about them."""

    rng: np.random.Generator
    grid: Grid
    hu: np.ndarray
    liver: np.ndarray
    cavity: np.ndarray
    phase: str
    levels: tuple[float, ...]  # liver, spleen, cortex, medulla, aorta, veins
    body: tuple[float, float]  # half axes of the cavity, mm

    def jitter(self, centre: tuple[float, float, float], amount: float = 6.0) -> np.ndarray:
        """A point moved at random by about ``amount`` mm."""
        return np.array(centre) + self.rng.normal(0, amount, 3)

    def paint(self, box: Box, inside: np.ndarray, hu: float | np.ndarray, within: np.ndarray | None = None) -> None:
        """Sets the HU of an organ, which then is not liver."""
        if within is not None:
            inside = inside & within[box]
        self.hu[box] = np.where(inside, hu, self.hu[box])
        self.liver[box] &= ~inside


def paint_patient(rng: np.random.Generator, grid: Grid, body: tuple[float, float]) -> Patient:
    """A patient without lesions; ``body``: half width and half depth of the trunk in mm."""
    names = list(PHASES)
    phase = names[rng.choice(len(names), p=[PHASES[name][0] for name in names])]
    levels = [rng.uniform(*pair) for pair in PHASES[phase][1]]
    if rng.random() < 0.15:  # fatty liver
        levels[0] -= rng.uniform(15, 40)
    shape = grid.shape
    empty = np.zeros(shape, bool)
    patient = Patient(rng, grid, np.full(shape, AIR, np.float32), empty, empty.copy(), phase, tuple(levels), (0, 0))
    _body(patient, body)
    _spine_and_muscles(patient)
    _bowel(patient)
    _stomach_and_spleen(patient)
    _lungs_and_heart(patient)
    _liver(patient)
    _neighbours(patient)
    _great_vessels(patient)
    return patient


def _body(p: Patient, body: tuple[float, float]) -> None:
    rng, everything = p.rng, (slice(None),) * 3
    x, y, z = p.grid.points(everything)
    (a, b), n = body, rng.uniform(2.1, 2.7)
    fat, wall = rng.uniform(5, 32), rng.uniform(9, 15)
    cavity = (a - fat - wall, b - 0.7 * fat - wall)
    p.body = cavity

    def outline(wide: float, deep: float) -> np.ndarray:
        return (np.abs(x) / wide) ** n + (np.abs(y) / deep) ** n

    p.hu[outline(a, b) < 1] = 20.0  # skin
    p.hu[outline(a - 2.5, b - 2.5) < 1] = FAT
    muscle = outline(a - fat, b - 0.7 * fat) < 1
    streaks = smooth_noise(rng, p.grid.shape, _extent(p.grid), 7.0)
    p.hu[muscle] = np.where(streaks > 1.3, -40.0, rng.uniform(48, 65))[muscle]
    p.cavity = outline(*cavity) < 1
    p.hu[p.cavity] = (FAT + 8 * smooth_noise(rng, p.grid.shape, _extent(p.grid), 12.0))[p.cavity]
    # Ribs: oblique bands in a shell of the wall, dense outside and spongy inside.
    depth = outline(cavity[0] + wall * 0.45, cavity[1] + wall * 0.45) - 1
    pitch, slope = rng.uniform(24, 30), rng.uniform(35, 60)
    height = np.cos(2 * np.pi * (z + slope * np.abs(np.arctan2(x, y)) + rng.uniform(0, pitch)) / pitch)
    rib = (np.abs(depth) < 0.11) & (height > 0.5) & (np.abs(x) > 18) & (z > rng.uniform(-90, -50) - 0.35 * (y + 60))
    p.hu[rib] = rng.uniform(260, 520)
    p.hu[rib & (np.abs(depth) < 0.055) & (height > 0.72)] = rng.uniform(120, 220)


def _spine_and_muscles(p: Patient) -> None:
    rng = p.rng
    back = min(p.body[1] - 28, 70.0)
    for side in (-1, 1):  # muscles of the back, psoas
        for centre, radii in (((side * 34, back + 24, 0), (28, 20, 400)), ((side * 34, back + 2, -90), (17, 20, 70))):
            box, distance = ellipsoid(p.grid, np.array(centre), np.array(radii))
            p.paint(box, distance < 1, rng.uniform(45, 62))
    body = rng.uniform(18, 23)
    box, distance = ellipsoid(p.grid, np.array((0.0, back, 0.0)), np.array((body * 1.15, body * 0.9, 4000.0)))
    _, _, z = p.grid.points(box)
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
        box, distance = ellipsoid(p.grid, np.array(centre, float), np.array(radii, float))
        p.paint(box, distance < 1, hu)


def _hollow(p: Patient, centre: np.ndarray, radii: np.ndarray, wall: float) -> None:
    """A hollow organ: wall, and fluid, food, oral contrast, or gas that floats on top (anterior)."""
    rng = p.rng
    box, distance = ellipsoid(p.grid, centre, radii, rng.normal(0, 0.5, 3))
    content: float | np.ndarray = rng.choice(
        [rng.uniform(0, 35), rng.uniform(30, 70), rng.uniform(150, 450)], p=[0.5, 0.25, 0.25]
    )
    _, y, _ = p.grid.points(box)
    if rng.random() < 0.5:
        content = np.where(y < centre[1] - rng.uniform(-0.3, 0.7) * radii[1], -900.0, content)
    inner = 1 - wall / float(min(radii))
    p.paint(box, distance < 1, np.where(distance < inner, content, rng.uniform(35, 90)), within=p.cavity)


def _bowel(p: Patient) -> None:
    rng = p.rng
    for _ in range(rng.integers(30, 55)):
        centre = np.array(
            (rng.uniform(-0.8, 0.8) * p.body[0], rng.uniform(-0.85, 0.3) * p.body[1], rng.uniform(-170, 5))
        )
        _hollow(p, centre, rng.uniform(8, 24, 3), wall=rng.uniform(1.5, 4))
    for side in (-1, 1):  # ascending and descending colon
        centre = np.array((side * 0.78 * p.body[0], 0.15 * p.body[1], -80 + 30 * (side > 0)))
        _hollow(p, centre, np.array((20, 20, 70)) * rng.uniform(0.8, 1.2), wall=2.5)
    for _ in range(rng.integers(5, 11)):  # pancreas, lymph nodes, mesenteric vessels
        box, distance = ellipsoid(
            p.grid, p.jitter((20, 0, -30), 30), np.array((32, 10, 11)) * rng.uniform(0.3, 1.2), rng.normal(0, 0.5, 3)
        )
        p.paint(box, distance < 1, rng.uniform(40, 110 if p.phase == "portal" else 70), within=p.cavity)


def _stomach_and_spleen(p: Patient) -> None:
    rng = p.rng
    _hollow(p, p.jitter((58, -38, 25), 9), np.array((48, 34, 46)) * rng.uniform(0.6, 1.15), wall=rng.uniform(3, 6))
    box, distance = ellipsoid(
        p.grid,
        p.jitter((0.72 * p.body[0], 30, 28), 7),
        np.array((32, 48, 50)) * rng.uniform(0.7, 1.25),
        rng.normal(0, 0.3, 3),
    )
    hu = p.levels[1] + np.zeros_like(distance)
    if p.phase == "arterial":
        hu = hu + 30 * np.sin(distance * 25)
    p.paint(box, distance < 1, hu, within=p.cavity)


def _dome(p: Patient) -> np.ndarray:
    """Height of the diaphragm over each (x, y), mm: ``(X, Y, 1)``."""
    x, y = p.grid.x[:, None, None], p.grid.y[None, :, None]
    right = 92 - 95 * (((x + 72) / 95) ** 2 + ((y + 5) / 92) ** 2)
    left = 80 - 95 * (((x - 72) / 92) ** 2 + ((y + 5) / 92) ** 2)
    return np.maximum(np.maximum(right, left), -60.0)


def _lungs_and_heart(p: Patient) -> None:
    rng = p.rng
    z = p.grid.z[None, None, :] + p.grid.warp[2]
    above = (z > _dome(p)) & p.cavity
    x, y, _ = p.grid.points((slice(None),) * 3)
    lung = above & ((np.abs(x) > 26) | (y < -30))
    p.hu[lung] = (LUNG + 40 * smooth_noise(rng, p.grid.shape, _extent(p.grid), 6.0))[lung]
    box, distance = ellipsoid(p.grid, p.jitter((22, -38, 112), 6), np.array((62, 50, 42)))
    p.paint(box, (distance < 1) & above[box], rng.uniform(40, 60) if p.phase == "none" else rng.uniform(100, 190))


def _liver(p: Patient) -> None:
    rng, grid = p.rng, p.grid
    size = rng.uniform(0.86, 1.1)
    parts = (
        ((-0.55 * p.body[0], 4, -2), (74, 88, 92), (0.1, -0.15, 0.25)),
        ((-0.28 * p.body[0], -28, 22), (72, 54, 52), (0.0, 0.1, -0.2)),
        ((10, -46, 34), (rng.uniform(55, 92), 36, rng.uniform(28, 46)), (0.0, 0.2, -0.1)),
    )
    field = np.full(grid.shape, 9.0, np.float32)
    for centre, radii, angles in parts:
        turned = np.array(angles) + rng.normal(0, 0.1, 3)
        box, distance = ellipsoid(grid, p.jitter(centre, 4), size * np.array(radii), turned)
        # A soft minimum joins the lobes without a crease.
        field[box] = -0.09 * np.logaddexp(-field[box] / 0.09, -distance / 0.09)
    z = grid.z[None, None, :] + grid.warp[2]
    x, y, _ = grid.points((slice(None),) * 3)
    inside = (field < 1) & p.cavity & (z < _dome(p) - 3)
    inside &= np.hypot((x - 0) / 30, (y - min(p.body[1] - 28, 70.0)) / 32) > 1  # the spine and crura
    # The lower surface rises to the left and to the front's end.
    inside &= z > -88 * size + 0.55 * (x + 0.6 * p.body[0]) + 0.1 * (y + 20)
    p.liver |= inside
    texture = 3.5 * smooth_noise(rng, grid.shape, _extent(grid), 45.0) + rng.uniform(1, 5) * smooth_noise(
        rng, grid.shape, _extent(grid), rng.uniform(3, 8)
    )
    p.hu = np.where(inside, p.levels[0] + texture, p.hu).astype(np.float32)
    if rng.random() < 0.75:  # fissure of the ligamentum teres, with fat
        wide = rng.uniform(2, 6)
        fissure = (np.abs(x + 8 - 0.25 * (y + 40)) < wide) & (y < rng.uniform(-45, -25)) & (z < rng.uniform(0, 30))
        p.paint((slice(None),) * 3, fissure & inside, -70.0)


def _neighbours(p: Patient) -> None:
    """What presses into the liver from outside: kidneys, adrenal fat, hilum, gallbladder."""
    rng = p.rng
    for side in (-1, 1):
        centre = p.jitter((side * 0.5 * p.body[0], 0.58 * p.body[1], -58 if side < 0 else -42), 5)
        radii = np.array((29, 25, 52)) * rng.uniform(0.85, 1.15)
        angles = np.array((0.25, 0.1 * side, 0.5 * side))
        box, distance = ellipsoid(p.grid, centre, radii + 6, angles)
        p.paint(box, distance < 1, FAT, within=p.cavity)
        box, distance = ellipsoid(p.grid, centre, radii, angles)
        cortex = np.where(distance > 0.72, p.levels[2], p.levels[3])
        p.paint(box, distance < 1, np.where(distance < 0.4, rng.choice([FAT, 10.0]), cortex), within=p.cavity)
    hilum = p.jitter((-26, -4, -12), 5)
    box, distance = ellipsoid(p.grid, hilum, np.array((24, 12, 13)) * rng.uniform(0.7, 1.2), rng.normal(0, 0.4, 3))
    p.paint(box, distance < 1, rng.uniform(-95, -30), within=p.cavity)
    if rng.random() < 0.8:
        centre = p.jitter((-46, -44, -66), 8)  # half below the liver
        angles, radii = rng.normal(0, 0.35, 3), np.array((15, 18, 30)) * rng.uniform(0.6, 1.25)
        box, distance = ellipsoid(p.grid, centre, radii, angles)
        p.paint(box, distance < 1, rng.uniform(40, 70), within=p.cavity)  # its wall
        p.paint(box, distance < 0.88, rng.uniform(-2, 22), within=p.cavity)


def _great_vessels(p: Patient) -> None:
    back = min(p.body[1] - 28, 70.0)
    aorta, veins = p.levels[4], p.levels[5]
    for centre, radius, hu in (
        ((9.0, back - 30, 0.0), p.rng.uniform(9, 13), aorta),
        ((-24.0, back - 32, 0.0), p.rng.uniform(10, 15), 0.5 * (veins + p.levels[0])),
    ):
        box, distance = ellipsoid(p.grid, p.jitter(centre, 2), np.array((radius, radius * 0.85, 4000.0)))
        p.paint(box, distance < 1, hu + np.where(distance > 0.93, 10.0, 0.0))
    ivc_top = np.array((-24.0, back - 34, 62.0))
    hilum = np.array((-28.0, -2.0, -8.0))
    for root, targets, radius in (
        (ivc_top, ((-110, -10, 20), (-60, -55, 25), (20, -45, 30), (-90, 40, 10)), 5.5),
        (hilum, ((-110, 15, -25), (-95, -35, 5), (-15, -50, 20), (-75, 45, -40)), 6.5),
    ):
        for target in targets:
            for point, width in _branch(p.rng, root, p.jitter(target, 12), p.rng.uniform(0.7, 1.3) * radius, depth=2):
                box = p.grid.box(point, width, bent=False)
                x, y, z = (axis - middle for axis, middle in zip(p.grid.points(box, bent=False), point, strict=True))
                inside = (x**2 + y**2 + z**2 < width**2) & p.liver[box]
                p.hu[box] = np.where(inside, veins, p.hu[box])


def _branch(
    rng: np.random.Generator, start: np.ndarray, end: np.ndarray, radius: float, depth: int
) -> Iterator[tuple[np.ndarray, float]]:
    """Points and radii (mm) along a vessel that bends, thins and branches."""
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


def _extent(grid: Grid) -> np.ndarray:
    return np.array([np.ptp(grid.x), np.ptp(grid.y), np.ptp(grid.z)])
