import gzip
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

import nibabel as nib
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


@pytest.mark.hostile
def test_labels_outside_0_to_2_end_every_command(volumes: Path) -> None:
    sound = shutil.copytree(volumes, volumes.parent / "sound")
    values = [3, -1, 0.5, 255, np.nan, 1e30]
    for number, value in enumerate(values):
        hu, labels = anatomy(number)
        write_case(volumes, str(number), hu, np.where(labels == 2, float(value), labels))
    arguments = ("data=lits", *settings(volumes), "trainer=cpu", "data.workers=0", "name=a", *SMOKE[3:])
    messages = {
        "train": failed_command("train", *arguments, cwd=volumes.parent),
        "evaluate": failed_command("evaluate", f"predictions={sound}", f"references={volumes}", cwd=volumes.parent),
    }
    failed_command("prepare", *settings(volumes), cwd=volumes.parent)
    messages["prepare"] = "\n".join(report(volumes)["errors"])
    told = [
        rf"segmentation-{number}\.nii\.gz: expected only labels 0 .*; found values .*{re.escape(f'{value:g}')}"
        for number, value in enumerate(values)
    ]
    assert any(re.search(message, messages["train"]) for message in told)
    for command in ("prepare", "evaluate"):
        assert all(re.search(message, messages[command]) for message in told)
    assert not (volumes.parent / "runs" / "a" / "result.json").exists()


