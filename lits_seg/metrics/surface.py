"""Measure the distances between the surfaces of two masks, in mm."""

import edt
import numpy as np

THREADS = 0  # 0: one per core


def surface(mask: np.ndarray) -> np.ndarray:
    """Return the voxels of a mask ``(S, H, W)`` that have at least one of their 18 neighbours outside the mask.

    The 18 neighbours share a face or an edge with the voxel. They are three squares of 3 × 3 voxels, one in each plane
    of two axes, and erosions by lines of three voxels make up the erosion by a square.
    """
    along_slices, along_rows = _eroded(mask, 0), _eroded(mask, 1)
    return mask & ~(_eroded(along_slices & along_rows, 2) & _eroded(along_slices, 1))


def _eroded(mask: np.ndarray, axis: int) -> np.ndarray:
    """Return the voxels of a mask whose two neighbours along an axis are in the mask, too."""
    eroded = np.zeros_like(mask)
    before, middle, after = (
        (*[slice(None)] * axis, slice(start, stop)) for start, stop in ((None, -2), (1, -1), (2, None))
    )
    np.logical_and(mask[before], mask[after], out=eroded[middle])
    eroded[middle] &= mask[middle]
    return eroded


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
        np.sqrt(edt.edtsq(~target, anisotropy=spacing[::-1], parallel=THREADS)[source])
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
