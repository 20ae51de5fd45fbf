"""One HTML file to look at a mask: the CT's slices with the mask over them, and the report's numbers."""

import base64
import io
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lits_seg.data.ct import Ct

TEMPLATE = Path(__file__).with_name("viewer.html")
SIDE = 320  # the CT's slices are shown at most so large; the mask has the CT's own resolution
JPEG_QUALITY = 85
# 8-bit levels for HU: three units a level where soft tissue is, more elsewhere.
HU, LEVELS = (-1024, -200, 300, 1500), (0, 40, 215, 255)
# The colours of labels 0, 1 and 2, whose red is the label. With so few, PNG needs two bits for a pixel.
PALETTE = [channel for label in range(3) for channel in (label, label, label)]


class Pictures:
    """The CT's slices as they come, from below, encoded at once: some 15 kB each."""

    def __init__(self) -> None:
        self.jpegs: list[str] = []

    def add(self, hu: np.ndarray) -> None:
        """Axial slices ``(B, H, W)`` in HU."""
        height, width = hu.shape[1:]
        shrink = max(1.0, max(height, width) / SIDE)
        size = (max(1, round(width / shrink)), max(1, round(height / shrink)))
        for part in hu:
            picture = Image.fromarray(grey_levels(part)).resize(size, Image.Resampling.BOX)
            self.jpegs.append(_base64(picture, "jpeg", quality=JPEG_QUALITY))


def grey_levels(hu: np.ndarray) -> np.ndarray:
    """HU, int16 or float, to the 8-bit levels of the pictures."""
    # int16 as a CT's voxels mostly are: looked up, in a fifth of the time.
    return _INT16.take(hu) if hu.dtype == np.int16 else _interpolate(hu)


def page(name: str, report: dict[str, Any], pictures: Pictures, labels: np.ndarray, ct: Ct) -> str:
    """The page. ``labels``: LiTS's, ``(S, H, W)`` on the CT's slices."""
    x, y, _ = ct.spacing
    height, width = labels.shape[1:]
    to_mm = ct.slices_affine
    highest, masks = zip(*(_mask(part) for part in labels), strict=True)
    data = {
        "name": name,
        "report": report,
        "width": width,
        "height": height,
        "aspect": (width * x) / (height * y),
        "hu": np.interp(np.arange(256), LEVELS, HU).round().astype(int).tolist(),
        "mm": [float((to_mm @ (width / 2, height / 2, i, 1))[2]) for i in range(len(labels))],
        "labels": highest,
        "slices": pictures.jpegs,
        "masks": masks,
    }
    # The only text that can end a script element within it.
    encoded = json.dumps(data).replace("</", "<\\/")
    return TEMPLATE.read_text().replace("{{data}}", encoded)


def _interpolate(hu: np.ndarray) -> np.ndarray:
    return np.interp(hu, HU, LEVELS).round().astype(np.uint8)


# Of 0 to 32767, then of -32768 to -1, which NumPy counts from the end.
_INT16 = _interpolate(np.arange(2**16, dtype=np.uint16).view(np.int16))


def _mask(labels: np.ndarray) -> tuple[int, str]:
    """The highest label ``(H, W)``, and a picture where there is any."""
    labels = np.ascontiguousarray(labels)  # once: in a flipped view each look at it takes long
    highest = int(labels.max())
    if not highest:
        return 0, ""
    picture = Image.fromarray(labels)
    picture.putpalette(PALETTE)
    return highest, _base64(picture, "png", compress_type=zlib.Z_RLE)  # runs of one label: smaller, and faster


def _base64(picture: Image.Image, kind: str, **settings: Any) -> str:
    stream = io.BytesIO()
    picture.save(stream, kind, **settings)
    return base64.b64encode(stream.getvalue()).decode()
