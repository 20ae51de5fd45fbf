"""Pages: values are escaped, a missing variable is an error, pictures survive their encoding."""

import base64
import io

import numpy as np
import pytest
from jinja2 import UndefinedError
from PIL import Image

from lits_seg.common.html import base64_picture, render

CHECK = {"root": "a & b", "research_use": "", "summary": [], "columns": [], "rows": []}


def test_values_are_escaped() -> None:
    page = render("check.html.j2", **CHECK, errors=["<script>alert(1)</script>"])
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<title>Check of a &amp; b</title>" in page


def test_a_missing_variable_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="errors"):
        render("check.html.j2", **CHECK)


def test_a_picture_survives_its_encoding() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7), np.uint8)
    encoded = base64_picture(Image.fromarray(pixels), "png", optimize=True)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded)))), pixels)
