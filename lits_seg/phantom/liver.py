"""Paint the liver."""

import numpy as np

from lits_seg.phantom.axes import ellipsoid
from lits_seg.phantom.organs import dome
from lits_seg.phantom.patient import Patient


def paint_liver(p: Patient) -> None:
    """Paint the liver from three lobes and the caudate lobe, with texture and fissure.

    The right lobe may reach far down (Riedel's lobe), the left one to the spleen, or be missing after a resection. One
    liver in eight is cirrhotic: smaller and knobbly, with a large caudate lobe. Some lie in ascites.
    """
    rng, axes = p.rng, p.axes
    cirrhotic = rng.random() < 0.12
    size = np.clip(rng.normal(0.86 if cirrhotic else 0.93, 0.08), 0.7, 1.2)
    deep, long = (p.back - p.front) / 146, rng.uniform(0.88, 1.1) + 0.25 * (rng.random() < 0.1)
    caudate = rng.uniform(20, 30) if cirrhotic else rng.uniform(12, 20)
    parts = [
        ((-0.55 * p.body[0], p.middle + 28, -2 - 60 * (long - 1)), (76, 92 * deep, 86 * long), (0.1, -0.15, 0.25)),
        ((-0.28 * p.body[0], p.middle + 2, 22), (72, 54 * deep, 52), (0.0, 0.1, -0.2)),
        ((-14, p.back - 50, 12), (caudate, caudate, 1.4 * caudate), (0.0, 0.0, 0.0)),
        ((10, p.front + 55, 34), (rng.uniform(45, 105), rng.uniform(28, 44), rng.uniform(26, 50)), (0.0, 0.2, -0.1)),
    ]
    field = np.full(axes.shape, 9.0, np.float32)
    for centre, radii, angles in parts[: 3 if rng.random() < 0.06 else 4]:
        turned = np.array(angles) + rng.normal(0, 0.12, 3)
        box, distance = ellipsoid(axes, p.jitter(centre, 5), size * np.array(radii), turned)
        # A soft minimum joins the lobes without a crease.
        field[box] = -0.09 * np.logaddexp(-field[box] / 0.09, -distance / 0.09)
    field += (0.035 if cirrhotic else 0.01) * p.noise(rng.uniform(12, 25))
    x, y, z = axes.bent
    room = p.cavity & (z < dome(p) - 3)
    # The lower surface rises towards the left and the back.
    slope = rng.uniform(0.4, 0.65)
    room &= z > -82 * size * long + slope * (x + 0.6 * p.body[0]) + 0.1 * (y + 20)
    behind = 0.7 * (x + 0.45 * p.body[0]) + y - p.back + 10
    room &= behind < 2 * np.maximum(z + 10, 0)  # the right kidney's place
    room &= np.hypot(x / 30, (y - p.back) / 32) > 1  # the spine and crura
    if rng.random() < 0.08:
        p.hu[room & (field < 1 + rng.uniform(0.04, 0.15))] = rng.uniform(2, 18)  # ascites
    inside = (field < 1) & room
    p.liver |= inside
    texture = 3.5 * p.noise(45.0) + rng.uniform(1, 5) * p.noise(rng.uniform(3, 8))
    np.copyto(p.hu, p.levels.liver + texture, where=inside)
    if rng.random() < 0.75:  # fissure of the ligamentum teres, with fat
        wide = rng.uniform(2, 6)
        fissure = (np.abs(x + 8 - 0.25 * (y - p.front - 60)) < wide) & (y < p.front + rng.uniform(60, 80))
        p.paint((slice(None),) * 3, fissure & (z < rng.uniform(0, 30)) & inside, -70.0)
