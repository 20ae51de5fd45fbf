"""The report of the browser page has the fields, the numbers and the warnings of Python's report."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from helpers.browser import call, open_scripts
from helpers.volumes import AFFINES
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from lits_seg.common.errors import InputError
from lits_seg.data import checks, crop, dicom, dicom_slice, dicom_values, grid, nifti
from lits_seg.data.crop import Crop
from lits_seg.data.ct import Ct, open_ct
from lits_seg.data.grid import to_slices
from lits_seg.inference import ct_report as ct_report_module
from lits_seg.inference import scope
from lits_seg.inference.ct_report import MadeBy, PredictionSettings, ct_report
from lits_seg.inference.segmenter import ModelFacts
from lits_seg.metrics import lesions
from lits_seg.postprocess import Rules, rules
from lits_seg.runs.provenance import PERMITTED_USE

MADE_BY = MadeBy(
    "1.0",
    None,
    ModelFacts(network="net", decoder="own", levels=[], parameters=1, classes=3, preprocess={}, checkpoints=[]),
    PredictionSettings("none", "fp32", "cpu", Rules(), None),
)
REPORT = """
return a.map(([name, affine, shape, doubts, hu, labels, preprocess, hasLiver, made]) => {
  const grid = newGrid(affine, shape, doubts), size = grid.width * grid.height;
  const mask = newMask(grid.width, grid.height, grid.depth), observer = newObserver(grid, preprocess);
  try {
    for (let s = 0; s < grid.depth; s++) {
      const [low, high] = finiteSlice(name, s, hu.subarray(s * size, (s + 1) * size));
      observe(observer, s, hu.subarray(s * size, (s + 1) * size), [low, high]);
      if (low < observer.low || high > observer.high) throw Error("lowest and highest HU");
      addSlice(mask, s, labels.subarray(s * size, (s + 1) * size), null);
    }
    requireHu(name, observer);
  } catch (error) {
    return { error: error.message };
  }
  return JSON.stringify(ctReport(name, grid, mask, observer, hasLiver, JSON.parse(made)));
});"""


@pytest.fixture(scope="module", autouse=True)
def page(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    open_scripts(chromium, tmp_path_factory.mktemp("page"))


def random_ct(rng: np.random.Generator, path: Path) -> None:
    """A CT that is sound in some respects and odd in others: size, spacing, header, HU, type."""
    shape = rng.choice([4, 9, 20], 3) + rng.integers(0, 5, 3)
    shape[rng.integers(3)] = rng.choice([1, 8, 50, 90])
    affine = list(AFFINES.values())[rng.integers(len(AFFINES))].copy()
    affine[:3, :3] *= rng.choice([0.1, 0.5, 1 / 1.5, 1, 2.4, 8])
    if rng.random() < 0.1:
        affine = np.eye(4)
    hu = gaussian_filter(rng.normal(size=shape), 1) * rng.choice([30, 300, 3000]) + rng.choice([-600, 0, 80, 110, 900])
    if rng.random() < 0.3:
        hu = hu.clip(0, rng.choice([255, 3000]))
    image = nib.Nifti1Image(hu.astype(rng.choice([np.int16, np.float32])), affine)
    if rng.random() < 0.3:
        image.header["sform_code"], image.header["qform_code"] = 0, rng.choice([0, 1])
    nib.save(image, path)


def python_says(ct: Ct, labels: np.ndarray, preprocess: dict[str, Any], has_liver: bool) -> dict[str, Any] | None:
    """Return Python's report; None for an 8-bit image, which ``Prediction`` refuses."""
    hu = ct.slices(0, len(ct))
    if hu.min() >= 0 and hu.max() <= 255:
        return None
    report = ct_report(ct, labels, (float(hu.min()), float(hu.max())), has_liver, "mask.nii.gz", MADE_BY)
    if "spacing" in preprocess:
        cut = Crop(preprocess["size"], preprocess["spacing"], ct.pixel_mm)
        cut.add(hu)
        report.warnings.extend(cut.warnings(ct.path))
    return json.loads(json.dumps(report.plain()))


