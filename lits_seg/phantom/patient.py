"""The state of a phantom patient while organs and lesions are painted."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lits_seg.phantom.axes import Box, WarpedAxes, smooth_noise

AIR = -1000.0  # HU, as below
FAT = -105.0
LUNG = -850.0
EVERYWHERE: Box = (slice(None), slice(None), slice(None))


class Levels(NamedTuple):
    """HU of the organs that take up contrast agent."""

    liver: float
    spleen: float
    cortex: float  # of the kidneys
    medulla: float
    aorta: float
    portal_vein: float
    liver_veins: float
    bowel: float  # its wall; also the pancreas


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
        levels: HU of the organs that take up contrast agent.
        muscle: HU of the muscles.
        body: half width and half depth of the cavity in mm.
        back: y of the spine's centre in mm.
    """

    rng: np.random.Generator
    axes: WarpedAxes
    hu: np.ndarray
    liver: np.ndarray
    cavity: np.ndarray
    phase: str
    levels: Levels
    muscle: float
    body: tuple[float, float]
    back: float

    @property
    def front(self) -> float:
        """The y of the cavity's front in mm."""
        return -self.body[1]

    @property
    def middle(self) -> float:
        """The y halfway between the cavity's front and the spine's centre, in mm."""
        return 0.5 * (self.front + self.back)

    def jitter(self, centre: tuple[float, float, float], amount: float = 6.0) -> np.ndarray:
        """Return a point with a random displacement, in mm, ``(3,)``.

        Args:
            centre: the point in mm.
            amount: standard deviation along each axis in mm.
        """
        return np.array(centre) + self.rng.normal(0, amount, 3)

    def noise(self, scale: float, box: Box = EVERYWHERE) -> np.ndarray:
        """Draw a smooth random field in a box, of standard deviation near 1.

        Args:
            scale: distance between independent values, in mm.
            box: the box.
        """
        sides = [axis[side] for axis, side in zip((self.axes.x, self.axes.y, self.axes.z), box, strict=True)]
        shape = (len(sides[0]), len(sides[1]), len(sides[2]))
        if not all(shape):
            return np.zeros(shape, np.float32)
        return smooth_noise(self.rng, shape, np.array([np.ptp(side) for side in sides]), scale)

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
        np.copyto(self.hu[box], hu, where=inside, casting="same_kind")
        self.liver[box] &= ~inside
