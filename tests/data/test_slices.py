import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from lits_seg.data.cases import find_cases
from lits_seg.data.preprocess import Preprocess
from lits_seg.data.slices import store_cases
from lits_seg.data.volumes import read_case
from lits_seg.errors import InputError

PREPROCESS = Preprocess(size=32)


def files(store: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in store.rglob("*.npy")}


def test_store_holds_what_the_pre_processing_gives(lits: Path, tmp_path: Path) -> None:
    cases = find_cases(lits)
    for case, stored in zip(cases, store_cases(cases, PREPROCESS, tmp_path), strict=True):
        image, label = read_case(case)
        np.testing.assert_array_equal(stored.images, PREPROCESS.images(image.slices))
        np.testing.assert_array_equal(stored.labels, PREPROCESS.labels(label.slices))
        np.testing.assert_array_equal(np.stack([stored.truth(i) for i in range(len(stored))]), label.slices)
        assert stored.spacing == image.spacing
        assert sum(stored.lesion_pixels) == (stored.labels == 2).sum()
        assert sum(stored.liver_pixels) == (stored.labels > 0).sum()


def test_store_is_written_once_and_again_when_something_changed(lits: Path, tmp_path: Path) -> None:
    root = shutil.copytree(lits, tmp_path / "root")
    store, cases = tmp_path / "store", find_cases(root)
    store_cases(cases, PREPROCESS, store)
    before = files(store)
    store_cases(cases, PREPROCESS, store)
    assert files(store) == before
    store_cases(cases, Preprocess(size=32, window=(-150, 250)), store)
    assert len(files(store)) == 2 * len(before)
    os.utime(cases[0].image, ns=(1, 1))
    store_cases(cases, PREPROCESS, store)
    assert len(files(store)) == 2 * len(before) + 3


def test_bad_case_leaves_nothing_half_written(lits: Path, tmp_path: Path) -> None:
    root = shutil.copytree(lits, tmp_path / "root")
    bad = root / "volume-3.nii.gz"
    bad.write_bytes(bad.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"volume-3\.nii\.gz"):
        store_cases(find_cases(root), PREPROCESS, tmp_path / "store")
    folders = [path for path in (tmp_path / "store").glob("*/*") if path.is_dir()]
    assert folders
    assert not [folder for folder in folders if folder.name.startswith((".", "3-"))]
    for folder in folders:
        assert sorted(path.name for path in folder.iterdir()) == ["case.json", "image.npy", "label.npy", "truth.npy"]


def test_store_goes_on_where_it_failed(lits: Path, tmp_path: Path) -> None:
    root = shutil.copytree(lits, tmp_path / "root")
    (root / "volume-3.nii.gz").write_bytes(b"cut off")
    with pytest.raises(InputError):
        store_cases(find_cases(root), PREPROCESS, tmp_path / "store")
    before = files(tmp_path / "store")
    shutil.copy(lits / "volume-3.nii.gz", root)
    assert len(store_cases(find_cases(root), PREPROCESS, tmp_path / "store")) == 8
    assert files(tmp_path / "store").items() >= before.items()


def test_opened_case_travels_to_workers_without_its_arrays(lits: Path, tmp_path: Path) -> None:
    stored = store_cases(find_cases(lits)[:1], PREPROCESS, tmp_path)[0]
    assert stored.images.size > 5000
    travelled = pickle.dumps(stored)
    assert len(travelled) < 3000
    np.testing.assert_array_equal(pickle.loads(travelled).images, stored.images)
