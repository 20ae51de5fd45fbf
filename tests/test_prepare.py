import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.commands import SMOKE, failed_command, run_command
from helpers.real_data import real_data
from helpers.volumes import anatomy, write_case

from lits_seg.common.errors import InputError
from lits_seg.data.layouts import find_cases
from lits_seg.data.preprocess import Preprocess
from lits_seg.data.store import store_cases


@pytest.fixture
def volumes(lits: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(lits, tmp_path / "volumes"))


def settings(root: Path) -> tuple[str, ...]:
    return (f"data.root={root}", "data.preprocess.size=32", f"store={root.parent / 'store'}")


def report(root: Path) -> dict:
    return json.loads((root.parent / "data" / "check" / "check.json").read_text())


def test_a_sound_data_set_is_told_as_table_json_and_page(volumes: Path) -> None:
    printed = run_command("prepare", *settings(volumes), cwd=volumes.parent)
    found = report(volumes)
    assert [case["case"] for case in found["cases"]] == [str(number) for number in range(8)]
    assert found["errors"] == []
    total = found["summary"]
    assert (total["cases"], total["cases_without_lesion"], total["slices"]) == (
        8,
        2,
        110,
    )  # one of them is stored on its side
    assert sum(total["voxels"]) == 8 * 48 * 40 * 10
    case = found["cases"][0]
    labels = anatomy(0)[1]
    assert case["lesion_ml"] == pytest.approx((labels == 2).sum() * 1.5 * 1.5 * 3 / 1000)
    assert case["slices_with_lesion"] == (labels == 2).any(axis=(0, 1)).sum()
    assert "8 cases" in printed
    assert "Research use only" in printed
    page = (volumes.parent / "data" / "check" / "check.html").read_text()
    assert page.count('<img src="data:image/png;base64,') == 8
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "Research use only" in page


def test_all_errors_are_told_at_once_and_the_other_cases_prepared(volumes: Path) -> None:
    (volumes / "volume-2.nii.gz").write_bytes(b"no volume")
    hu, labels = anatomy(5)
    write_case(volumes, "5", hu, labels + 3)
    (volumes / "segmentation-7.nii.gz").unlink()
    assert "3 unusable" in failed_command("prepare", *settings(volumes), cwd=volumes.parent)
    found = report(volumes)
    assert [case["case"] for case in found["cases"]] == ["0", "1", "3", "4", "6"]
    printed = run_command("prepare", *settings(volumes), "prepare.on_error=skip", cwd=volumes.parent)
    assert "3 unusable" in printed
    for name, told in (
        ("volume-2", "a readable NIfTI"),
        ("segmentation-5", "only labels 0"),
        ("volume-7", "a segmentation"),
    ):
        assert re.search(rf"error: .*{name}\.nii\.gz: expected {told}", printed)


def test_training_leaves_out_what_it_is_asked_to(volumes: Path, caplog: pytest.LogCaptureFixture) -> None:
    (volumes / "volume-2.nii.gz").write_bytes(b"no volume")
    arguments = ("data=lits", *settings(volumes), "debug=fast", "trainer=cpu", "data.workers=0", *SMOKE[3:])
    told = failed_command("train", *arguments, "name=a", cwd=volumes.parent)
    assert "volume-2.nii.gz: expected a readable NIfTI" in told
    run_command("train", *arguments, "name=b", "data.on_error=skip", cwd=volumes.parent)
    assert "skipped: " in (volumes.parent / "runs" / "b" / "train.log").read_text()


def test_nothing_usable_is_one_error(volumes: Path) -> None:
    for file in volumes.glob("volume-*"):
        file.write_bytes(b"x")
    told = failed_command("prepare", *settings(volumes), cwd=volumes.parent)
    assert told == f"error: {volumes}: expected a usable case; found 8 unusable"


