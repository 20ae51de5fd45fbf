"""One HTML file to look at a mask: the CT's slices with the mask over them, and the report's numbers."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lits_seg.data.ct import Ct

TEMPLATE = Path(__file__).with_name("page.html")
SIDE = 320  # the CT's slices are shown at most so large; the mask has the CT's own resolution
JPEG_QUALITY = 85
# 8-bit levels for HU: three units a level where soft tissue is, more elsewhere.
HU, LEVELS = (-1024, -200, 300, 1500), (0, 40, 215, 255)


class Pictures:
    """The CT's slices as they come, from below, encoded at once: some 15 kB each."""

    def __init__(self) -> None:
        self.jpegs: list[str] = []

    def add(self, hu: np.ndarray) -> None:
        """Axial slices ``(B, H, W)`` in HU."""
        height, width = hu.shape[1:]
        shrink = max(1.0, max(height, width) / SIDE)
        for levels in np.interp(hu, HU, LEVELS).round().astype(np.uint8):
            size = (max(1, round(width / shrink)), max(1, round(height / shrink)))
            picture = Image.fromarray(levels).resize(size, Image.Resampling.BOX)
            self.jpegs.append(_base64(picture, "jpeg", quality=JPEG_QUALITY))


def page(name: str, report: dict[str, Any], pictures: Pictures, labels: np.ndarray, ct: Ct) -> str:
    """The page. ``labels``: LiTS's, ``(S, H, W)`` on the CT's slices."""
    x, y, _ = ct.spacing
    height, width = labels.shape[1:]
    data = {
        "name": name,
        "report": report,
        "width": width,
        "height": height,
        "aspect": (width * x) / (height * y),
        "hu": np.interp(np.arange(256), LEVELS, HU).round().astype(int).tolist(),
        "mm": [float((ct.slices_affine @ (width / 2, height / 2, i, 1))[2]) for i in range(len(labels))],
        "labels": [int(part.max()) for part in labels],
        "slices": pictures.jpegs,
        "masks": [_base64(Image.fromarray(np.ascontiguousarray(part)), "png") if part.any() else "" for part in labels],
    }
    # The only text that can end a script element within it.
    encoded = json.dumps(data).replace("</", "<\\/")
    return TEMPLATE.read_text().replace("{{data}}", encoded)


def _base64(picture: Image.Image, kind: str, **settings: Any) -> str:
    stream = io.BytesIO()
    picture.save(stream, kind, **settings)
    return base64.b64encode(stream.getvalue()).decode()
