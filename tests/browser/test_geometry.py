"""The geometry of the browser page: random headers and affines give what Python gives."""

import base64
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from helpers.browser import call, open_scripts
from helpers.volumes import ORDERS
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from nibabel.orientations import inv_ornt_aff

from lits_seg.common.errors import InputError
from lits_seg.data.ct import open_ct
from lits_seg.data.grid import Grid, from_slices, short_affine, to_slices
from lits_seg.data.nifti import open_nifti, voxels_end
from lits_seg.inference.outputs import write_nifti

CODES = {0: nib.Nifti1Header, 1: nib.Nifti2Header}
READ = """
return a.map(([name, bytes]) => {
  try {
    const header = niftiHeader(name, bytes), grid = newGrid(header.affine, header.shape, header.doubts);
    return { ...header, grid, mask: maskHeader(grid, { header, head: bytes }, "").toBase64() };
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return { error: error.message };
  }
});"""


@pytest.fixture(scope="module", autouse=True)
def page(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    open_scripts(chromium, tmp_path_factory.mktemp("page"))


def rotation(rng: np.random.Generator, degrees: float) -> np.ndarray:
    """A turn around a random axis by up to some degrees."""
    axis = rng.normal(size=3)
    angle = np.radians(rng.uniform(0, degrees))
    return nib.quaternions.angle_axis2mat(angle, axis / np.linalg.norm(axis))


def random_affine(rng: np.random.Generator) -> np.ndarray:
    """Axes in any order and direction, with a turn and a shear."""
    affine = inv_ornt_aff(ORDERS[rng.integers(48)], (1, 1, 1))
    turn = rotation(rng, rng.choice([0, 5, 40, 180])) + rng.choice([0, 0, 0.05]) * rng.normal(size=(3, 3))
    affine[:3, :3] = turn @ affine[:3, :3] @ np.diag(rng.uniform(0.3, 6, 3))
    affine[:3, 3] = rng.uniform(-400, 400, 3)
    return affine


def random_header(rng: np.random.Generator) -> bytes:
    """A NIfTI header with random transforms, codes, type and byte order, and now and then a wrong value."""

    def rarely(value: Any, wrong: Any, chance: float = 0.03) -> Any:
        return wrong if rng.random() < chance else value

    kind = CODES[int(rng.integers(2))]
    header = kind(endianness=rng.choice(["<", ">"]), check=False)
    header["dim"][:4] = [rarely(3, rng.choice([0, 1, 2, 4, 7])), *rng.integers(1, 7, 3)]
    header["dim"][1] = rarely(header["dim"][1], rng.choice([0, -2]), 0.01)
    header["datatype"] = rarely(rng.choice([2, 4, 8, 16, 64, 256, 512, 768, 1024, 1280]), rng.choice([0, 5, 32, 128]))
    header["vox_offset"] = rarely(header.single_vox_offset, rng.choice([0, 100, 1e9, header.single_vox_offset + 64]))
    header["magic"] = rarely(header.single_magic, rng.choice([b"ni1", b"n+3", b""]), 0.02)
    affine = random_affine(rng)
    header.set_qform(affine)
    header["qform_code"] = rarely(rng.choice([0, 1, 2]), 7)
    header["sform_code"] = rarely(rng.choice([0, 1, 2]), 7)
    other = affine if rng.random() < 0.5 else random_affine(rng)
    header["srow_x"], header["srow_y"], header["srow_z"] = rarely(other, np.zeros((4, 4)))[:3]
    header["pixdim"][1] = rarely(header["pixdim"][1], rng.choice([0, -1, 50, np.nan, np.inf]))
    header["pixdim"][0] = rarely(header["pixdim"][0], rng.choice([0, 3, np.nan]))
    header["quatern_b"] = rarely(header["quatern_b"], rng.choice([2, np.nan, np.inf]))
    header["qoffset_y"] = rarely(header["qoffset_y"], np.nan)
    header["scl_slope"] = rarely(1, rng.choice([0, 0.5, np.nan, -2]), 0.3)
    header["scl_inter"] = rarely(0, rng.choice([-1024, np.inf]), 0.2)
    for name in {"data_type", "db_name", "aux_file", "intent_name", "descrip"} & set(header):
        header[name] = b"DOE^JOHN"
    return header.binaryblock


def python_says(path: Path) -> dict[str, Any]:
    """The facts of a file's header, or the error."""
    try:
        with open_nifti(path) as image:
            grid, proxy = Grid(image.affine, image.shape, doubts=image.extra["doubts"]), image.dataobj
            return {"grid": grid, "slope": proxy.slope, "inter": proxy.inter, "type": proxy.dtype}
    except InputError as error:
        return {"error": str(error)}


@pytest.mark.parametrize(("examples", "batch"), [(1, 150), pytest.param(6, 300, marks=pytest.mark.slow)])
def test_headers_are_read_as_in_python(examples: int, batch: int, chromium: Any, tmp_path: Path) -> None:
    @settings(max_examples=examples, deadline=None, database=None, phases=[Phase.generate])
    @given(st.integers(0, 2**32 - 1))
    def check(seed: int) -> None:
        rng = np.random.default_rng(seed)
        files = []
        for number in range(batch):
            block = random_header(rng)
            header = CODES[int(len(block) > 500)](block, check=False)
            try:
                end = min(voxels_end(header), 10_000)
            except (ValueError, KeyError):  # a type that nibabel does not know
                end = len(block)
            path = tmp_path / f"{number}.nii"
            path.write_bytes(block.ljust(end, b"\0"))
            files.append([str(path), path.read_bytes()[:540]])
        for (path, block), found in zip(files, call(chromium, READ, files), strict=True):
            compare(python_says(Path(path)), found, block)
            if "error" not in found:
                compare_masks(Path(path), base64.b64decode(found["mask"]))

    check()


def compare(expected: dict[str, Any], found: dict[str, Any], block: bytes) -> None:
    if "error" in expected:
        assert "error" in found, expected["error"]
        # Python's reason contains reprs of nibabel's exceptions.
        assert found["error"].split("; found")[0] == expected["error"].split("; found")[0]
        return
    assert "error" not in found, found
    grid, there = expected["grid"], found["grid"]
    assert (found["slope"], found["inter"]) == (expected["slope"], expected["inter"])
    assert (found["type"], found["little"]) == (expected["type"].name, block[0] > 0)
    header = CODES[int(found["version"] == 2)](block[: 348 if found["version"] == 1 else 540], check=False)
    if header["sform_code"] in (1, 2):
        assert np.array(found["affine"]).tobytes() == grid.affine.tobytes()
    else:  # nibabel computes with the long double of the machine
        np.testing.assert_allclose(found["affine"], grid.affine, rtol=1e-13, atol=1e-13 * np.abs(grid.affine).max())
    assert there["doubts"] == list(grid.doubts)
    compare_grid(grid, there)


def compare_masks(ct: Path, header: bytes) -> None:
    """The masks of the page and of ``predict`` have three axes, the CT's affine bit by bit, none of its texts."""
    assert b"DOE" not in header
    count = int(np.prod(nib.load(ct).shape))
    if count > 10_000:  # a number of voxels that no file of this test has
        return
    mask = ct.with_name("page.nii")
    mask.write_bytes(header + bytes(count))
    with open_ct(ct) as opened:
        write_nifti(ct.with_name("predict.nii.gz"), np.zeros(opened.shape, np.uint8), opened)
    expected = nib.load(ct).affine.tobytes(), opened.shape
    masks = [nib.load(one) for one in (mask, ct.with_name("predict.nii.gz"))]
    assert [(one.affine.tobytes(), one.shape) for one in masks] == [expected] * 2


def compare_grid(grid: Grid, there: dict[str, Any]) -> None:
    assert there["codes"] == "".join(nib.aff2axcodes(grid.affine))
    np.testing.assert_allclose(there["spacing"], grid.spacing, rtol=1e-14)
    np.testing.assert_allclose(there["pixelMm"], grid.pixel_mm, rtol=1e-14)
    np.testing.assert_allclose(there["voxelMl"], grid.voxel_ml, rtol=1e-12)
    np.testing.assert_allclose(there["slicesAffine"], grid.slices_affine, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize(("examples", "batch"), [(1, 100), pytest.param(4, 300, marks=pytest.mark.slow)])
def test_slices_are_pythons(examples: int, batch: int, chromium: Any) -> None:
    """Whole volumes and single planes of the file, to slices and back."""

    @settings(max_examples=examples, deadline=None, database=None, phases=[Phase.generate])
    @given(st.integers(0, 2**32 - 1))
    def check(seed: int) -> None:
        rng = np.random.default_rng(seed)
        affines = [random_affine(rng) for _ in range(batch)]
        arrays = [np.arange(np.prod(shape), dtype=np.int32).reshape(shape) for shape in rng.integers(1, 6, (batch, 3))]
        script = """
        return a.map(([affine, shape, voxels]) => {
          const grid = newGrid(affine, shape), slices = [], back = new Int32Array(voxels.length), planes = [];
          for (let s = 0; s < grid.depth; s++) {
            const slice = new Int32Array(grid.width * grid.height);
            copySlice(grid, s, voxels, 0, slice);
            copySlice(grid, s, back, 0, slice, true);
            slices.push([...slice]);
            if (grid.axes[2] !== 2) continue;
            const size = shape[0] * shape[1], plane = grid.signs[2] > 0 ? s : grid.depth - 1 - s;
            copySlice(grid, s, voxels.subarray(plane * size, (plane + 1) * size), plane * size, slice);
            planes.push([...slice]);
          }
          return { grid, slices, back: [...back], planes };
        });"""
        cases = [
            [affine.tolist(), array.shape, array.ravel("F")] for affine, array in zip(affines, arrays, strict=True)
        ]
        for affine, array, there in zip(affines, arrays, call(chromium, script, cases), strict=True):
            slices = to_slices(array, affine)
            assert (there["grid"]["depth"], there["grid"]["height"], there["grid"]["width"]) == slices.shape
            assert there["slices"] == slices.reshape(len(slices), -1).tolist()
            assert there["planes"] in ([], there["slices"])
            assert there["back"] == from_slices(slices, affine).ravel("F").tolist()
            compare_grid(Grid(affine, array.shape), there["grid"])

    check()


def test_numbers_are_written_as_in_python(chromium: Any) -> None:
    rng = np.random.default_rng(0)
    values = [
        0.0,
        2.5,
        0.8125,
        -0.5,
        1e-5,
        999.95,
        9999.5,
        1e20,
        0.00012345,
        62.5,
        63.5,
        *np.exp(rng.normal(0, 6, 200)),
    ]
    script = "return a.map(x => [short(x), short(x, 3), short(x, 4), fixed(x, 0), fixed(x, 1), fixed(x, 2)])"
    for value, texts in zip(values, call(chromium, script, list(map(float, values))), strict=True):
        expected = [f"{value:g}", f"{value:.3g}", f"{value:.4g}", f"{value:.0f}", f"{value:.1f}", f"{value:.2f}"]
        assert texts == expected
    affine = random_affine(rng)
    assert call(chromium, "return shortAffine(a)", affine.tolist()) == short_affine(affine)


@pytest.mark.hostile
def test_lengths_are_checked_before_voxels_are_read(chromium: Any) -> None:
    script = """
    return a.map(([size, packed]) => {
      try { return requireLength("ct.nii", { end: 100000 }, size, packed) ?? "" } catch (error) { return error.message }
    });"""
    told = call(
        chromium, script, [[100000, False], [104096, False], [99999, False], [104097, False], [96, True], [200, True]]
    )
    assert told[:2] == ["", ""]
    assert told[2] == (
        "ct.nii: expected a readable NIfTI volume; found at most 99999 of the 100000 bytes that its header states: "
        "the file is truncated"
    )
    assert "more bytes than its header states" in told[3]
    assert "at most 99072 of the" in told[4]
    assert told[5] == ""
