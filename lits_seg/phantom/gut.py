"""Paint stomach, bowel and colon: tubes with a wall around gas, fluid, food, contrast agent, or nothing.

Diameters: small bowel up to 30 mm, colon up to 60 mm; walls 1 to 4 mm, the stomach's 4 to 9 mm (Macari & Balthazar,
AJR 2001; Pickhardt & Asher, AJR 2003). HU: fluid 0 to 35, collapsed loops like their enhanced wall, food and faeces 0
to 90 with gas, contrast agent 150 to 450: the ranges of public CTs (LiTS, CHAOS).
"""

import numpy as np

from lits_seg.phantom.axes import curve, tube
from lits_seg.phantom.patient import Patient

GAS = -900.0  # HU
# Each content's probability in small bowel, colon and stomach.
CONTENTS = ("collapsed", "fluid", "food", "gas")
BOWEL, COLON, STOMACH = (0.36, 0.34, 0.18, 0.12), (0.12, 0.06, 0.5, 0.32), (0.14, 0.4, 0.4, 0.06)


def _paint_hollow(
    p: Patient, points: np.ndarray, radii: np.ndarray, wall: float, chances: tuple[float, ...], agent: bool
) -> None:
    """Paint a piece of a hollow organ with one content; gas is in front, since patients lie on their back.

    Args:
        p: the patient.
        points: points on the axis in mm, ``(N, 3)``.
        radii: radii at the points in mm, ``(N,)``.
        wall: thickness of the wall in mm.
        chances: probability of each of ``CONTENTS``.
        agent: whether fluid is oral contrast agent.
    """
    rng = p.rng
    box, distance = tube(p.axes, points, radii)
    kind = rng.choice(CONTENTS, p=chances)
    outer = p.levels.bowel + rng.uniform(-12, 12)
    mottled = p.noise(6.0, box)
    hu: np.ndarray | float
    if kind == "collapsed":
        hu = outer + 6 * mottled
    elif kind == "gas":
        hu = GAS
    elif kind == "food":
        hu = np.where(mottled > rng.uniform(0.9, 2.5), rng.uniform(-600, -100), rng.uniform(0, 90) + 14 * mottled)
    else:
        hu = rng.uniform(150, 450) if agent else rng.uniform(0, 35)
    if kind != "collapsed" and rng.random() < 0.4:
        level = points[:, 1].mean() - rng.uniform(-0.4, 0.9) * radii.mean()
        hu = np.where(p.axes.y[box[1]][:, None] < level, GAS, hu)
    inner = 1 - wall / float(radii.mean())
    p.paint(box, distance < 1, np.where(distance + 0.05 * mottled < inner, hu, outer), within=p.cavity)


def paint_bowel(p: Patient) -> None:
    """Paint loops of small bowel below the liver, one across another."""
    rng, lowest = p.rng, max(float(p.axes.z[0]) - 15, -330.0)
    agent = rng.random() < 0.4
    for _ in range(int(rng.uniform(0.3, 0.6) * max(0.0, 10 - lowest))):
        start = np.array((rng.uniform(-0.7, 0.85) * p.body[0], rng.uniform(p.front, p.back - 22), 0))
        start[2] = rng.uniform(lowest, 10 if start[0] > 0 else -30)
        turns = rng.normal(0, 1, (rng.integers(2, 5), 3)) * (24, 16, 12)
        points = curve(np.cumsum(np.vstack((start, turns)), axis=0), step=4)
        radii = rng.uniform(8, 15) * (1 + 0.12 * np.sin(rng.uniform(0.4, 1) * np.arange(len(points))))
        _paint_hollow(p, points, radii, rng.uniform(1.5, 3), BOWEL, agent and rng.random() < 0.7)


def paint_colon(p: Patient) -> None:
    """Paint the colon: up on the right, across in front, down on the left, and to the rectum."""
    rng, (a, b) = p.rng, p.body
    corners = (
        (-0.7 * a, 0.1 * b, -210),
        (-0.76 * a, 0.12 * b, -130),
        (-0.62 * a, p.middle, rng.uniform(-95, -60)),
        (-0.2 * a, p.front + 30, rng.uniform(-130, -40)),
        (0.35 * a, p.front + 30, rng.uniform(-80, -10)),
        (0.74 * a, p.middle, rng.uniform(0, 45)),
        (0.8 * a, 0.2 * b, -60),
        (0.76 * a, 0.2 * b, -190),
        (0.2 * a, p.back - 40, -250),
        (0.0, p.back - 24, -340),
    )
    points = curve(np.array([p.jitter(corner, 8) for corner in corners]), step=5)
    width, agent, first = rng.uniform(15, 27), rng.random() < 0.2, 0
    while first < len(points) - 2:
        piece = points[first : first + rng.integers(9, 28)]
        haustra = 1 + 0.18 * np.sin(rng.uniform(0.8, 1.3) * np.arange(len(piece)))
        _paint_hollow(p, piece, width * rng.uniform(0.6, 1.2) * haustra, rng.uniform(1.5, 3.5), COLON, agent)
        first += len(piece)


def paint_stomach(p: Patient) -> None:
    """Paint the stomach, from below the left diaphragm to the midline in front."""
    rng = p.rng
    corners = ((50, p.back - 22, 66), (66, p.middle + 22, 42), (56, p.middle - 12, 8), (8, p.front + 46, -24))
    points = curve(np.array([p.jitter(corner, 8) for corner in corners]), step=6)
    widths = np.interp(np.linspace(0, 1, len(points)), (0, 0.35, 0.7, 1), (30, 38, 30, 17))
    _paint_hollow(p, points, widths * rng.uniform(0.55, 1.25), rng.uniform(4, 9), STOMACH, rng.random() < 0.35)
