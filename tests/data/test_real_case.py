import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from lits_seg.common.errors import InputError
from lits_seg.data import real_case
from lits_seg.data.layouts import find_cases
from lits_seg.data.volumes import read_case

REAL = Path(__file__).parents[2] / "data" / "real"


def mrc(voxels: np.ndarray, mode: int, extended: int = 0) -> bytes:
    header = bytearray(1024)
    header[:16] = struct.pack("<4i", *reversed(voxels.shape), mode)
    header[92:96] = struct.pack("<i", extended)
    return bytes(header) + bytes(extended) + voxels.tobytes()


@pytest.mark.parametrize(("kind", "mode"), [("<i2", 1), ("<f4", 2), ("<u2", 6)])
@pytest.mark.parametrize("extended", [0, 80])
def test_read_mrc(kind: str, mode: int, extended: int) -> None:
    voxels = np.arange(24).reshape(2, 3, 4).astype(kind)
    np.testing.assert_array_equal(real_case.read_mrc(mrc(voxels, mode, extended), "a.mrc"), voxels)


def test_bad_mrc_is_named() -> None:
    voxels = np.zeros((2, 3, 4), "<i2")
    with pytest.raises(InputError, match=r"a\.mrc: expected 4 x 3 x 2 voxels; found 23"):
        real_case.read_mrc(mrc(voxels, 1)[:-2], "a.mrc")
    with pytest.raises(InputError, match="mode 4"):
        real_case.read_mrc(mrc(voxels, 4), "a.mrc")


def test_package_that_cannot_be_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real_case, "PACKAGE", "no-such-package-of-lits-seg==0")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(InputError, match="no-such-package"):
        real_case.fetch_real_case(tmp_path / "real")
    assert not list((tmp_path / "real").iterdir())


def test_real_case() -> None:
    if not (REAL / "volume-117.nii.gz").exists():
        pytest.skip("make real-data fetches it")
    image, label = read_case(find_cases(REAL)[0])
    assert image.slices.shape == (128, 128, 128)
    assert ((label.slices == 1).sum(), (label.slices == 2).sum()) == (485_268, 130_083)
    assert image.slices[label.slices == 2].mean() == pytest.approx(70, abs=1)
    assert np.argwhere(label.slices > 0)[:, 2].mean() < 64  # the patient's right
