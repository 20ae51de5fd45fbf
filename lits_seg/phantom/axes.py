"""Place shapes in the phantom: warped axes, smooth noise, rotations and ellipsoids.

Coordinates are in mm: x points to the patient's left, y to posterior, z to superior. The origin is on the trunk's
axis, at half the height of the liver. Arrays are indexed ``[x, y, z]``.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy.interpolate import make_interp_spline
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

    @cached_property
    def bent(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x, y and z of all voxels with the warp, in mm: three arrays ``(X, Y, Z)``."""
        x, y, z = self.warp
        return x + self.x[:, None, None], y + self.y[:, None], z + self.z

    def box(self, centre: np.ndarray, radius: float | np.ndarray, bent: bool = True) -> Box:
        """Return the box of the voxels near a point.

        Args:
            centre: centre of the box in mm, ``(3,)``.
            radius: half the side of the box in mm, or half of each side, ``(3,)``.
            bent: enlarge the box by the warp's reach.
        """
        radius = np.broadcast_to(radius, 3) + (self.reach if bent else 0.0)
        bounds = []
        for axis, low, high in zip((self.x, self.y, self.z), centre - radius, centre + radius, strict=True):
            bounds.append(slice(int(np.searchsorted(axis, low)), int(np.searchsorted(axis, high))))
        return tuple(bounds)  # type: ignore[return-value]

    def points(self, box: Box, bent: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return x, y and z of the voxels in a box, in mm: three arrays ``(X, Y, Z)``.

        Args:
            box: the box.
            bent: add the warp.
        """
        if bent:
            return self.bent[0][box], self.bent[1][box], self.bent[2][box]
        return np.meshgrid(self.x[box[0]], self.y[box[1]], self.z[box[2]], indexing="ij", copy=False)


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
    turn = np.eye(3) if angles is None else rotation(angles)
    matrix = turn / np.asarray(radii)[:, None]
    box = axes.box(centre, np.sqrt(np.linalg.inv(matrix) ** 2 @ np.ones(3)))
    points = [axis - middle for axis, middle in zip(axes.points(box), np.asarray(centre).tolist(), strict=True)]
    squares = np.zeros_like(points[0])
    for row in matrix.tolist():  # Python's numbers keep arrays in 32 bits
        squares += sum(factor * axis for factor, axis in zip(row, points, strict=True) if factor) ** 2
    return box, np.sqrt(squares)


def curve(points: np.ndarray, step: float) -> np.ndarray:
    """Return points ``(N, 3)`` on a smooth curve.

    Args:
        points: points through which the curve runs, in mm, ``(P, 3)`` with P of 3 or more.
        step: distance between the points of the curve in mm, about.
    """
    lengths = np.cumsum(np.linalg.norm(np.diff(points, axis=0, prepend=points[:1]), axis=1))
    places = np.linspace(0, lengths[-1], 2 + int(lengths[-1] / step))
    return make_interp_spline(lengths, points, k=2)(places)


def tube(axes: WarpedAxes, points: np.ndarray, radii: np.ndarray) -> tuple[Box, np.ndarray]:
    """Return the box around a tube, made of overlapping balls, and the relative distance of its voxels from the axis.

    Args:
        axes: axes of the voxels; the warp does not bend tubes.
        points: centres of the balls in mm, ``(N, 3)``.
        radii: radii of the balls in mm, ``(N,)``.

    Returns:
        The box, and distances in its shape, which are below 1 inside the tube, and at most 2.
    """
    sides = (axes.x, axes.y, axes.z)
    ends = [points.T + sign * radii for sign in (-1, 1)]
    first, last = (np.array([np.searchsorted(*pair) for pair in zip(sides, end, strict=True)]) for end in ends)
    corner = first.min(axis=1)
    squares = np.full(last.max(axis=1) - corner, 4, np.float32)
    for ball in np.flatnonzero((first < last).all(axis=0)).tolist():
        x, y, z = (
            ((side[low:high] - middle) / radii[ball]) ** 2
            for side, low, high, middle in zip(sides, first[:, ball], last[:, ball], points[ball], strict=True)
        )
        low, high = first[:, ball] - corner, last[:, ball] - corner
        near = squares[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
        np.minimum(near, (x[:, None] + y)[:, :, None] + z, out=near)
    box = tuple(slice(*pair) for pair in zip(corner.tolist(), last.max(axis=1).tolist(), strict=True))
    return box, np.sqrt(squares, out=squares)  # type: ignore[return-value]
