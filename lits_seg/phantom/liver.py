"""Paint the liver."""

import numpy as np

from lits_seg.phantom.axes import ellipsoid, smooth_noise
from lits_seg.phantom.organs import dome
from lits_seg.phantom.patient import Patient


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
