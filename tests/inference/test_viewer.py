import base64
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from helpers.volumes import AFFINES, anatomy
from PIL import Image

from lits_seg.data.ct import open_ct
from lits_seg.data.grid import to_slices
from lits_seg.inference.ct_report import MadeBy, PredictionSettings, ct_report
from lits_seg.inference.segmenter import ModelFacts
from lits_seg.inference.viewer import HU, LEVELS, Pictures, grey_levels, page
from lits_seg.postprocess import Rules

ATTACK = "</script><script>alert(1)</script>"
SETTINGS = PredictionSettings("none", "32", "cpu", Rules(), None)
MADE_BY = MadeBy(
    "0.1.0",
    None,
    ModelFacts(
        network=ATTACK, decoder="own", parameters=1, classes=3, preprocess={"window": [-100, 200]}, checkpoints=[]
    ),
    SETTINGS,
)


@pytest.fixture
def made(tmp_path: Path) -> tuple[str, dict, np.ndarray, np.ndarray]:
    return make_page(tmp_path, "ct")


def make_page(folder: Path, name: str) -> tuple[str, dict, np.ndarray, np.ndarray]:
    hu, labels = anatomy(0)
    nib.save(nib.Nifti1Image(hu, AFFINES["flipped"]), folder / "ct.nii.gz")
    slices, mask = to_slices(hu, AFFINES["flipped"]), to_slices(labels, AFFINES["flipped"])
    pictures = Pictures()
    for start in range(0, len(slices), 4):
        pictures.add(slices[start : start + 4])
    with open_ct(folder / "ct.nii.gz") as ct:
        report = ct_report(ct, mask, (-1000, 200), True, "ct.nii.gz", MADE_BY)
        text = page(name, report, pictures, mask, ct)
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert data
    return text, json.loads(data[1]), slices, mask


def picture(encoded: str) -> np.ndarray:
    """Its red, which is what the page reads."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB"))[..., 0]


def test_it_asks_for_nothing_from_elsewhere(made: tuple) -> None:
    text = made[0]
    assert not re.search(
        r"(src|href)\s*=|https?:|@import|url\(|fetch\(|XMLHttp", re.sub(r"image\.src = `data:", "", text)
    )
    assert "alert(1)</script>" not in text
    assert "{{" not in text


@pytest.mark.parametrize("name", ["<!--<script>", "</script>", "a & b 'c' \"d\" \u2028"])
def test_a_name_cannot_end_or_hide_the_data(name: str, tmp_path: Path) -> None:
    text, data, _, _ = make_page(tmp_path, name)
    assert data["name"] == name
    assert text.count("<script") == text.count("</script>") == 2
    assert "<!--" not in text


@pytest.mark.hostile
@pytest.mark.parametrize("name", ["<!--<script>", "</h1><img src=x onerror=alert(1)>"])
def test_a_browser_shows_every_name(name: str, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or pytest.skip("needs chromium")
    (tmp_path / "page.html").write_text(make_page(tmp_path, name)[0])
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000", "--dump-dom")
    shown = subprocess.run(
        [browser, *flags, f"file://{tmp_path}/page.html"], capture_output=True, text=True, check=True, timeout=120
    )
    texts: dict[str, str] = {}

    class Texts(HTMLParser):
        tag = ""

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.tag = tag

        def handle_data(self, data: str) -> None:
            texts[self.tag] = texts.get(self.tag, "") + data

    Texts().feed(shown.stdout)
    assert texts["title"].startswith(f"{name}: lits_seg")
    assert texts["h1"].startswith(name)
    assert "largest diameter" in texts["td"]


def test_every_slice_is_there_with_its_mask(made: tuple) -> None:
    _, data, slices, mask = made
    assert len(data["slices"]) == len(data["masks"]) == len(slices)
    for i, encoded in enumerate(data["masks"]):
        found = picture(encoded) if encoded else np.zeros_like(mask[i])
        np.testing.assert_array_equal(found, mask[i])
        levels = picture(data["slices"][i])
        expected = np.interp(slices[i], HU, LEVELS)
        assert np.abs(levels - expected).mean() < 4  # JPEG
        if (mask[i] == 1).any():
            assert np.abs(np.array(data["hu"])[levels][mask[i] == 1] - 110).mean() < 20
    assert data["labels"] == [int(part.max()) for part in mask]


def test_levels_are_interpolated() -> None:
    hu = np.arange(-(2**15), 2**15)
    expected = np.interp(hu, HU, LEVELS).round()
    for kind in (np.int16, np.float32):
        found = grey_levels(hu.astype(kind).reshape(256, 256))
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found.ravel(), expected)


def test_large_slices_are_shown_smaller_and_keep_their_shape() -> None:
    pictures = Pictures()
    pictures.add(np.zeros((1, 200, 640), np.int16))
    assert picture(pictures.jpegs[0]).shape == (100, 320)


def test_the_report_and_its_warning_are_on_the_page(made: tuple) -> None:
    text, data, _, _ = made
    assert "Research use only" in data["report"]["research_use_only"]
    assert data["report"]["lesion_count"] == 1
    assert data["aspect"] == pytest.approx(48 * 1.5 / (40 * 1.5))
    assert data["mm"] == sorted(data["mm"])  # upwards
    for letter, place in (("R", "left"), ("L", "right"), ("A", "top"), ("P", "bottom")):
        assert re.search(rf'class="letter {place}"[^>]*>{letter}<', text)
