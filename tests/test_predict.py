import json
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from helpers.checkpoints import save_checkpoint, with_model
from helpers.commands import failed_command, run_command, start_command
from helpers.dicom_series import write_series
from helpers.real_data import real_data
from helpers.volumes import AFFINES, anatomy
from nibabel.orientations import axcodes2ornt, ornt_transform

HU, LABELS = anatomy(0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint for three classes, and three CTs."""
    save_checkpoint(tmp_path / "net.ckpt", settings=with_model(out_channels=3))
    (tmp_path / "cts").mkdir()
    for number, axes in enumerate(("LPS", "flipped", "oblique")):
        nib.save(nib.Nifti1Image(anatomy(number)[0], AFFINES[axes]), tmp_path / "cts" / f"volume-{number}.nii.gz")
    return tmp_path


def predict(folder: Path, *arguments: str) -> str:
    return run_command("predict", "ckpt=net.ckpt", "output=out", "device=cpu", *arguments, cwd=folder)


def fails(folder: Path, *arguments: str) -> str:
    return failed_command("predict", "ckpt=net.ckpt", "output=out", "device=cpu", *arguments, cwd=folder)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def mask(folder: Path, name: str = "segmentation-0") -> np.ndarray:
    return np.asanyarray(nib.load(folder / "out" / f"{name}.nii.gz").dataobj)


@pytest.mark.parametrize("name", ["2.nii.gz", "volume-2.nii", "more/volume-2.nii"])
def test_two_cts_of_one_patient_are_an_error_before_any_work(name: str, folder: Path) -> None:
    (folder / "cts" / "more").mkdir()
    (folder / "cts" / name).write_bytes(b"is not read")
    told = fails(folder, "input=cts")
    assert "expected CTs of different patients, by file name; found the same patient as" in told
    assert f"cts/{name}" in told
    assert "cts/volume-2.nii.gz" in told
    assert not (folder / "out").exists()


def test_a_folder_of_cts(folder: Path) -> None:
    out = predict(folder, "input=cts", "probability=true")
    names = [f"segmentation-{number}" for number in range(3)]
    expected = [f"{name}{ending}" for name in names for ending in (".html", ".json", ".nii.gz")]
    assert files(folder / "out") == sorted([*expected, *(f"probability/{name}.nii.gz" for name in names)])
    assert "3 of 3 CTs predicted, written to: out" in out
    assert "Research use only." in out
    for number, name in enumerate(names):
        ct, found = (nib.load(folder / path) for path in (f"cts/volume-{number}.nii.gz", f"out/{name}.nii.gz"))
        assert found.shape == ct.shape
        assert found.affine.tobytes() == ct.affine.tobytes()
        assert found.get_data_dtype() == np.uint8
        lesion = nib.load(folder / f"out/probability/{name}.nii.gz").get_fdata()
        assert 0 <= lesion.min() <= lesion.max() <= 1
        assert lesion[mask(folder, name) == 2].min() > lesion[mask(folder, name) != 2].min()
        report = json.loads((folder / f"out/{name}.json").read_text())
        assert report["lesion_count"] == len(report["lesions"])
        voxel = abs(np.linalg.det(ct.affine)) / 1000
        assert report["lesion_ml"] == pytest.approx((mask(folder, name) == 2).sum() * voxel)
        assert report["liver_ml"] == pytest.approx((mask(folder, name) >= 1).sum() * voxel)
        assert report["tumour_burden"] == pytest.approx(report["lesion_ml"] / report["liver_ml"])
        assert len(report["model"]["checkpoints"][0]["sha256"]) == 64
        assert report["model"]["preprocess"]["window"] == [-100, 200]
        assert "Research use only" in report["research_use_only"]


def test_the_slices_may_come_in_any_batches(folder: Path) -> None:
    predict(folder, "input=cts/volume-1.nii.gz", "probability=true")
    first = mask(folder, "segmentation-1")
    predict(folder, "input=cts/volume-1.nii.gz", "page=false", "batch_size=3")  # and again into the same folder
    assert (mask(folder, "segmentation-1") != first).mean() < 0.001
    # What belonged to the first mask alone is gone.
    assert files(folder / "out") == ["segmentation-1.json", "segmentation-1.nii.gz"]


def test_what_is_not_the_network_does_without_pytorch() -> None:
    code = "import sys, lits_seg.predict; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_dicom_series_gives_a_dicom_seg_too(folder: Path) -> None:
    pytest.importorskip("highdicom")
    write_series(folder / "patient", HU)
    predict(folder, "input=patient")
    assert files(folder / "out") == [f"patient{ending}" for ending in (".dcm", ".html", ".json", ".nii.gz")]
    predict(folder, "input=cts/volume-0.nii.gz")
    # The same voxels but for the spacing, which the network does not see.
    np.testing.assert_array_equal(mask(folder, "patient"), mask(folder))


def test_measures_do_not_depend_on_the_order_of_the_axes(folder: Path) -> None:
    ct = nib.load(folder / "cts" / "volume-0.nii.gz")
    start = nib.io_orientation(ct.affine)
    (folder / "turned").mkdir()
    orders = ["".join(nib.aff2axcodes(ct.affine)), "RAS", "SAL", "ASL", "IPR"]
    for axes in orders:
        turned = ct.as_reoriented(ornt_transform(start, axcodes2ornt(axes)))
        nib.save(turned, folder / "turned" / f"volume-{axes}.nii.gz")
    predict(folder, "input=turned", "page=false")
    reports = [json.loads((folder / "out" / f"segmentation-{axes}.json").read_text()) for axes in orders]
    first, *others = ([(one["volume_ml"], one["diameter_mm"]) for one in report["lesions"]] for report in reports)
    assert first
    for other in others:
        np.testing.assert_allclose(other, first)


def test_several_networks_and_views(folder: Path) -> None:
    save_checkpoint(folder / "b.ckpt", 1, with_model(out_channels=3))
    predict(folder, "input=cts/volume-0.nii.gz")
    one = mask(folder)
    predict(folder, "input=cts/volume-0.nii.gz", "ckpt=[net.ckpt,b.ckpt]", "tta=all")
    assert (mask(folder) != one).any()
    report = json.loads((folder / "out/segmentation-0.json").read_text())
    assert [checkpoint["path"] for checkpoint in report["model"]["checkpoints"]] == ["net.ckpt", "b.ckpt"]
    assert report["settings"]["tta"] == "all"


def test_a_liver_mask_holds_the_lesions(folder: Path) -> None:
    liver = np.minimum(LABELS, 1)
    liver[0, 0, 0] = 1 - liver[0, 0, 0]  # a second piece, which no rule removes
    turned = nib.as_closest_canonical(nib.Nifti1Image(liver, AFFINES["LPS"]))
    nib.save(turned, folder / "liver.nii.gz")
    rules = ("rules.largest_liver=true", "rules.fill_liver=true")
    predict(folder, "input=cts/volume-0.nii.gz", "liver=liver.nii.gz", *rules)
    np.testing.assert_array_equal(mask(folder) >= 1, liver >= 1)
    nib.save(nib.Nifti1Image(LABELS, np.eye(4)), folder / "liver.nii.gz")
    assert "liver.nii.gz: expected the grid of" in fails(folder, "input=cts/volume-0.nii.gz", "liver=liver.nii.gz")
    (folder / "livers").mkdir()
    nib.save(nib.Nifti1Image(LABELS, AFFINES["LPS"]), folder / "livers" / "segmentation-0.nii")
    assert "none for segmentation-1, segmentation-2" in fails(folder, "input=cts", "liver=livers")


def test_rules_are_applied(folder: Path) -> None:
    predict(folder, "input=cts/volume-0.nii.gz", "rules.largest_lesion=true", "rules.min_lesion_ml=0.01")
    report = json.loads((folder / "out/segmentation-0.json").read_text())
    assert report["lesion_count"] == 1
    assert report["settings"]["rules"]["largest_lesion"] is True
    assert "rules.min_lesion_ml: expected" in fails(folder, "input=cts", "rules.min_lesion_ml=-1")
    save_checkpoint(folder / "lesions.ckpt")  # two classes
    shown = fails(folder, "input=cts", "rules.lesions_within_liver_mm=10", "ckpt=lesions.ckpt")
    assert "rules.lesions_within_liver_mm: expected a network that finds the liver, or liver masks" in shown


def test_one_bad_file_does_not_stop_the_others(folder: Path) -> None:
    bad = folder / "cts" / "volume-1.nii.gz"
    bad.write_bytes(bad.read_bytes()[:2000])
    told = fails(folder, "input=cts")
    assert "cts: expected 3 usable CTs; found 1 unusable:" in told
    assert "cts/volume-1.nii.gz: expected a readable NIfTI volume" in told
    assert {name.split(".")[0] for name in files(folder / "out")} == {"segmentation-0", "segmentation-2"}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (
            np.clip(2 * HU + 100, 0, 255),
            "expected a CT in HU (air is near -1000); found values from 0 to 255, as in an 8-bit image",
        ),
        (np.where(HU > 100, np.nan, HU).astype(np.float32), "expected finite HU values"),
        (np.stack([HU, HU], axis=3), "expected a 3-D volume"),
    ],
    ids=["8-bit picture", "nan", "4-D"],
)
def test_what_is_no_ct_leaves_nothing_behind(values: np.ndarray, told: str, folder: Path) -> None:
    nib.save(nib.Nifti1Image(values, AFFINES["LPS"]), folder / "picture.nii.gz")
    assert fails(folder, "input=picture.nii.gz").startswith(f"error: picture.nii.gz: {told}")
    assert files(folder / "out") == []


def test_masks_of_others_are_never_overwritten(folder: Path) -> None:
    (folder / "cts" / "segmentation-0.nii.gz").write_bytes(b"by hand")
    told = fails(folder, "input=cts/volume-0.nii.gz", "output=cts")
    assert "cts/segmentation-0.nii.gz: expected an unused name for the mask" in told
    assert (folder / "cts" / "segmentation-0.nii.gz").read_bytes() == b"by hand"
    nib.save(nib.Nifti1Image(HU, AFFINES["LPS"]), folder / "cts" / "ct.nii.gz")
    assert "ct.nii.gz: expected an unused name" in fails(folder, "input=cts/ct.nii.gz", "output=cts")


class Payload:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("ran"),))


def test_a_checkpoint_that_is_not_ours_is_never_unpickled(folder: Path) -> None:
    (folder / "net.ckpt").write_bytes(pickle.dumps(Payload()))
    assert "net.ckpt: expected a checkpoint of lits_seg" in fails(folder, "input=cts")
    assert not (folder / "ran").exists()
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("input=nowhere", "nowhere: expected a CT"),
        ("batch_size=0", "batch_size: expected a whole number, at least 1; found 0"),
        ("batch_size=many", "batch_size: expected a whole number, at least 1; found many"),
        ("rules.largest_liver=yes", "rules.largest_liver: expected true or false, or null; found yes"),
        ("rules.largest_lesion=1", "rules.largest_lesion: expected true or false, or null; found 1"),
        ("rules.min_lesion_ml=much", "rules.min_lesion_ml: expected a number"),
        ("page=maybe", "page: expected true or false; found maybe"),
        ("probability=1", "probability: expected true or false; found 1"),
        ("ckpt=[]", "ckpt: expected a checkpoint, or several different ones; found none"),
        ("ckpt=[net.ckpt,net.ckpt]", "several different ones; found net.ckpt, net.ckpt"),
        ("input=[a.nii,b.nii]", "input: expected one file or folder; found"),
        ("input=a b(1)", "a b(1): expected a CT"),
        ("ckpt=cts", "cts: expected a checkpoint; found a folder"),
        ("pages=true", "pages: expected one of ckpt, liver_ckpt, model, input, output"),
        ("tta=some", "tta: expected one of none, flips, rotations, all"),
        ("ckpt=nowhere.ckpt", "nowhere.ckpt: expected a checkpoint"),
        ("liver=nowhere", "nowhere: expected a folder with masks"),
    ],
)
def test_bad_arguments_are_named_and_leave_nothing_behind(argument: str, told: str, folder: Path) -> None:
    arguments = [argument] if argument.startswith("input") else ["input=cts", argument]
    assert told in fails(folder, *arguments)
    assert not (folder / "out").exists()


def test_missing_spacing_is_warned_of(folder: Path) -> None:
    nib.save(nib.Nifti1Image(HU, np.diag([-1.0, -1, 1, 1])), folder / "a.nii.gz")
    nib.save(nib.Nifti1Image(HU, np.eye(4)), folder / "b.nii.gz")
    assert "warning: a.nii.gz: spacing 1×1×1 mm" in predict(folder, "input=a.nii.gz")
    assert "warning: b.nii.gz: identity affine" in predict(folder, "input=b.nii.gz")
    assert "do not use mm and mL" in json.loads((folder / "out/a.json").read_text())["warnings"][0]
    assert "identity affine" in (folder / "out/b.html").read_text()


def test_a_real_series_keeps_its_orientation(folder: Path) -> None:
    real = real_data("dicom_20slices", "dicom_20slices_liver.nii.gz")
    highdicom, pydicom = pytest.importorskip("highdicom"), pytest.importorskip("pydicom")
    liver = f"liver={real / 'dicom_20slices_liver.nii.gz'}"
    predict(folder, f"input={real / 'dicom_20slices'}", liver, "page=false")
    found = highdicom.seg.segread(folder / "out" / "dicom_20slices.dcm").get_volume(combine_segments=True)
    headers = [pydicom.dcmread(path) for path in (real / "dicom_20slices").iterdir()]
    by_height = {round(float(header.ImagePositionPatient[2]), 2): header for header in headers}
    inside = []
    for i in range(len(found.array)):
        header = by_height[round(float((found.affine @ (i, 0, 0, 1))[2]), 2)]
        hu = header.pixel_array * float(header.RescaleSlope) + float(header.RescaleIntercept)
        inside.append(hu[found.array[i] > 0])
    assert np.concatenate(inside).mean() == pytest.approx(89, abs=1)
    assert sum(map(len, inside)) == (mask(folder, "dicom_20slices") > 0).sum() == 366_708


@pytest.mark.slow  # a process; test_segmenter has the threads
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_prediction_that_is_told_to_end_ends(number: signal.Signals, folder: Path) -> None:
    for path in (folder / "cts").iterdir():
        nib.save(nib.Nifti1Image(np.tile(HU, (6, 6, 12)), AFFINES["LPS"]), path)
    process = start_command("predict", "input=cts", "output=out", cwd=folder)
    while process.poll() is None and not any((folder / "out").glob(".predict-*")):
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "Traceback" not in err
    assert not any((folder / "out").glob(".predict-*"))


@pytest.mark.kill
@pytest.mark.parametrize("seconds", [0, 0.2, 0.5, 1, 1.5, 2, 3])
def test_a_killed_prediction_leaves_whole_files_and_the_next_one_cleans_up(seconds: float, folder: Path) -> None:
    write_series(folder / "cts" / "series", np.tile(HU, (4, 4, 8)))
    arguments = ("ckpt=net.ckpt", "input=cts", "device=cpu", "probability=true")
    run_command("predict", *arguments, "output=whole", cwd=folder)

    def found(output: str) -> dict[str, bytes]:
        # A DICOM-SEG has identifiers and times of its own, and compressed files the time of their writing.
        paths = (folder / output).glob("**/*.nii.gz")
        return {str(path.relative_to(folder / output)): nib.load(path).dataobj[:].tobytes() for path in paths}

    process = start_command("predict", *arguments, "output=out", cwd=folder)
    while process.poll() is None and not any((folder / "out").glob(".predict-*")):
        time.sleep(0.01)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    shutil.rmtree(folder / "copy", ignore_errors=True)
    shutil.copytree(folder / "out", folder / "copy", ignore=shutil.ignore_patterns(".predict-*"))
    assert found("copy").items() <= found("whole").items()
    run_command("predict", *arguments, "output=out", cwd=folder)
    assert found("out") == found("whole")
    assert files(folder / "out") == files(folder / "whole")


def test_what_the_packaged_network_cannot_do_without_pytorch_names_the_checkpoint_that_can(folder: Path) -> None:
    told = failed_command("predict", "input=cts/volume-0.nii.gz", "output=none", "tta=flips", cwd=folder)
    assert told.endswith("exported models; found tta=flips (ckpt=packaged runs the same network in PyTorch)")
    assert not (folder / "none").exists()


def test_without_a_checkpoint_the_packaged_network_predicts_and_says_what_it_is(folder: Path) -> None:
    out = run_command("predict", "input=cts/volume-0.nii.gz", "output=out", "threads=1", cwd=folder)
    first = out.splitlines()[:4]
    assert [line.partition(": ")[0] for line in first] == ["network", "trained on", "measured on", "use"]
    assert "research only, not for diagnosis" in first[-1]
    report = json.loads((folder / "out/segmentation-0.json").read_text())
    assert [f"{title}: {text}" for title, text in report["model"]["card"].items()] == first
    assert report["model"]["exported"]["path"].endswith("lits_seg/packaged/network.onnx")
    page = (folder / "out/segmentation-0.html").read_text()
    assert json.dumps(report["model"]["card"]["measured on"])[1:-1] in page
    onnx = mask(folder)
    assert (onnx >= 1).any()
    shown = run_command("predict", "input=cts/volume-0.nii.gz", "output=out", "ckpt=packaged", "device=cpu", cwd=folder)
    assert shown.splitlines()[:4] == first
    assert (mask(folder) == onnx).mean() > 0.999
    assert "card" not in (
        predict(folder, "input=cts/volume-0.nii.gz") and (folder / "out/segmentation-0.json").read_text()
    )
