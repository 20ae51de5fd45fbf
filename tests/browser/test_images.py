"""The browser page makes the network's images, and labels of its output, as Python does."""

from typing import Any

import numpy as np
import pytest
import torch
from helpers.browser import call, open_scripts, typed_array
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from lits_seg.data.preprocess import Preprocess
from lits_seg.exporters.graph import Restore

CASES = """
return a.map(([shape, pixelMm, preprocess, hu, logits, liver]) => {
  const resizing = newResizing({ height: shape[0], width: shape[1], pixelMm }, preprocess);
  imageOf(resizing, hu.map(value => value / 2));  // maps are used again
  restored(resizing, logits.map(value => -value), liver);
  const { labels, levels } = restored(resizing, logits, liver);
  return [imageOf(resizing, hu), labels, levels].map(array => array.toBase64());
});"""


@pytest.fixture(scope="module", autouse=True)
def page(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    open_scripts(chromium, tmp_path_factory.mktemp("page"))


def smooth(rng: np.random.Generator, *shape: int, sigma: float = 2) -> np.ndarray:
    noise = gaussian_filter(rng.normal(size=shape), (0, sigma, sigma))
    return noise / noise.std()


@pytest.mark.parametrize(("examples", "batch"), [(1, 25), pytest.param(4, 50, marks=pytest.mark.slow)])
def test_images_labels_and_levels_are_pythons(examples: int, batch: int, chromium: Any) -> None:
    @settings(max_examples=examples, deadline=None, database=None, phases=[Phase.generate])
    @given(st.integers(0, 2**32 - 1))
    def check(seed: int) -> None:
        rng = np.random.default_rng(seed)
        cases, expected = [], []
        for _ in range(batch):
            height, width = rng.choice([16, 31, 64, 100, 160], 2).tolist()
            preprocess = Preprocess(
                window=[(-100, 200), (-160, 240)][rng.integers(2)],
                size=int(rng.choice([16, 32, 50, 64])),
                equalize=bool(rng.random() < 0.5),
                equalize_first=bool(rng.random() < 0.3),
                bins=int(rng.choice([2, 64, 256])),
                spacing=float(rng.choice([0.8, 1, 1.5, 3])) if rng.random() < 0.4 else None,
            )
            pixel_mm = rng.choice([0.5, 0.7, 1, 2.4], 2)
            hu = (120 * smooth(rng, 1, height, width)).round().astype(np.float32)
            above = 4 * smooth(rng, rng.integers(1, 3), preprocess.size, preprocess.size).astype(np.float32)
            liver = len(above) == 2 or bool(rng.random() < 0.5)
            cases.append([[height, width], pixel_mm.tolist(), preprocess.plain(), hu.ravel(), above.ravel(), liver])
            logits = torch.from_numpy(np.concatenate([np.zeros_like(above[:1]), above]))[None]
            mm = torch.from_numpy(pixel_mm.astype(np.float32))[None]
            foreground = "liver" if len(above) == 1 and liver else "lesion"
            layer = Restore(len(above) + 1, preprocess, 1.0, foreground)
            labels, probability = layer(logits, torch.from_numpy(hu)[None], mm if preprocess.spacing else None)
            image = preprocess.images(hu, pixel_mm)[0]
            expected.append((image, labels.numpy()[0], (probability * 255).round().numpy()[0].astype(np.uint8)))
        for case, arrays in zip(call(chromium, CASES, cases), expected, strict=True):
            image, labels, levels = (typed_array(text, "u1") for text in case)
            assert np.mean(image != arrays[0].ravel()) < 0.002  # halves that other sums round otherwise
            assert np.mean(labels != arrays[1].ravel()) < 0.002
            assert np.abs(levels.astype(int) - arrays[2].ravel()).max() <= 1
            assert np.mean(levels != arrays[2].ravel()) < 0.01

    check()


def test_halves_become_even(chromium: Any) -> None:
    values = np.arange(0, 8, 0.25)
    assert call(chromium, "return a.map(even)", values.tolist()) == np.rint(values).tolist()
