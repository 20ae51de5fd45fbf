"""Hold a phantom patient while organs and lesions are painted."""

from dataclasses import dataclass

import numpy as np

from lits_seg.phantom.axes import Box, WarpedAxes

AIR, FAT, LUNG = -1000.0, -105.0, -850.0  # HU


@dataclass
class Patient:
    """The state while a patient is painted.

    Args:
        rng: draws what differs between patients.
        axes: of the voxels.
        hu: ``(X, Y, Z)``.
        liver: mask ``(X, Y, Z)``.
        cavity: mask of the abdominal cavity, ``(X, Y, Z)``.
        phase: of the contrast.
        levels: HU of liver, spleen, kidney cortex, kidney medulla, aorta, and veins of the liver.
        body: half axes of the cavity in mm.
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
        """Return a point (mm) moved at random by about ``amount`` mm."""
        return np.array(centre) + self.rng.normal(0, amount, 3)

    def paint(self, box: Box, inside: np.ndarray, hu: float | np.ndarray, within: np.ndarray | None = None) -> None:
        """Set the HU of an organ and remove it from the liver.

        Args:
            box: around the organ.
            inside: mask of the organ in the box.
            hu: one value, or a value per voxel of the box.
            within: mask ``(X, Y, Z)`` that limits the organ; None: no limit.
        """
        if within is not None:
            inside = inside & within[box]
        self.hu[box] = np.where(inside, hu, self.hu[box])
        self.liver[box] &= ~inside
