"""Place shapes in the phantom: warped axes, smooth noise, rotations and ellipsoids.

Coordinates are in mm: x points to the patient's left, y to posterior, z to superior. The origin is on the trunk's
axis, at half the height of the liver. Arrays are indexed ``[x, y, z]``.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

Box = tuple[slice, slice, slice]


@dataclass
class WarpedAxes:
    """Voxel centres in mm with a smooth random warp, so that no organ is an exact ellipsoid.

    Args:
        x: x of the voxel centres in mm, ``(X,)``.
        y: y of the voxel centres in mm, ``(Y,)``.
        z: z of the voxel centres in mm, ``(Z,)``.
        warp: displacements along x, y and z in mm, each ``(X, Y, Z)``.
        reach: margin of boxes for the displacement, in mm.
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    warp: tuple[np.ndarray, np.ndarray, np.ndarray]
    reach: float

    @property
    def extent(self) -> np.ndarray:
        """Distance between the first and the last voxel centre of each axis in mm, ``(3,)``."""
        return np.array([np.ptp(self.x), np.ptp(self.y), np.ptp(self.z)])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels ``(X, Y, Z)``."""
        return (len(self.x), len(self.y), len(self.z))

    def box(self, centre: np.ndarray, radius: float, bent: bool = True) -> Box:
        """Return the box of the voxels near a point.

        Args:
            centre: centre of the box in mm, ``(3,)``.
            radius: half the side of the box in mm.
            bent: enlarge the box by the warp's reach.
        """
        bounds = []
        if bent:
            radius += self.reach
        for axis, middle in zip((self.x, self.y, self.z), centre, strict=True):
            low, high = np.searchsorted(axis, (middle - radius, middle + radius))
            bounds.append(slice(int(low), int(high)))
        return tuple(bounds)  # type: ignore[return-value]

    def points(self, box: Box, bent: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return x, y and z of the voxels in a box, in mm: three arrays ``(X, Y, Z)``.

        Args:
            box: the box.
            bent: add the warp.
        """
        x, y, z = np.meshgrid(self.x[box[0]], self.y[box[1]], self.z[box[2]], indexing="ij", copy=False)
        if not bent:
            return x, y, z
        return x + self.warp[0][box], y + self.warp[1][box], z + self.warp[2][box]


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int, int], extent: np.ndarray, scale: float) -> np.ndarray:
    """Draw a random field of standard deviation near 1.

    Args:
        rng: random generator.
        shape: shape of the field, ``(X, Y, Z)``.
        extent: size of the field in mm, ``(3,)``.
        scale: distance between independent values, in mm.
    """
    nodes = [max(2, int(np.ceil(length / scale)) + 1) for length in extent]
    coarse = torch.from_numpy(rng.standard_normal(nodes).astype(np.float32))[None, None]
    fine = [min(4 * n, size) for n, size in zip(nodes, shape, strict=True)]
    for size in (fine, shape):  # two linear interpolations are smooth enough, and fast
        coarse = functional.interpolate(coarse, tuple(size), mode="trilinear", align_corners=True)
    return coarse[0, 0].numpy() * 1.6


def warped_axes(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> WarpedAxes:
    """Draw a warp: displacements of about 6 mm on a scale of 60 mm, plus about 1.5 mm on a scale of 18 mm.

    Args:
        rng: random generator.
        x: x of the voxel centres in mm, ``(X,)``.
        y: y of the voxel centres in mm, ``(Y,)``.
        z: z of the voxel centres in mm, ``(Z,)``.
    """
    shape, extent = (len(x), len(y), len(z)), np.array([np.ptp(x), np.ptp(y), np.ptp(z)])
    fields = [
        6.0 * smooth_noise(rng, shape, extent, 60.0) + 1.5 * smooth_noise(rng, shape, extent, 18.0) for _ in "xyz"
    ]
    return WarpedAxes(x, y, z, (fields[0], fields[1], fields[2]), reach=26.0)


def rotation(angles: np.ndarray) -> np.ndarray:
    """Return the rotation matrix ``(3, 3)`` for the angles around x, y and z in radians, ``(3,)``."""
    turns = []
    for angle, (i, j) in zip(angles, ((1, 2), (0, 2), (0, 1)), strict=True):
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        turns.append(turn)
    return turns[0] @ turns[1] @ turns[2]


def ellipsoid(
    axes: WarpedAxes, centre: np.ndarray, radii: np.ndarray, angles: np.ndarray | None = None
) -> tuple[Box, np.ndarray]:
    """Return the box around an ellipsoid and the relative distance of its voxels from the centre.

    Args:
        axes: axes of the voxels.
        centre: centre in mm, ``(3,)``.
        radii: radii in mm, ``(3,)``.
        angles: rotation in radians, ``(3,)``; None: not rotated.

    Returns:
        The box, and distances in its shape, which are below 1 inside the ellipsoid.
    """
    box = axes.box(centre, float(max(radii)))
    points = [axis - middle for axis, middle in zip(axes.points(box), centre, strict=True)]
    if angles is not None:
        turn = rotation(angles).astype(np.float32)
        points = [sum(turn[i, j] * points[j] for j in range(3)) for i in range(3)]
    return box, np.sqrt(sum((axis / radius) ** 2 for axis, radius in zip(points, radii, strict=True)))
