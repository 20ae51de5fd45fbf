"""The voxels of a NIfTI file in the browser page equal those in Python bit by bit."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from helpers.browser import call, open_scripts, typed_array

from lits_seg.data.ct import open_ct

SHAPE = (17, 19, 7)
READ = """
const file = { name: "ct.nii", size: a.length, read: async (from, to) => a.slice(from, to) };
const ct = await openNifti(file), size = ct.grid.width * ct.grid.height, hu = new Float32Array(size * ct.grid.depth);
for await (const [s, slice] of ct.slices()) hu.set(slice, s * size);
return new Uint8Array(hu.buffer).toBase64();"""


@pytest.fixture(scope="module", autouse=True)
def page(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    open_scripts(chromium, tmp_path_factory.mktemp("page"))


def voxels(kind: str, rng: np.random.Generator) -> np.ndarray:
    """Values of every magnitude; whole numbers lie around the ties of numbers with 24 bits, too."""
    size = int(np.prod(SHAPE))
    if kind[0] == "f":
        return (rng.normal(size=size) * 10.0 ** rng.integers(-30, 30, size)).astype(kind)
    values = rng.integers(np.iinfo(kind).min, np.iinfo(kind).max, size, kind, endpoint=True)
    lower = max(0, 8 * values.itemsize - (25 if kind[0] == "u" else 26))
    near = ((values >> lower | 1) << lower) + rng.integers(-1, 2, size).astype(kind)
    return np.where(rng.random(size) < 0.5, near, values >> rng.integers(0, 8 * values.itemsize, size).astype(kind))


@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_voxels_are_pythons(kind: str, chromium: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for order, slope, inter in (("<", 1, 0), (">", 1, 0), ("<", 0.7, -1024.3), (">", -1e-3, 0.1)):
        header = nib.Nifti1Header(endianness=order)
        header.set_data_shape(SHAPE)
        header.set_data_dtype(kind)
        header["magic"], header["vox_offset"], header["scl_slope"], header["scl_inter"] = "n+1", 352, slope, inter
        header.set_sform(np.diag([-1, -1, 1, 1]), 1)
        stored = voxels(kind, rng).astype(order + kind)
        (tmp_path / "ct.nii").write_bytes(header.binaryblock + bytes(4) + stored.tobytes())
        with open_ct(tmp_path / "ct.nii") as ct:
            expected = ct.slices(0, len(ct)).astype(np.float32)
        found = typed_array(call(chromium, READ, (tmp_path / "ct.nii").read_bytes()), "<f4")
        np.testing.assert_array_equal(found.view("<u4"), expected.view("<u4").ravel())