@pytest.mark.parametrize(("examples", "batch"), [(1, 25), pytest.param(2, 60, marks=pytest.mark.slow)])
def test_reports_are_pythons(examples: int, batch: int, chromium: Any, tmp_path: Path) -> None:
    warnings = set()

    @settings(max_examples=examples, deadline=None, database=None, phases=[Phase.generate])
    @given(st.integers(0, 2**32 - 1))
    def check(seed: int) -> None:
        rng = np.random.default_rng(seed)
        cases, expected = [], []
        for number in range(batch):
            path = tmp_path / f"{number}.nii"
            random_ct(rng, path)
            with open_ct(path) as ct:
                hu = ct.slices(0, len(ct)).astype(np.float32)
                labels = (gaussian_filter(rng.normal(size=hu.shape), 2) > rng.choice([-0.1, 0, 0.1, 9])).astype(
                    np.uint8
                )
                labels += labels * (gaussian_filter(rng.normal(size=hu.shape), 1) > 0.2)
                has_liver, size = bool(rng.random() < 0.8), int(rng.choice([16, 64]))
                preprocess = {"size": size, "spacing": 1.5} if rng.random() < 0.4 else {"size": size}
                expected.append(python_says(ct, labels, preprocess, has_liver))
            given_by_python = expected[-1] or {}
            made = {key: given_by_python.get(key) for key in ("mask", "lits_seg", "git_commit", "model", "settings")}
            made["research_use_only"] = PERMITTED_USE
            place = [ct.affine.tolist(), list(ct.shape), list(ct.doubts)]
            cases.append([str(path), *place, hu.ravel(), labels.ravel(), preprocess, has_liver, json.dumps(made)])
        for report, found in zip(expected, call(chromium, REPORT, cases), strict=True):
            if report is None:
                assert "as in an 8-bit image" in found["error"]
                continue
            compare(report, json.loads(found))
            warnings.update(warning.split(": ", 1)[1][:14] for warning in report["warnings"])

    check()
    assert len(warnings) > 10, warnings


def compare(expected: Any, found: Any, place: str = "report") -> None:
    """Compare texts, keys and whole numbers exactly, other numbers to 1e-9, mm to 1e-6."""
    if isinstance(expected, dict):
        assert list(found) == list(expected), place
        for key, value in expected.items():
            compare(value, found[key], f"{place}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), (place, expected, found)
        for one, other in zip(expected, found, strict=True):
            compare(one, other, place)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-6 if "mm" in place else 1e-12), place
    else:
        assert found == expected, place


def test_limits_and_definitions_are_pythons(chromium: Any) -> None:
    limits = {
        checks: ("SPACING_MM", "HIGHEST_HU"),
        crop: ("BODY_HU", "ACCEPTED"),
        scope: (
            *("CONTRAST_HU", "LIVER_ML", "LIVER_MM", "CUT", "BODY_CM2", "AIR_HU", "LEAST_AIR", "SLICE_MM", "PIXEL_MM"),
            *("FEWEST", "SAMPLE", "STEP"),
        ),
        lesions: ("LISTED",),
        rules: ("FULL", "LEAST"),
        grid: ("HIGHEST_COUNT",),
        nifti: ("HIGHEST_OFFSET", "DEFLATE_RATIO", "PADDING"),
        dicom: ("TILT_DEGREES", "GAP_SHARE", "ROUNDING"),
        dicom_slice: ("NOT_IMAGES", "HIGHEST_SIDE"),
        dicom_values: ("HIGHEST_UNPACKED",),
        ct_report_module: ("DEFINITIONS",),
    }
    expected = {name: getattr(module, name) for module, names in limits.items() for name in names}
    found = call(chromium, f"return {{ {', '.join(expected)} }};")
    assert found == json.loads(json.dumps(expected))


def test_the_same_slices_are_sampled_as_in_python(chromium: Any) -> None:
    script = """
    return a.map(depth => [...newObserver({ depth, width: 1, height: 1, pixelMm: [1, 1] }, {}).thin.keys()]);"""
    depths = list(range(1, 1000))
    for depth, found in zip(depths, call(chromium, script, depths), strict=True):
        assert found == np.unique(np.linspace(0, depth - 1, scope.SAMPLE).astype(int)).tolist()


def test_voxels_that_are_not_finite_are_refused_as_in_python(chromium: Any, tmp_path: Path) -> None:
    hu = np.full((4, 5, 6), -1000, np.float32)
    hu[1, 2, 3], hu[0, 0, 3] = np.nan, np.inf
    nib.save(nib.Nifti1Image(hu, AFFINES["LPS"]), tmp_path / "ct.nii")
    with open_ct(tmp_path / "ct.nii") as ct, pytest.raises(InputError) as error:
        ct.slices(3, 4)
    case = [
        str(ct.path),
        ct.affine.tolist(),
        ct.shape,
        [],
        to_slices(hu, ct.affine).ravel(),
        np.zeros(120, "u1"),
        {},
        True,
        "{}",
    ]
    assert call(chromium, REPORT, [case]) == [{"error": str(error.value)}]
