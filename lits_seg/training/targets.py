"""Convert LiTS labels to the classes that a network learns, and its classes to LiTS labels."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lits_seg.common.errors import InputError
from lits_seg.data.sampling import LIVER_OR_LESION

Foreground = Literal["lesion", "liver"]
LossRegion = Literal["all", "liver", "predicted_liver"]
STRUCTURES: dict[int, tuple[Foreground, ...]] = {2: ("lesion",), 3: ("lesion", "liver")}  # by the number of classes


@dataclass(frozen=True)
class Targets:
    """The classes of a network, and the pixels from which the network learns.

    Args:
        classes: 2 (background, ``foreground``) or 3 (background, liver, lesion).
        foreground: the structure of two classes: the lesion, or the liver with its lesions.
        region: pixels that the loss sees: ``all``, or those of the reference ``liver`` with its lesions.
            ``predicted_liver``: see ``LesionModule``.

    Raises:
        InputError: if a value is none of these, or if ``foreground`` is the liver of three classes.
    """

    classes: int
    foreground: Foreground = "lesion"
    region: LossRegion = "all"

    def __post_init__(self) -> None:
        if self.classes not in STRUCTURES:
            raise InputError("model.out_channels", "2 (lesion or not) or 3 (background, liver, lesion)", self.classes)
        if self.foreground not in ("lesion", "liver"):
            raise InputError("foreground", "lesion or liver", self.foreground)
        if self.region not in ("all", "liver", "predicted_liver"):
            raise InputError("loss_region", "all, liver or predicted_liver", self.region)
        if self.foreground == "liver" and (self.classes, self.region) != (2, "all"):
            expected = "model.out_channels=2 and loss_region=all with foreground=liver"
            raise InputError("foreground", expected, f"{self.classes} classes, loss_region={self.region}")

    @property
    def structures(self) -> tuple[Foreground, ...]:
        """Return the structures that the network segments, and for which there are scores."""
        return ("liver",) if self.foreground == "liver" else STRUCTURES[self.classes]

    def of(self, label: Tensor) -> Tensor:
        """Return the class of each pixel from its LiTS label 0, 1 or 2."""
        if self.classes == 3:
            return label
        return (label > 0).long() if self.foreground == "liver" else label // 2

    def lits(self, classes: Tensor) -> Tensor:
        """Return the LiTS label of each pixel from its class."""
        return classes * 2 if self.structures == ("lesion",) else classes

    def unknown(self, label: Tensor) -> Tensor:
        """Return whether the loss ignores a pixel with a LiTS label, or ``LIVER_OR_LESION``."""
        if self.foreground == "liver":
            return torch.zeros_like(label, dtype=torch.bool)
        unlabelled = label == LIVER_OR_LESION
        return unlabelled | (label == 0) if self.region == "liver" else unlabelled

    def known(self, logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and classes; ignored pixels become background, predicted with certainty: without a gradient.

        Every loss is therefore defined, even if no pixel is known. An ignored class (-100) would be NaN in the mean of
        no pixels, and Dice losses do not know it.

        Args:
            logits: ``(B, K, H, W)``.
            label: LiTS labels ``(B, H, W)``, or ``LIVER_OR_LESION``.
        """
        # Other labels are an error, which callbacks.Finite reports. Here, they would only end a GPU's process.
        label = label.clamp(0, LIVER_OR_LESION)
        ignored = self.unknown(label)
        certain = logits.new_zeros(logits.shape[1], 1, 1)
        certain[0] = 100.0
        return torch.where(ignored[:, None], certain, logits), self.of(torch.where(ignored, 0, label))

    def counts(self, background: int, liver: int, lesion: int) -> list[int]:
        """Return the pixels of each class.

        Args:
            background: pixels of the background.
            liver: pixels of the liver without its lesions.
            lesion: pixels of the lesions.
        """
        if self.classes == 3:
            return [background, liver, lesion]
        return [background, liver + lesion] if self.foreground == "liver" else [background + liver, lesion]


def merged(logits: Tensor, classes: int) -> Tensor:
    """Return the logits of lesion or not ``(B, 2, …)`` from those of three classes, if two are needed.

    Args:
        logits: ``(B, K, …)``.
        classes: number of classes to return, K or 2.
    """
    if logits.shape[1] == classes:
        return logits
    return torch.stack([logits[:, :-1].amax(1), logits[:, -1]], dim=1)


def by_slice(values: Tensor, slices: int, channel: bool = False) -> Tensor:
    """Return the slices of each sample as samples of their own.

    Args:
        values: labels ``(B, slices, H, W)``, or logits ``(B, K, slices, H, W)``; without that dimension for one slice.
        slices: number of slices of a sample.
        channel: whether the values have the dimension K.
    """
    if slices == 1:
        return values
    return values.movedim(2, 1).flatten(0, 1) if channel else values.flatten(0, 1)


def middle(values: Tensor, slices: int, channel: bool = False) -> Tensor:
    """Return the middle slice of each sample, see ``by_slice``."""
    return values if slices == 1 else values.select(2 if channel else 1, slices // 2)
