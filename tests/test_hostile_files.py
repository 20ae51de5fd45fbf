"""Commands on files as people have them: doubtful headers, damaged series, links, and names of any bytes."""

import contextlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from helpers.checkpoints import save_checkpoint
from helpers.commands import failed_command, run_command
from helpers.dicom_series import set_raw, write_series
from helpers.volumes import AFFINES, anatomy, write_case

from lits_seg import prepare
from lits_seg.cli import explain
from lits_seg.common.files import sha256, write_text

HU, LABELS = anatomy(0)
BROKEN: dict[str, Callable[[Any], object]] = {
    "comma": lambda dataset: set_raw(dataset, "PixelSpacing", b"1,2\\1,5 "),
    "no intercept": lambda dataset: set_raw(dataset, "RescaleIntercept", b""),
    "one spacing": lambda dataset: set_raw(dataset, "PixelSpacing", b"1.2 "),
    "parallel": lambda dataset: set_raw(dataset, "ImageOrientationPatient", b"1\\0\\0\\1\\0\\0 "),
    "five": lambda dataset: set_raw(dataset, "ImageOrientationPatient", b"1\\0\\0\\0\\1 "),
    "pixels": lambda dataset: set_raw(dataset, "PixelData", bytes(10)),
}


def save_doubtful(path: Path, array: np.ndarray) -> None:
    image = nib.Nifti1Image(array, AFFINES["LPS"])
    image.set_qform(AFFINES["RAS"], 1)
    nib.save(image, path)


@pytest.mark.hostile
def test_two_orientations_in_a_header_are_warnings_of_prepare_and_predict(tmp_path: Path) -> None:
    write_case(tmp_path / "LiTS", "0", *anatomy(0))
    save_doubtful(tmp_path / "LiTS" / "volume-0.nii.gz", HU)
    save_doubtful(tmp_path / "LiTS" / "segmentation-0.nii.gz", LABELS)
    save_checkpoint(tmp_path / "net.ckpt")
    told = "sform says LPS 1.5×1.5×3 mm at 0, 0, 0, qform says RAS 1.5×1.5×3 mm at 0, 0, 0; the sform is used"
    names = [f"LiTS/{kind}-0.nii.gz: {told}" for kind in ("volume", "segmentation")]
    printed = run_command("prepare", "data=lits", "data.root=LiTS", "data.preprocess.size=32", cwd=tmp_path)
    assert json.loads((tmp_path / "data/check/check.json").read_text())["cases"][0]["warnings"] == names
    page = (tmp_path / "data/check/check.html").read_text()
    assert all(f"warning: {name}" in printed and name in page for name in names)
    arguments = ("ckpt=net.ckpt", "input=LiTS", "output=out", "liver=LiTS/segmentation-0.nii.gz")
    printed = run_command("predict", *arguments, cwd=tmp_path)
    warnings = json.loads((tmp_path / "out/segmentation-0.json").read_text())["warnings"]
    tiny = ("10 slices, together 30 mm high", "median cross-section of the body")  # of these volumes, see scope
    assert [text for text in warnings if not any(f"volume-0.nii.gz: {part}" in text for part in tiny)] == names
    assert all(f"warning: {name}" in printed for name in names)
    assert "qform says RAS" in (tmp_path / "out/segmentation-0.html").read_text()


@pytest.mark.hostile
def test_damaged_series_and_odd_names_do_not_keep_the_other_cts_from_being_done(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "net.ckpt")
    cts = tmp_path / "cts"
    for name, change in BROKEN.items():
        write_series(cts / "P1" / name, HU[:, :, :3], lambda i, dataset, change=change: i == 1 and change(dataset))
    write_series(cts / "P2" / "study" / "sound", HU)
    sound = [b"\xff\xfe", b"new\nline", b"<!--<script>", b"#&'\"~", b"-dash", b"n" * 250]
    for name in sound:
        nib.save(nib.Nifti1Image(HU, AFFINES["LPS"]), tmp_path / "ct.nii")
        os.rename(tmp_path / "ct.nii", os.fsencode(cts) + b"/" + name + b".nii")
    (cts / "gone.nii").symlink_to("/nowhere")
    os.mkfifo(cts / "pipe.nii.gz")
    told = failed_command("predict", "ckpt=net.ckpt", "input=cts", "output=out", cwd=tmp_path)
    unusable = len(BROKEN) + 2
    assert f"cts: expected {unusable + 1 + len(sound)} usable CTs; found {unusable} unusable:" in told
    assert all(f"cts/P1/{name}/IM" in told for name in BROKEN)
    assert "gone.nii: " in told
    assert "pipe.nii.gz: " in told
    masks = os.listdir(os.fsencode(tmp_path / "out"))
    assert all(name + b".nii.gz" in masks for name in (*sound[:-1], b"P2_study_sound"))
    assert sum(name.endswith(b".nii.gz") for name in masks) == len(sound) + 1


@pytest.mark.hostile
def test_names_of_any_bytes_are_printed_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, array in zip(("imagesTr", "labelsTr"), (HU, LABELS), strict=True):
        (tmp_path / "msd" / kind).mkdir(parents=True)
        nib.save(nib.Nifti1Image(array, AFFINES["LPS"]), tmp_path / "ct.nii")
        os.rename(tmp_path / "ct.nii", os.fsencode(tmp_path / "msd" / kind) + b"/\xffA.nii")
    out = io.TextIOWrapper(io.BytesIO(), "utf-8")  # as strict as a terminal
    monkeypatch.setattr("sys.argv", ["prepare", "data=lits", "data.root=msd", "data.preprocess.size=32"])
    monkeypatch.chdir(tmp_path)
    with contextlib.redirect_stdout(out):
        prepare.main()
    out.flush()
    assert b"\\udcffA" in out.buffer.getvalue()
    assert "\\udcffA" in (tmp_path / "data/check/check.html").read_text()


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("use", "told"),
    [
        (Path.read_text, "a readable file"),
        (Path.read_bytes, "a readable file"),
        (sha256, "a readable file"),
        (lambda path: path.open("rb"), "a readable file"),
        (lambda path: path.open("ab"), "a place to write to"),
        (lambda path: path.write_text("x"), "a place to write to"),
        (lambda path: write_text(path, "x"), "a place to write to"),
    ],
)
def test_an_error_says_whether_reading_or_writing_failed(
    use: Callable[[Path], object], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(file))

    def message(path: Path) -> str:
        with pytest.raises(OSError, match=path.name) as error:
            use(path)
        return str(explain(error.value))

    (tmp_path / "file").touch()
    assert message(tmp_path / "file" / "below").startswith(str(tmp_path / "file"))
    assert message(tmp_path / "file" / "below").endswith(f": expected {told}; found: Not a directory")
    monkeypatch.setattr("io.open", refuse)
    assert message(tmp_path / "file").startswith(str(tmp_path))
    assert message(tmp_path / "file").endswith(f": expected {told}; found: Permission denied")
