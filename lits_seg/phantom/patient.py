"""The state of a phantom patient while organs and lesions are painted."""

from dataclasses import dataclass

import numpy as np

from lits_seg.phantom.axes import Box, WarpedAxes

AIR = -1000.0  # HU, as below
FAT = -105.0
LUNG = -850.0


@dataclass
class Patient:
    """A patient that is being painted.

    Args:
        rng: random generator for the differences between patients.
        axes: axes of the voxels.
        hu: HU of the voxels, ``(X, Y, Z)``.
        liver: mask of the liver, ``(X, Y, Z)``.
        cavity: mask of the abdominal cavity, ``(X, Y, Z)``.
        phase: contrast phase, a key of ``anatomy.PHASES``.
        levels: HU of liver, spleen, kidney cortex, kidney medulla, aorta and liver veins.
        body: half width and half depth of the cavity in mm.
    """

    rng: np.random.Generator
    axes: WarpedAxes
    hu: np.ndarray
    liver: np.ndarray
    cavity: np.ndarray
    phase: str
    levels: tuple[float, ...]
    body: tuple[float, float]

    def jitter(self, centre: tuple[float, float, float], amount: float = 6.0) -> np.ndarray:
        """Return a point with a random displacement, in mm, ``(3,)``.

        Args:
            centre: the point in mm.
            amount: standard deviation along each axis in mm.
        """
        return np.array(centre) + self.rng.normal(0, amount, 3)

    def paint(self, box: Box, inside: np.ndarray, hu: float | np.ndarray, within: np.ndarray | None = None) -> None:
        """Set the HU of an organ and remove it from the liver.

        Args:
            box: box around the organ.
            inside: mask of the organ, in the shape of the box.
            hu: HU of the organ: a number, or an array in the shape of the box.
            within: mask ``(X, Y, Z)`` outside which nothing is painted; None: no limit.
        """
        if within is not None:
            inside = inside & within[box]
        self.hu[box] = np.where(inside, hu, self.hu[box])
        self.liver[box] &= ~inside
