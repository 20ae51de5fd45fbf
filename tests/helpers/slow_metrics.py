"""The definitions once more, as plainly as they can be written: sets of voxels, and every distance."""

import itertools
import math

import numpy as np

FACES = [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]
EIGHTEEN = [step for step in itertools.product((-1, 0, 1), repeat=3) if 1 <= sum(map(abs, step)) <= 2]

Voxel = tuple[int, ...]


def voxels(mask: np.ndarray) -> set[Voxel]:
    return {tuple(place) for place in np.argwhere(mask).tolist()}


def beside(voxel: Voxel, steps: list[Voxel]) -> list[Voxel]:
    return [tuple(a + b for a, b in zip(voxel, step, strict=True)) for step in steps]


def pieces(mask: np.ndarray) -> list[set[Voxel]]:
    left, found = voxels(mask), []
    while left:
        piece, border = set(), [min(left)]
        while border:
            voxel = border.pop()
            if voxel in left:
                left.remove(voxel)
                piece.add(voxel)
                border += beside(voxel, FACES)
        found.append(piece)
    return found


def surface(mask: np.ndarray) -> set[Voxel]:
    inside = voxels(mask)
    return {voxel for voxel in inside if any(other not in inside for other in beside(voxel, EIGHTEEN))}


def distances(one: np.ndarray, other: np.ndarray, spacing: tuple[float, float, float]) -> list[float]:
    """Spacing along the arrays' axes."""
    a, b = surface(one), surface(other)

    def distance(p: Voxel, q: Voxel) -> float:
        return math.sqrt(sum((s * (x - y)) ** 2 for s, x, y in zip(spacing, p, q, strict=True)))

    return [min(distance(p, q) for q in b) for p in a] + [min(distance(p, q) for q in a) for p in b]


def pairs(reference: list[set[Voxel]], predicted: list[set[Voxel]]) -> list[tuple[list[int], list[int], float]]:
    """Merged reference lesions, the predictions that belong to them, and their IoU; numbers from 0."""
    groups: dict[object, list[int]] = {}
    for j, lesion in enumerate(reference):
        shared = [len(lesion & prediction) for prediction in predicted]
        most = max(shared, default=0)
        groups.setdefault(shared.index(most) if most else f"none {j}", []).append(j)
    merged = {key: set().union(*(reference[j] for j in members)) for key, members in groups.items()}
    mine: dict[object, list[int]] = {key: [] for key in groups}
    for i, prediction in enumerate(predicted):
        shared = {key: len(prediction & lesion) for key, lesion in merged.items()}
        best = max(shared.values(), default=0)
        if best:
            tied = [key for key, count in shared.items() if count == best]
            mine[min(tied, key=lambda key: min(groups[key]))].append(i)
    found = []
    for key, members in groups.items():
        union = set().union(*(predicted[i] for i in mine[key]))
        found.append((members, mine[key], len(union & merged[key]) / len(union | merged[key])))
    return sorted(found)


def quality(predicted: np.ndarray, reference: np.ndarray, spacing: tuple[float, float, float]) -> dict[str, float]:
    p, r, d = voxels(predicted), voxels(reference), distances(predicted, reference, spacing)
    jaccard = len(p & r) / len(p | r)
    return {
        "dice": 2 * len(p & r) / (len(p) + len(r)),
        "jaccard": jaccard,
        "voe": 1 - jaccard,
        "rvd": (len(p) - len(r)) / len(r),
        "assd": sum(d) / len(d),
        "rmsd": math.sqrt(sum(x * x for x in d) / len(d)),
        "msd": max(d),
    }
