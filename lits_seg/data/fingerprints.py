"""Recognize patients by their voxels: the same CT under another name, in another file format, or cropped.

A fingerprint does not depend on file name, compression, type of the stored values, or order and direction of the axes.
Two phases or two dates of a patient have different voxels: only their names can show that they belong together.
"""

from dataclasses import dataclass

import numpy as np
from isal import isal_zlib
from PIL import Image

from lits_seg.common.errors import InputError
from lits_seg.common.files import short_hash

CT_HU = (-1024, 3071)  # copies may differ outside the scanner's range, such as by the value of the padding
# Slices are compared by how often each of these HU occurs. The counts neither depend on air around the patient nor
# on the direction of the axes, which an identity affine does not contain.
TISSUE_HU = (-100, 153)
TELLING = 32  # slices with fewer different values may coincide by chance
KEPT = 64  # a cropped copy shares many of the smallest hashes with the whole CT, since the hashes are in random order
SHARED = 1 / 8  # share of the hashes from which on two CTs have the same slices


@dataclass(frozen=True)
class Fingerprint:
    """Hashes of a patient's voxels.

    Args:
        image: hash of the CT in whole HU, in the common orientation.
        label: hash of the labels, in the common orientation.
        slices: the smallest hashes of the values in the CT's slices, of those with liver if any has liver.
    """

    image: str
    label: str
    slices: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> "Fingerprint":
        """Read a fingerprint from its text, the hashes with spaces between them.

        Raises:
            InputError: if the text has fewer than two hashes.
        """
        match text.split():
            case [image, label, *slices]:
                return cls(image, label, frozenset(slices))
        raise InputError("recorded split", "hashes of the voxels and of the labels", text)

    def __str__(self) -> str:
        return " ".join([self.image, self.label, *sorted(self.slices)])

    def same_ct(self, other: "Fingerprint") -> bool:
        """Return whether two CTs are equal, or one is a part of the other."""
        shared, smaller = len(self.slices & other.slices), min(len(self.slices), len(other.slices))
        return self.image == other.image or (shared > 0 and shared >= SHARED * smaller)


def fingerprint(image: np.ndarray, label: np.ndarray) -> Fingerprint:
    """Compute the fingerprint of a patient.

    Args:
        image: HU ``(S, H, W)``, int16 or float32.
        label: labels ``(S, H, W)``, uint8.
    """
    sums, slices = [], set()
    marked = np.count_nonzero(label, axis=(1, 2)) > 0
    # The slices of the liver suffice, and a CT that is cropped around the liver has all of them.
    counted = marked if marked.any() else ~marked
    for hu, count in zip(image, counted, strict=True):
        values = np.clip(hu if hu.dtype == np.int16 else np.rint(hu), *CT_HU).astype("<i2", order="C", copy=False)
        sums.append(isal_zlib.crc32(memoryview(values)))
        if not count:
            continue
        # The first and the last of the 256 levels hold all values outside TISSUE_HU.
        levels = (np.clip(values, TISSUE_HU[0] - 1, TISSUE_HU[1] + 1) - (TISSUE_HU[0] - 1)).astype(np.uint8)
        counts = Image.fromarray(levels).histogram()[1:-1]
        if len(counts) - counts.count(0) >= TELLING:
            slices.add(short_hash(repr(counts).encode())[:10])
    labels = [isal_zlib.crc32(part.tobytes()) for part in label]
    voxels, marks = (short_hash(repr([part.shape, found]).encode()) for part, found in ((image, sums), (label, labels)))
    return Fingerprint(voxels, marks, frozenset(sorted(slices)[:KEPT]))
