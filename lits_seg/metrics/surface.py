"""Measure the distances between the surfaces of two masks, in mm."""

import edt
import numpy as np
from scipy import ndimage

THREADS = 0  # 0: one per core
NEIGHBOURS = ndimage.generate_binary_structure(3, 2)  # the 18 neighbours that share a face or an edge


def surface(mask: np.ndarray) -> np.ndarray:
    """Return the voxels of a mask ``(S, H, W)`` that have at least one of their 18 neighbours outside the mask."""
    return mask & ~ndimage.binary_erosion(mask, NEIGHBOURS)


def surface_distances(one: np.ndarray, other: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Return the distance of each surface voxel of either mask to the nearest surface voxel of the other mask.

    Args:
        one: mask ``(S, H, W)``, not empty.
        other: mask ``(S, H, W)``, not empty.
        spacing: size of a voxel in mm along x (W), y (H), z (S).

    Returns:
        Distances in mm, first those of ``one``: ``(voxels,)``.
    """
    surfaces = surface(one), surface(other)
    both = [
        edt.edt(~target, anisotropy=spacing[::-1], parallel=THREADS)[source]
        for source, target in (surfaces, surfaces[::-1])
    ]
    return np.concatenate(both).astype(np.float64)


def distance_scores(one: np.ndarray, other: np.ndarray, spacing: tuple[float, float, float]) -> dict[str, float]:
    """Return mean, root mean square and maximum of ``surface_distances``.

    Both surfaces are pooled, so that each surface voxel has the same weight.

    Args:
        one: mask ``(S, H, W)``.
        other: mask ``(S, H, W)``.
        spacing: size of a voxel in mm along x (W), y (H), z (S).

    Returns:
        ``assd``, ``rmsd`` and ``msd`` in mm; NaN if a mask is empty.
    """
    if not (one.any() and other.any()):
        return dict.fromkeys(("assd", "rmsd", "msd"), float("nan"))
    distances = surface_distances(one, other, spacing)
    return {
        "assd": float(distances.mean()),
        "rmsd": float(np.sqrt(np.square(distances).mean())),
        "msd": float(distances.max()),
    }