def damage(volumes: Path) -> dict[str, str]:
    """Damage most patients of a data set, each in another way; the expected messages by the name of the file."""
    hu, labels = anatomy(20)

    def case(name: str, hu: np.ndarray = hu, labels: np.ndarray = labels) -> None:
        write_case(volumes, name, hu + np.array(int(name) % 3, hu.dtype), labels)

    (volumes / "segmentation-0.nii.gz").unlink()
    (volumes / "volume-1.nii.gz").unlink()
    case("10", labels=labels[:, :, :5])
    case("11", hu=np.where(hu > 50, np.nan, hu).astype(np.float32))
    case("12", hu=hu[:, :, :0], labels=labels[:, :, :0])
    case("13", hu=np.stack([hu, hu], axis=3))
    case("14", hu=hu[..., 0], labels=labels[..., 0])
    case("15", hu=hu.astype(np.complex64))
    for number in range(16, 24):
        case(str(number))
    (volumes / "volume-16.nii.gz").write_bytes(b"")
    whole = (volumes / "volume-17.nii.gz").read_bytes()
    (volumes / "volume-17.nii.gz").write_bytes(whole[: len(whole) // 2])
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    (volumes / "volume-18.nii.gz").write_bytes(flipped)
    (volumes / "volume-19.nii.gz").write_bytes(gzip.compress(gzip.decompress(whole)[:500]))
    (volumes / "volume-20.nii.gz").unlink()
    (volumes / "volume-20.nii.gz").symlink_to("nowhere")
    (volumes / "volume-21.nii.gz").unlink()
    (volumes / "volume-21").mkdir()
    (volumes / "volume-22.nii.gz").unlink()
    os.mkfifo(volumes / "volume-22.nii.gz")
    header = bytearray(gzip.decompress(whole))
    header[280:296] = header[296:312]  # parallel axes
    (volumes / "volume-23.nii.gz").write_bytes(gzip.compress(bytes(header)))
    return {
        "volume-0": "a segmentation",
        "segmentation-1": "a volume",
        "segmentation-10": "the shape of volume-10",
        "volume-11": "finite HU",
        **{f"volume-{number}": "" for number in range(12, 24)},
    }


@pytest.mark.hostile
def test_every_kind_of_damage_is_told_for_its_case_and_the_others_are_prepared(volumes: Path) -> None:
    expected = damage(volumes)
    assert f"{len(expected)} unusable" in failed_command("prepare", *settings(volumes), cwd=volumes.parent)
    found = report(volumes)
    assert [case["case"] for case in found["cases"]] == ["2", "3", "4", "5", "6", "7"]
    for name, told in expected.items():
        assert sum(bool(re.search(rf"/{name}(\.nii\.gz)?: expected .*{told}", error)) for error in found["errors"]) == 1
    page = (volumes.parent / "data" / "check" / "check.html").read_text()
    assert page.count('<img src="data:image/png;base64,') == 6
    assert page.rstrip().endswith("</html>")


@pytest.mark.hostile
def test_unusual_cases_are_prepared_with_warnings(volumes: Path) -> None:
    hu, labels = anatomy(20)
    write_case(volumes, "10", hu, labels * 0)
    write_case(volumes, "11", hu * 0 - 1000, labels)
    write_case(volumes, "12", anatomy(21)[0][:, :, 5:6], anatomy(21)[1][:, :, 5:6])
    write_case(volumes, "13", anatomy(22)[0][:1, :1, :1], labels[:1, :1, :1])
    write_case(volumes, "14", anatomy(23)[0], labels * 0 + 2)
    printed = run_command("prepare", *settings(volumes), cwd=volumes.parent)
    assert len(report(volumes)["cases"]) == 13
    for told in ("segmentation-10.nii.gz: no liver", "volume-11.nii.gz: every voxel is -1000 HU"):
        assert told in printed


@pytest.mark.hostile
def test_names_with_strange_characters_do_not_break_the_report(lits: Path, tmp_path: Path) -> None:
    names = ["<script>alert(1)<!--", "a\nb", "ü患者", "'; --", "%s{0}{{x}}", "x" * 240, "$\\foo$", "caf\udce9"]
    for number, name in enumerate(names):
        for kind, folder in (("volume", "imagesTr"), ("segmentation", "labelsTr")):
            (tmp_path / "volumes" / folder).mkdir(parents=True, exist_ok=True)
            shutil.copy(lits / f"{kind}-{number}.nii.gz", tmp_path / "volumes" / folder / f"{name}.nii.gz")
    (tmp_path / "volumes" / "labelsTr" / f"{names[0]}.nii.gz").write_bytes(b"damaged")
    assert "1 unusable" in failed_command("prepare", *settings(tmp_path / "volumes"), cwd=tmp_path)
    assert sorted(case["case"] for case in report(tmp_path / "volumes")["cases"]) == sorted(names[1:])
    page = (tmp_path / "data" / "check" / "check.html").read_text()
    assert "<script" not in page
    assert "<!--" not in page.replace("&lt;!--", "")
    assert page.count('<img src="data:image/png;base64,') == 7


@pytest.mark.hostile
def test_a_report_without_any_usable_case_names_every_error(volumes: Path) -> None:
    for file in volumes.glob("volume-*"):
        file.write_bytes(b"x")
    failed_command("prepare", *settings(volumes), "prepare.on_error=skip", cwd=volumes.parent)
    assert (report(volumes)["cases"], len(report(volumes)["errors"])) == ([], 8)
    arguments = ("data=lits", *settings(volumes), "data.on_error=skip", "trainer=cpu", *SMOKE[3:])
    told = failed_command("train", *arguments, cwd=volumes.parent)
    assert told == f"error: {volumes}: expected a usable case; found 8 unusable"


def test_further_data_sets_are_reported_too(volumes: Path) -> None:
    healthy = volumes.parent / "healthy"
    write_case(healthy, "1", *anatomy(100, lesion=False))
    mixed = ("data=mix", *settings(volumes), f"data.sources.phantom.root={healthy}")
    printed = run_command("prepare", *mixed, cwd=volumes.parent)
    assert f"9 cases in {volumes}, {healthy}, " in printed
    assert [row["case"] for row in report(volumes)["cases"]][-1] == "phantom-1"
    write_case(healthy, "2", *anatomy(101))
    told = failed_command("prepare", *mixed, "data.sources.phantom.lesions=absent", cwd=volumes.parent)
    assert (
        f"{healthy}: expected labels without lesions (data.sources.phantom.lesions=absent); found lesions of 2" in told
    )
    for path in healthy.glob("volume-*"):
        path.write_bytes(b"no volume")
    told = failed_command("prepare", *mixed, "prepare.on_error=skip", cwd=volumes.parent)
    assert told.endswith(f"{healthy}: expected a usable case; found 2 unusable")
    swapped = ("data=mix", *settings(healthy), f"data.sources.phantom.root={volumes}", "prepare.on_error=skip")
    told = failed_command("prepare", *swapped, cwd=volumes.parent)
    assert told.endswith(f"{healthy}: expected a usable case; found 2 unusable")


def test_unusable_test_volumes_are_no_success(volumes: Path) -> None:
    tested = volumes.parent / "tested"
    write_case(tested, "1", *anatomy(100))
    for path in tested.glob("volume-*"):
        path.write_bytes(b"no volume")
    arguments = (*settings(volumes), f"data.test_root={tested}", "prepare.on_error=skip")
    told = failed_command("prepare", *arguments, cwd=volumes.parent)
    assert told.endswith(f"{tested}: expected a usable case; found 1 unusable")


@pytest.mark.hostile
def test_a_ct_twice_is_refused_unless_allowed(volumes: Path) -> None:
    for kind in ("volume", "segmentation"):
        image = nib.load(volumes / f"{kind}-3.nii.gz")
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj, np.float32), image.affine), volumes / f"{kind}-28.nii")
    told = failed_command("prepare", *settings(volumes), cwd=volumes.parent)
    assert "1 pair with the same CT (see above; data.allow_overlap=true accepts them)" in told
    assert report(volumes)["overlap"] == ["3 and 28"]
    printed = run_command("prepare", *settings(volumes), "data.allow_overlap=true", cwd=volumes.parent)
    assert f"warning: {volumes}: the same CT twice: 3 and 28" in printed
    assert len(report(volumes)["cases"]) == 9
    other = volumes.parent / "other"
    other.mkdir()
    for kind in ("volume", "segmentation"):
        (volumes / f"{kind}-28.nii").rename(other / f"{kind}-1.nii")
    failed_command("prepare", *settings(volumes), f"data.test_root={other}", cwd=volumes.parent)
    assert report(volumes)["overlap"] == [f"3 and 1 ({other})"]


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("data.folds=9",), "data.root: expected at least 10 patients for 9 folds; found 8"),
        (("data.test_root=volumes/sub",), "data.test_root: expected a folder apart from data.root"),
        (("data.test_root=missing",), "missing: expected a folder with CT volumes; found no such folder: /"),
    ],
    ids=str,
)
def test_training_refuses_what_cannot_be_split(change: tuple, told: str, volumes: Path) -> None:
    (volumes / "sub").mkdir()
    message = failed_command(
        "train", "data=lits", *settings(volumes), "trainer=cpu", *SMOKE[3:], *change, cwd=volumes.parent
    )
    assert message.startswith(f"error: {told}")


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
