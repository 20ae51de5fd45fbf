"""The rules and the measurements of the browser page: random masks give what Python gives."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.browser import call, open_scripts, typed_array
from helpers.volumes import AFFINES
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from lits_seg.data.grid import Grid
from lits_seg.metrics.lesions import measure
from lits_seg.postprocess import Rules

APPLY = """
return a.map(([affine, shape, labels, levels, rules, hasLiver]) => {
  const grid = newGrid(affine, shape), size = grid.width * grid.height;
  const mask = newMask(grid.width, grid.height, grid.depth, levelsNeeded(rules, grid.spacing[2]));
  const out = new Uint8Array(labels.length), upwards = labels.length % 2;
  for (let i = 0; i < grid.depth; i++) {
    const s = upwards ? i : grid.depth - 1 - i, part = array => array.subarray(s * size, (s + 1) * size);
    addSlice(mask, s, part(labels), part(levels));
  }
  applyRules(mask, rules, grid, hasLiver);
  for (let s = 0; s < grid.depth; s++) {
    const slice = drawSlice(mask, s, out.subarray(s * size, (s + 1) * size));
    if (highestLabel(mask, s) !== slice.reduce((most, label) => Math.max(most, label))) throw Error("highest label");
  }
  return { labels: out.toBase64(), ...measure(mask, grid) };
});"""


@pytest.fixture(scope="module", autouse=True)
def page(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    open_scripts(chromium, tmp_path_factory.mktemp("page"))


def blobs(rng: np.random.Generator, shape: tuple[int, ...], share: float) -> np.ndarray:
    """Blobs of a random size, down to single voxels, with a share of the volume."""
    noise = gaussian_filter(rng.normal(size=shape), rng.choice([0, 0.6, 1.5, 3]))
    return noise > np.quantile(noise, 1 - share)


def random_rules(rng: np.random.Generator) -> dict[str, Any]:
    rules = {
        "largest_liver": True,
        "fill_liver": True,
        "threshold": float(rng.choice([0.2, 0.5, 0.6, 0.9])),
        "smooth_mm": float(rng.choice([0, 0.3, 3, 8])),
        "min_lesion_ml": float(rng.choice([0.01, 0.1])),
        "min_probability": float(rng.choice([0.5, 0.9])),
        "largest_lesion": True,
    }
    chosen = {name: value for name, value in rules.items() if rng.random() < (0.2 if name == "largest_lesion" else 0.7)}
    if "threshold" not in chosen:
        chosen.pop("smooth_mm", None)
    return chosen


def random_case(rng: np.random.Generator) -> tuple[Grid, np.ndarray, np.ndarray, Rules, bool]:
    """A grid, labels and levels of probability ``(S, H, W)``, rules, and whether the labels include the liver."""
    affine = list(AFFINES.values())[rng.integers(len(AFFINES))]
    grid = Grid(affine, tuple(rng.integers(2, 22, 3).tolist()))
    shape = tuple(
        np.abs(np.linalg.inv(grid.affine[:3, :3]) @ grid.slices_affine[:3, :3]).round().T.astype(int) @ grid.shape
    )
    labels = blobs(rng, shape[::-1], rng.uniform(0, 0.6)).astype(np.uint8)
    lesion = blobs(rng, labels.shape, rng.uniform(0, 0.4))
    has_liver = bool(rng.random() < 0.8)
    labels[lesion & ((labels > 0) | (rng.random() < 0.2))] = 2
    probability = gaussian_filter(rng.uniform(size=labels.shape), rng.choice([0, 0.5])) * rng.choice([0.3, 1])
    probability = np.where(lesion, 1 - probability / 3, probability * (rng.random() < 0.7)).astype(np.float32)
    levels = np.rint(probability * 255).astype(np.uint8)
    if not has_liver:
        labels[labels == 1] = 0
    return grid, labels, levels, Rules(**random_rules(rng)), has_liver


@pytest.mark.parametrize(("examples", "batch"), [(1, 60), pytest.param(4, 150, marks=pytest.mark.slow)])
def test_rules_and_measurements_are_pythons(examples: int, batch: int, chromium: Any) -> None:
    @settings(max_examples=examples, deadline=None, database=None, phases=[Phase.generate])
    @given(st.integers(0, 2**32 - 1))
    def check(seed: int) -> None:
        rng = np.random.default_rng(seed)
        cases = [random_case(rng) for _ in range(batch)]
        there = call(
            chromium,
            APPLY,
            [
                [grid.affine.tolist(), grid.shape, labels.ravel(), levels.ravel(), rules.plain(), has_liver]
                for grid, labels, levels, rules, has_liver in cases
            ],
        )
        changed = 0
        for (grid, labels, levels, rules, has_liver), found in zip(cases, there, strict=True):
            expected = labels.copy()
            rules(expected, levels, grid.spacing, grid.voxel_ml, has_liver)
            changed += not np.array_equal(expected, labels)
            np.testing.assert_array_equal(
                typed_array(found["labels"], "u1").reshape(labels.shape), expected, str(rules)
            )
            compare(grid, expected, found)
        assert changed > batch / 2

    check()


def test_a_lesion_that_averages_reach_over_a_plateau_is_pythons(chromium: Any) -> None:
    """Levels just below the threshold count on both sides of a lesion, also far from the levels above it."""
    grid, rules = Grid(np.diag([-1.0, -1, 1, 1]), (2, 2, 60)), Rules(threshold=0.6, smooth_mm=3)
    labels, levels = np.ones((60, 2, 2), np.uint8), np.full((60, 2, 2), 150, np.uint8)
    levels[30:33] = 255
    case = [grid.affine.tolist(), grid.shape, labels.ravel(), levels.ravel(), rules.plain(), True]
    (found,) = call(chromium, APPLY, [case])
    rules(labels, levels, grid.spacing, grid.voxel_ml)
    assert np.flatnonzero(labels[:, 0, 0] == 2).tolist() == list(range(24, 39))
    np.testing.assert_array_equal(typed_array(found["labels"], "u1").reshape(labels.shape), labels)


def compare(grid: Grid, labels: np.ndarray, found: dict[str, Any]) -> None:
    """Compare measurements with Python's: counts are equal, mL to 1e-9, mm to 1e-6."""
    count, lesions = measure(labels, grid.slices_affine, grid.voxel_ml)
    assert (found["count"], len(found["lesions"])) == (count, len(lesions))
    assert (found["lesionVoxels"], found["liverVoxels"]) == (np.count_nonzero(labels == 2), np.count_nonzero(labels))
    for number, (lesion, row) in enumerate(zip(lesions, found["lesions"], strict=True), start=1):
        assert row["number"] == number
        assert (tuple(row["slices"]), row["largest_in_slice"]) == (lesion.slices, lesion.largest)
        assert row["volume_ml"] == pytest.approx(lesion.volume_ml, rel=1e-9)
        assert row["diameter_mm"] == pytest.approx(lesion.diameter_mm, abs=1e-6)
        assert row["centre_mm"] == pytest.approx(lesion.centre_mm, abs=1e-6)


