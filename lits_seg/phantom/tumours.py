"""Paint the phantom's lesions: draw their number, sizes and appearance."""

import numpy as np

from lits_seg.phantom.axes import rotation
from lits_seg.phantom.patient import Patient

LABEL_FROM = 0.5  # a voxel is labelled if a larger share of the voxel is lesion


def paint_lesions(p: Patient) -> np.ndarray:
    """Paint lesions into a patient's liver and return their mask ``(X, Y, Z)``.

    One patient in ten has no lesion. The number of lesions has a heavy tail (median about 4, at most 75). The largest
    lesion of a patient has 10 to 95 mm, with a median near 25 mm; the others are log-uniform from 5 mm to that. The
    median patient therefore has about 12 mL of lesion (LiTS: 16 mL; Bilic et al., 2023). The contrast to the liver is
    15 to 85 HU, log-uniform by patient; most lesions are darker. Some patients have cysts, rims, dark cores or brighter
    lesions.
    """
    rng = p.rng
    lesions = np.zeros(p.liver.shape, bool)
    places = np.argwhere(p.liver)
    if rng.random() < 0.1 or len(places) < 50:
        return lesions
    count = int(np.clip(np.exp(rng.normal(1.4, 1.1)), 1, 75))
    centres = places[rng.integers(len(places), size=count)]
    largest = np.clip(28 / (1 + count / 40) * np.exp(rng.normal(0, 0.6)), 10, 95)
    contrast = np.exp(rng.uniform(np.log(18), np.log(70)))
    kind = rng.choice(["dark", "cyst", "rim", "bright"], p=[0.76, 0.04, 0.14, 0.06])
    liver, texture = p.liver.copy(), _texture(rng)
    for number, centre in enumerate(centres):
        diameter = float(np.exp(rng.uniform(np.log(5), np.log(largest)))) if number else largest
        middle = np.array([axis[i] for axis, i in zip((p.axes.x, p.axes.y, p.axes.z), centre, strict=True)])
        lobulated, more = rng.random() < 0.35, int(rng.integers(1, 4))  # several overlapping blobs
        pieces = 1 + more if lobulated else 1
        for piece in range(pieces):
            shift = rng.normal(0, 0.3 * diameter, 3)  # also drawn for the first piece, which does not move
            scale = rng.uniform(0.4, 0.8) if piece else 1.0
            place = middle + shift if piece else middle
            lesions |= _lesion(p, liver, texture, place, diameter * scale / 2, contrast, kind)
    return lesions


def _lesion(
    p: Patient, liver: np.ndarray, texture: np.ndarray, centre: np.ndarray, radius: float, contrast: float, kind: str
) -> np.ndarray:
    rng, mask = p.rng, np.zeros(p.liver.shape, bool)
    box = p.axes.box(centre, 1.6 * radius + 2, bent=False)
    if min(s.stop - s.start for s in box) < 1:
        return mask
    offsets = np.stack([a - m for a, m in zip(p.axes.points(box, bent=False), centre, strict=True)], axis=-1)
    stretched = (offsets @ rotation(rng.normal(0, 1, 3))) / rng.uniform(0.75, 1.3, 3)
    bumps = _sample(texture, offsets / (1.1 * radius) * 6 + rng.uniform(0, 64, 3))
    distance = np.linalg.norm(stretched, axis=-1) / radius + rng.uniform(0.03, 0.16) * bumps
    softness = rng.uniform(0.04, 0.35) if kind != "cyst" else 0.04
    share = np.clip((1 - distance) / softness + 0.5, 0, 1)
    share = share * share * (3 - 2 * share) * liver[box]
    depth = contrast * rng.uniform(0.83, 1.2)
    change = -depth + rng.uniform(2, 8) * _sample(texture, offsets / rng.uniform(2, 6) * 3 + rng.uniform(0, 64, 3))
    if kind == "bright":
        change = -change * 0.8
    elif kind == "cyst":
        change = np.full_like(distance, rng.uniform(2, 18)) - p.levels[0]
    elif kind == "rim" and radius > 6:
        change = np.where(distance > rng.uniform(0.72, 0.85), rng.uniform(-12, 25), change)
    if radius > 12 and kind in ("dark", "rim") and rng.random() < 0.5:  # necrosis
        core = np.clip((rng.uniform(0.45, 0.75) - distance) / 0.2 + 0.5, 0, 1)
        change = change - core * rng.uniform(8, 35)
    if radius > 6 and rng.random() < 0.04:  # calcification
        change = np.where(_sample(texture, offsets + rng.uniform(0, 64, 3)) > 2.4, 250, change)
    floor = np.maximum(p.hu[box] + share * change, np.minimum(p.hu[box], -5))
    p.hu[box] = floor
    mask[box] = share > LABEL_FROM
    return mask


def _texture(rng: np.random.Generator) -> np.ndarray:
    """Draw periodic noise ``(64, 64, 64)`` with standard deviation 1 that varies over about 6 nodes."""
    spectrum = np.fft.fftn(rng.standard_normal((64, 64, 64)))
    k = np.fft.fftfreq(64)
    squared = k[:, None, None] ** 2 + k[None, :, None] ** 2 + k[None, None, :] ** 2
    noise = np.fft.ifftn(spectrum * np.exp(-squared * (2 * np.pi * 2.2) ** 2 / 2)).real
    return (noise / noise.std()).astype(np.float32)


def _sample(texture: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Interpolate the periodic texture trilinearly at positions ``(..., 3)``, in nodes."""
    low = np.floor(nodes).astype(int)
    part = nodes - low
    value = np.zeros(nodes.shape[:-1])
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, part, 1 - part), axis=-1)
        index = (low + corner) % 64
        value = value + weight * texture[index[..., 0], index[..., 1], index[..., 2]]
    return value
