import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from helpers.commands import failed_command, run_process

from lits_seg.common.errors import InputError
from lits_seg.data.grid import to_slices
from lits_seg.data.layouts import PHANTOM, find_cases, is_phantom
from lits_seg.data.volumes import read_case
from lits_seg.phantom.write import generate_volume, write_phantom

TINY = {"size": 64, "slices": 12}


@pytest.fixture(scope="module")
def volumes() -> list:
    return [generate_volume(0, case=case, **TINY) for case in range(40)]


def content(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.iterdir()}


def test_files_follow_from_the_seed_to_the_byte(tmp_path: Path) -> None:
    write_phantom(tmp_path / "a", cases=3, workers=1, **TINY)
    write_phantom(tmp_path / "b", cases=2, workers=2, **TINY)
    write_phantom(tmp_path / "c", cases=2, seed=1, workers=1, **TINY)
    a, b, c = (content(tmp_path / name) for name in "abc")
    assert {name: a[name] for name in b} == b
    assert a["volume-0.nii.gz"] != c["volume-0.nii.gz"]
    assert set(a) - set(b) == {"volume-2.nii.gz", "segmentation-2.nii.gz"}
    assert [name for name in a if name.startswith(".")] == [".lock"]


def test_processes_that_begin_together_write_each_case_once(tmp_path: Path) -> None:
    def write(_: int) -> dict[str, int]:
        """Return the time of each file as this call leaves them; a file that is written again has another."""
        write_phantom(tmp_path, cases=2, workers=1, **TINY)
        return {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.nii.gz")}

    with ThreadPoolExecutor(3) as pool:
        seen = list(pool.map(write, range(3)))
    assert len(seen[0]) == 4
    assert seen[0] == seen[1] == seen[2]


def test_what_is_there_stays_and_what_is_missing_comes_back(tmp_path: Path) -> None:
    write_phantom(tmp_path, cases=3, workers=1, **TINY)
    before = content(tmp_path)
    (tmp_path / "segmentation-1.nii.gz").unlink()
    kept = (tmp_path / "volume-0.nii.gz").stat().st_mtime_ns
    write_phantom(tmp_path, cases=3, workers=1, **TINY)
    assert content(tmp_path) == before
    assert (tmp_path / "volume-0.nii.gz").stat().st_mtime_ns == kept


def test_other_settings_are_not_mixed_in(tmp_path: Path) -> None:
    assert not is_phantom(tmp_path)
    write_phantom(tmp_path, cases=1, workers=1, **TINY)
    assert is_phantom(tmp_path)
    assert json.loads((tmp_path / PHANTOM).read_text())["size"] == 64
    with pytest.raises(InputError, match=r"phantom\.json: expected .*'seed': 5.*found .*'seed': 0"):
        write_phantom(tmp_path, cases=1, seed=5, workers=1, **TINY)


def test_files_are_a_data_set(tmp_path: Path) -> None:
    write_phantom(tmp_path, cases=4, workers=1, **TINY)
    for case in find_cases(tmp_path):
        image, label = read_case(case)
        assert image.slices.dtype == np.int16
        assert (label.slices > 0).any()


def test_labels_and_hu(volumes: list) -> None:
    for volume in volumes:
        assert volume.hu.shape == volume.labels.shape
        assert sorted(volume.hu.shape) == [12, 64, 64]
        assert set(np.unique(volume.labels)) <= {0, 1, 2}
        assert -3024 <= volume.hu.min() < -900
        assert 200 < volume.hu.max() <= 3071
        assert 0 < np.median(volume.hu[volume.labels == 1]) < 150


def test_lesions_can_be_seen(volumes: list) -> None:
    contrasts = [
        np.median(volume.hu[volume.labels == 1]) - np.median(volume.hu[volume.labels == 2])
        for volume in volumes
        if (volume.labels == 2).sum() > 30
    ]
    assert len(contrasts) > 15
    assert np.median(contrasts) > 20
    assert np.mean(np.abs(contrasts) > 8) > 0.9


def test_statistics_follow_the_published_ones(volumes: list) -> None:
    millilitres = [abs(np.linalg.det(volume.affine[:3, :3])) / 1000 for volume in volumes]
    known = [i for i, volume in enumerate(volumes) if not np.array_equal(volume.affine, np.eye(4))]
    liver = [(volumes[i].labels > 0).sum() * millilitres[i] for i in known]
    lesion = [(volumes[i].labels == 2).sum() * millilitres[i] for i in known]
    assert 1400 < np.median(liver) < 2300
    assert 4 < np.median(lesion) < 60
    assert 1 <= sum(volume == 0 for volume in lesion) <= 10
    assert len(known) < len(volumes)


def test_the_anatomy_lies_as_the_affine_tells(volumes: list) -> None:
    right, higher_than_air = 0, 0
    for volume in volumes:
        if np.array_equal(volume.affine, np.eye(4)):
            continue
        slices, labels = to_slices(volume.hu, volume.affine), to_slices(volume.labels, volume.affine)
        bone = np.argwhere(slices[:, 40:] > 150)  # the spine is behind
        liver = np.argwhere(labels > 0)
        right += liver[:, 2].mean() < np.argwhere(slices > -300)[:, 2].mean()
        assert len(bone) > 10
        lower, upper = slices[:3], slices[-3:]
        higher_than_air += (upper < -500).sum() > (lower < -500).sum()
    total = sum(not np.array_equal(volume.affine, np.eye(4)) for volume in volumes)
    assert right > 0.9 * total  # a crop around the liver has little to its left
    assert higher_than_air > 0.8 * total


def test_affines_are_of_several_kinds() -> None:
    affines = [generate_volume(0, case=case, size=16, slices=4).affine for case in range(40)]
    assert {"RAS", "LPS"} < {"".join(nib.aff2axcodes(affine)) for affine in affines}
    assert any((np.abs(affine[:3, :3]) > 1e-3).sum() > 3 for affine in affines)  # oblique


def test_command(tmp_path: Path) -> None:
    root = tmp_path / "made"
    run_process("phantom", str(root), "--cases", "2", "--size", "32", "--slices", "6", cwd=tmp_path)
    assert len(find_cases(root)) == 2
    told = failed_command("phantom.__main__", str(root), "--seed", "1", cwd=tmp_path)
    assert "phantom.json: expected a phantom with" in told


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("--cases=-1", "--cases: expected a whole number, at least 1; found -1"),
        ("--cases=0", "--cases: expected a whole number, at least 1; found 0"),
        ("--size=3", "--size: expected a whole number, at least 16; found 3"),
        ("--slices=1", "--slices: expected a whole number, at least 4; found 1"),
        ("--workers=0", "--workers: expected a whole number, at least 1, or null; found 0"),
    ],
)
def test_a_wrong_number_is_one_message_and_writes_nothing(argument: str, told: str, tmp_path: Path) -> None:
    assert failed_command("phantom.__main__", "made", argument, cwd=tmp_path) == f"error: {told}"
    assert not list(tmp_path.iterdir())