def test_other_rules_are_refused_by_name(chromium: Any) -> None:
    script = "return a.map(refusedRules)"
    none = {"crf": None, "lesions_within_liver_mm": None, "largest_liver": True, "threshold": 0.5}
    told = call(chromium, script, [none, {"lesions_within_liver_mm": 5}, {"crf": {"weight": 1}, "new": 1}])
    assert told[0] == ""
    assert told[1] == "the page does not apply rules.lesions_within_liver_mm"
    assert "rules.crf, rules.new" in told[2]
    script = "try { applyRules(newMask(1, 1, 1), { crf: {} }, {}, true) } catch (error) { return error.message }"
    assert "rules.crf" in call(chromium, script)


@pytest.mark.slow
def test_a_long_ct_is_fast_and_small(chromium: Any, tmp_path: Path) -> None:
    """600 slices of 512 x 512 with a liver, as the packaged network's rules need them."""
    script = """
    const rules = {
      largest_liver: true, fill_liver: true, threshold: 0.6, smooth_mm: 3, min_lesion_ml: 0.1, min_probability: 0.9,
    };
    const grid = newGrid([[-0.8, 0, 0, 0], [0, -0.8, 0, 0], [0, 0, 0.8, 0], [0, 0, 0, 1]], [512, 512, 600]);
    const mask = newMask(512, 512, 600, levelsNeeded(rules, 0.8));
    const labels = new Uint8Array(512 * 512), levels = new Uint8Array(512 * 512);
    const started = performance.now();
    let added = 0, bytes = 0;
    for (let s = 0; s < 600; s++) {
      for (let y = 0, i = 0; y < 512; y++)
        for (let x = 0; x < 512; x++, i++) {
          const liver = ((x - 170) / 110) ** 2 + ((y - 220) / 130) ** 2 + ((s - 300) / 150) ** 2 < 1;
          const lesion = ((x - 170) / 40) ** 2 + ((y - 220) / 40) ** 2 + ((s - 300) / 50) ** 2;
          labels[i] = liver ? (lesion < 1 ? 2 : 1) : 0;
          levels[i] = 255 * Math.min(1, (liver ? 0.3 / lesion ** 2 : 0) + 0.01 * ((i * 7919) % 13));
        }
      const from = performance.now();
      addSlice(mask, s, labels, levels);
      added += performance.now() - from;
    }
    while (mask.waiting.length) packFirst(mask);
    for (const { byteLength } of mask.runs) bytes += byteLength;
    for (const { runs, bytes: levels } of mask.likely) bytes += runs.byteLength + levels.length;
    const before = performance.now();
    applyRules(mask, rules, grid, true);
    const ruled = performance.now();
    const { count } = measure(mask, grid);
    return { count, bytes, added, rules: ruled - before, measured: performance.now() - ruled };"""
    found = call(chromium, script)
    print(found)
    assert found["count"] == 1
    assert found["bytes"] < 3e6  # 157 million voxels
