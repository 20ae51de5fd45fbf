"""One real case from a package: MRC files are read, and what cannot be had is named."""

from pathlib import Path

import mrcfile
import numpy as np
import pytest

from experiments.real_case.__main__ import fetch_real_case, read_mrc
from lits_seg.common.errors import InputError
from lits_seg.data.layouts import find_cases
from lits_seg.data.volumes import read_case

REAL = Path(__file__).parents[2] / "data" / "real"  # of make real-data


def mrc(path: Path, voxels: np.ndarray, extended: int = 0) -> Path:
    with mrcfile.new(path) as file:
        file.set_data(voxels)
        file.set_extended_header(np.zeros(extended, np.uint8))
    return path


@pytest.mark.parametrize("kind", ["<i2", "<f4", "<u2"])
@pytest.mark.parametrize("extended", [0, 80])
def test_read_mrc(kind: str, extended: int, tmp_path: Path) -> None:
    voxels = np.arange(24).reshape(2, 3, 4).astype(kind)
    np.testing.assert_array_equal(read_mrc(mrc(tmp_path / "a.mrc", voxels, extended)), voxels)


def test_bad_mrc_is_named(tmp_path: Path) -> None:
    path = mrc(tmp_path / "a.mrc", np.zeros((2, 3, 4), "<i2"))
    content = path.read_bytes()
    for damaged in (content[:-2], content[:12] + b"\x09" + content[13:], b"no MRC"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"a\.mrc: expected an MRC file; found"):
            read_mrc(path)


def test_package_that_cannot_be_fetched(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no-such-package"):
        fetch_real_case(tmp_path / "real", package=str(tmp_path / "no-such-package.whl"))
    assert not list((tmp_path / "real").iterdir())


def test_real_case() -> None:
    if not (REAL / "volume-117.nii.gz").exists():
        pytest.skip("make real-data fetches the case")
    image, label = read_case(find_cases(REAL)[0])
    assert image.slices.shape == (128, 128, 128)
    assert ((label.slices == 1).sum(), (label.slices == 2).sum()) == (485_268, 130_083)
    assert image.slices[label.slices == 2].mean() == pytest.approx(70, abs=1)
    assert np.argwhere(label.slices > 0)[:, 2].mean() < 64  # the patient's right