def test_a_killed_preparation_goes_on_where_it_was(volumes: Path) -> None:
    code = (
        "import sys, time; from lits_seg.data import store; save = store.np.save;"
        "store.np.save = lambda *a: (time.sleep(0.05), save(*a));"
        "from lits_seg.data.layouts import find_cases; from lits_seg.data.preprocess import Preprocess;"
        "store.store_cases(find_cases(sys.argv[1]), Preprocess(size=32), sys.argv[2], 2)"
    )
    store = volumes.parent / "store"
    process = subprocess.Popen([sys.executable, "-c", code, str(volumes), str(store)], stderr=subprocess.DEVNULL)
    while len(list(store.glob("*/[0-9]*"))) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = {path: path.stat().st_mtime_ns for path in store.glob("*/[0-9]*/*")}
    assert 3 * 4 <= len(finished) < 8 * 4
    stored = store_cases(find_cases(volumes), Preprocess(size=32), store)
    whole = store_cases(find_cases(volumes), Preprocess(size=32), volumes.parent / "another")
    for one, other in zip(stored, whole, strict=True):
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.labels, other.labels)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


def test_leftovers_of_a_killed_process_are_removed_when_they_are_old(volumes: Path) -> None:
    store = volumes.parent / "store"
    root = store_cases(find_cases(volumes)[:1], Preprocess(size=32), store)[0].folder.parent
    old, young = root / ".1-0000-a", root / ".1-0000-b"
    old.mkdir(), young.mkdir()
    os.utime(old, (1, 1))
    store_cases(find_cases(volumes), Preprocess(size=32), store)
    assert not old.exists()
    assert young.exists()


def test_a_full_disk_is_told_and_the_store_stays_valid(volumes: Path) -> None:
    store = volumes.parent / "store"
    store_cases(find_cases(volumes)[:2], Preprocess(size=32), store)
    # A limit on the size of files stands for the disk's end: the same error from the same call.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(InputError, match=r"store.*: expected space for .* MB of case 2"):
            store_cases(find_cases(volumes), Preprocess(size=32), store, workers=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(path.name[0] for path in store.glob("*/*") if path.is_dir()) == ["0", "1"]
    assert len(store_cases(find_cases(volumes), Preprocess(size=32), store)) == 8


def test_wrong_choices_are_named(volumes: Path) -> None:
    told = failed_command("prepare", *settings(volumes), "prepare.on_error=ask", cwd=volumes.parent)
    assert told == "error: prepare.on_error: expected stop or skip; found ask"


@pytest.mark.slow
def test_real_ct_from_files_to_training_steps(tmp_path: Path) -> None:
    """A NIfTI pair, a DICOM series with its labels, and the LiTS crop of ``make real-data``."""
    crop = Path(__file__).parents[1] / "data" / "real"
    real = real_data("volume-0.nii.gz", "segmentation-0.nii.gz", "dicom_20slices", "dicom_20slices_liver.nii.gz")
    if not crop.exists():
        pytest.skip("the LiTS crop is missing (make real-data)")
    volumes = Path(shutil.copytree(crop, tmp_path / "volumes"))
    for name in ("volume-0", "segmentation-0"):
        shutil.copy(real / f"{name}.nii.gz", volumes)
    shutil.copytree(real / "dicom_20slices", volumes / "volume-1")
    shutil.copy(real / "dicom_20slices_liver.nii.gz", volumes / "segmentation-1.nii.gz")
    run_command("prepare", *settings(volumes), cwd=tmp_path)
    cases = {case["case"]: case for case in report(volumes)["cases"]}
    assert cases["0"]["liver_hu"] == pytest.approx(45, abs=3)
    assert cases["1"]["liver_hu"] == pytest.approx(89, abs=5)
    assert cases["1"]["voxels"][1:] == [366_708, 0]
    assert cases["117"]["voxels"][1:] == [485_268, 130_083]
    assert [len(cases[name]["warnings"]) for name in ("0", "1", "117")] == [0, 0, 1]
    arguments = ("data=lits", *settings(volumes), "data.folds=3", "data.val_share=0", "data.workers=0", "trainer=cpu")
    run_command("train", *arguments, *SMOKE[3:], "trainer.max_steps=3", "name=real", cwd=tmp_path)
    result = json.loads((tmp_path / "runs" / "real" / "result.json").read_text())
    assert result["steps"] == 3
    assert not result["synthetic"]
