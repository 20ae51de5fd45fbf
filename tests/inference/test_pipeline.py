"""predict on folders with foreign files, damaged CTs, odd names and odd headers: nothing is lost, all else is done."""

import json
import os
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest import mock

import nibabel as nib
import numpy as np
import pytest
from helpers.checkpoints import save_checkpoint, with_model
from helpers.commands import failed_command, run_command
from helpers.dicom_series import write_series
from helpers.volumes import AFFINES, anatomy

from lits_seg.inference import pipeline

pytestmark = pytest.mark.hostile

HU, LABELS = anatomy(0, shape=(32, 32, 6))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("net") / "net.ckpt"
    save_checkpoint(path, settings=with_model(out_channels=3))
    return path


@pytest.fixture
def predict(tmp_path: Path, checkpoint: Path) -> Callable[..., str]:
    return lambda *arguments: run_command("predict", f"ckpt={checkpoint}", "device=cpu", *arguments, cwd=tmp_path)


@pytest.fixture
def fails(tmp_path: Path, checkpoint: Path) -> Callable[..., str]:
    return lambda *arguments: failed_command("predict", f"ckpt={checkpoint}", "device=cpu", *arguments, cwd=tmp_path)


def write_ct(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(HU, AFFINES["LPS"]), path)
    return path


def write_labels(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(LABELS, AFFINES["LPS"]), path)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_ct_with_a_side_car_is_never_replaced(tmp_path: Path, fails: Callable[..., str]) -> None:
    write_ct(tmp_path / "bids" / "ct.nii.gz")
    (tmp_path / "bids" / "ct.json").write_text('{"Modality": "CT"}')
    (tmp_path / "link").symlink_to("bids")
    before = contents(tmp_path)
    for place in ("bids", "link", "bids/../bids"):
        assert "ct.nii.gz: expected an unused name" in fails("input=bids", f"output={place}")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("file", ["ct.json", "ct.html", "ct.nii", "ct.nii.gz", "probability/ct.nii.gz", "ct.dcm"])
def test_files_of_others_stay_and_the_other_cts_are_done(
    file: str, tmp_path: Path, predict: Callable[..., str], fails: Callable[..., str]
) -> None:
    write_ct(tmp_path / "cts" / "other.nii")
    if file == "ct.dcm":
        pytest.importorskip("highdicom")
        write_series(tmp_path / "cts" / "ct", HU)
    else:
        write_ct(tmp_path / "cts" / "ct.nii")
    foreign = tmp_path / "out" / file
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"by hand")
    failed = fails("input=cts", "output=out", "probability=true")
    assert "cts: expected 2 usable CTs; found 1 unusable:" in failed
    assert f"out/{file}: expected an unused name" in failed
    assert foreign.read_bytes() == b"by hand"
    assert [path.name for path in foreign.parent.glob("ct*")] == [Path(file).name]
    assert (tmp_path / "out" / "other.nii.gz").exists()
    if file in ("ct.html", "probability/ct.nii.gz", "ct.dcm"):  # not written, so not replaced, and not deleted
        predict("input=cts", "output=out", "page=false", "seg=false")
        assert foreign.read_bytes() == b"by hand"


def test_a_mask_corrected_by_hand_stays(tmp_path: Path, predict: Callable[..., str], fails: Callable[..., str]) -> None:
    write_ct(tmp_path / "ct.nii")
    predict("input=ct.nii", "output=out")
    path = tmp_path / "out" / "ct.nii.gz"
    image = nib.load(path)
    voxels = np.asanyarray(image.dataobj).copy()
    voxels[:4, :4] = 2
    nib.save(nib.Nifti1Image(voxels, image.affine, image.header), path)
    assert "ct.nii.gz: expected an unused name for the mask" in fails("input=ct.nii", "output=out")
    np.testing.assert_array_equal(np.asanyarray(nib.load(path).dataobj), voxels)


def test_the_labels_of_a_data_set_keep_their_names(
    tmp_path: Path, predict: Callable[..., str], fails: Callable[..., str]
) -> None:
    write_ct(tmp_path / "lits" / "volume-0.nii")
    write_labels(tmp_path / "lits" / "segmentation-0.nii")
    before = contents(tmp_path)
    failed = fails("input=lits", "output=lits")
    assert "segmentation-0.nii: expected an unused name for the mask" in failed
    assert contents(tmp_path) == before
    # Within the data set, but in a folder of their own, the masks disturb neither labels nor CTs.
    for _ in range(2):
        assert "1 of 1 CTs" in predict("input=lits", "output=lits/out", "probability=true")
    for output in ("scores", "scores", "lits/out"):
        run_command("evaluate", "predictions=lits/out", "references=lits", f"output={output}", cwd=tmp_path)
    assert "1 cases" in run_command("prepare", "data=lits", "data.root=lits", "data.store=store", cwd=tmp_path)
    assert {name: contents(tmp_path)[name] for name in before} == before


def test_liver_masks_are_inputs(tmp_path: Path, predict: Callable[..., str], fails: Callable[..., str]) -> None:
    for name in "ab":
        write_ct(tmp_path / "cts" / f"{name}.nii")
    predict("input=cts", "output=out")
    before = contents(tmp_path)
    assert "out/a.nii.gz: expected an unused name for the output" in fails("input=cts", "output=out", "liver=out")
    os.link(tmp_path / "out" / "b.nii.gz", tmp_path / "liver.nii.gz")
    failed = fails("input=cts/b.nii", "output=out", "liver=liver.nii.gz")
    assert "out/b.nii.gz: expected an unused name for the output" in failed
    (tmp_path / "liver.nii.gz").unlink()
    assert contents(tmp_path) == before


def test_one_liver_mask_is_missing(tmp_path: Path, fails: Callable[..., str]) -> None:
    for name in "abc":
        write_ct(tmp_path / "cts" / f"{name}.nii")
    write_labels(tmp_path / "livers" / "b.nii.gz")
    failed = fails("input=cts", "output=out", "liver=livers")
    assert "cts: expected 3 usable CTs; found 2 unusable:\nlivers: expected a liver mask for each CT" in failed
    assert "none for a, c" in failed
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"b.html", "b.json", "b.nii.gz"}


def test_dicom_folders_as_outputs(tmp_path: Path, predict: Callable[..., str], fails: Callable[..., str]) -> None:
    pytest.importorskip("highdicom")
    write_series(tmp_path / "study" / "one", HU)
    before = contents(tmp_path)
    assert "study/one: expected an unused name for the output" in fails("input=study/one", "output=study/one")
    assert contents(tmp_path) == before
    for output in ("study", "study/one/out"):
        for _ in range(2):  # the DICOM-SEG of the first is no CT of the second
            assert "1 of 1 CTs predicted" in predict("input=study", f"output={output}", "page=false")


@pytest.mark.parametrize(
    "error", [RuntimeError("out of\nmemory"), OSError(28, "No space left on device"), MemoryError()]
)
def test_any_error_of_one_ct_is_named_and_the_others_are_done(
    error: Exception,
    tmp_path: Path,
    fails: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    for name in "abc":
        write_ct(tmp_path / "cts" / f"{name}.nii")
    write = pipeline.write_nifti

    def fail(path: Path, *arguments: Any) -> None:
        if path.name == "b.nii.gz":
            raise error
        write(path, *arguments)

    monkeypatch.setattr(pipeline, "write_nifti", fail)
    failed = fails("input=cts", "output=out")
    lines = failed.splitlines()
    assert lines[0] == "error: cts: expected 3 usable CTs; found 1 unusable:"
    assert len(lines) == 2
    assert lines[1].startswith("cts/b.nii: expected an input without errors")
    assert ("No space left" if isinstance(error, OSError) else type(error).__name__) in lines[1]
    assert {path.name[0] for path in (tmp_path / "out").iterdir()} == {"a", "c"}
    monkeypatch.setenv("LITS_SEG_DEBUG", "1")
    assert "Traceback" not in capsys.readouterr().err
    fails("input=cts/b.nii", "output=other")
    assert "Traceback" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_a_full_disk_is_an_error_before_the_network_runs(
    tmp_path: Path, predict: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing to a memory map of a file without space would end the process by SIGBUS, without a message."""
    write_ct(tmp_path / "ct.nii")
    segment, reserved = pipeline.Prediction._segment, []

    def watched(self: Any, name: str, ct: Any, *maps: Any) -> Any:
        reserved.append([512 * part.path.stat().st_blocks >= HU.size for part in maps[:2]])
        return segment(self, name, ct, *maps)

    monkeypatch.setattr(pipeline.Prediction, "_segment", watched)
    predict("input=ct.nii", "output=out", "rules.threshold=0.5")
    predict("input=ct.nii", "output=out")
    assert reserved == [[True, True], [True, False]]


def broken(name: str) -> Callable[[int, Any], None]:
    """Return a change of one header value, as anonymisers and converters leave them."""

    def change(i: int, dataset: Any) -> None:
        setattr(dataset, name, None)

    return change


def test_damaged_series_do_not_stop_the_others(tmp_path: Path, fails: Callable[..., str]) -> None:
    names = ("RescaleSlope", "RescaleIntercept", "PixelSpacing", "ImageOrientationPatient", "Rows", "SeriesInstanceUID")
    for name in names:
        write_series(tmp_path / "cts" / name, HU, broken(name))
    write_ct(tmp_path / "cts" / "z.nii")
    (tmp_path / "cts" / "zeros.nii").write_bytes(b"\0" * 400)
    failed = fails("input=cts", "output=out", "page=false", "seg=false")
    assert "Traceback" not in failed
    assert (tmp_path / "out" / "z.nii.gz").exists()
    done = len(list((tmp_path / "out").glob("*.nii.gz")))
    assert f"expected 8 usable CTs; found {8 - done} unusable" in failed
    assert len(failed.splitlines()) == 1 + 8 - done


def mixed(i: int, dataset: Any) -> None:
    dataset.FrameOfReferenceUID = f"1.2.3.{i}"


def same(i: int, dataset: Any) -> None:
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"


@pytest.mark.parametrize(("change", "reason"), [(mixed, "same series"), (same, "the same in several")])
def test_without_a_dicom_seg_there_are_mask_report_and_page(
    change: Callable[[int, Any], None], reason: str, tmp_path: Path, predict: Callable[..., str]
) -> None:
    pytest.importorskip("highdicom")
    write_series(tmp_path / "ct", HU)
    predict("input=ct", "output=out")
    write_series(tmp_path / "ct", HU, change)
    out = predict("input=ct", "output=out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"ct.nii.gz", "ct.json", "ct.html"}
    (warning,) = (w for w in json.loads((tmp_path / "out" / "ct.json").read_text())["warnings"] if "ct.dcm" in w)
    assert warning.startswith("ct.dcm: no DICOM-SEG was written: ")
    assert reason in warning
    assert f"warning: {warning}" in out
    assert reason in (tmp_path / "out" / "ct.html").read_text()
    assert "ct.dcm" not in predict("input=ct", "output=out", "seg=false")


def test_without_highdicom_there_is_a_mask(tmp_path: Path, predict: Callable[..., str]) -> None:
    write_series(tmp_path / "ct", HU)
    with mock.patch.dict("sys.modules", {"highdicom": None}):
        assert "expected highdicom to write DICOM-SEG" in predict("input=ct", "output=out")
    assert (tmp_path / "out" / "ct.nii.gz").exists()


def test_without_a_page_there_is_a_mask(
    tmp_path: Path, predict: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "page", mock.Mock(side_effect=ValueError("no page today")))
    write_ct(tmp_path / "ct.nii")
    assert "warning: ct.html: no viewer page was written: ValueError: no page today" in predict("input=ct.nii")
    assert {path.name for path in (tmp_path / "predictions").iterdir()} == {"ct.nii.gz", "ct.json"}


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)


NAMES = (
    "ct",
    "<!--<script>",
    "'\"&`${1}{{2}}",
    "two\nlines",
    "sep\u2028\u2029",
    "患者 Müller",
    "caf\udce9",
    "%s",
    "--x=1",
)


def test_every_name_is_predicted_and_shown(tmp_path: Path, predict: Callable[..., str]) -> None:
    for name in NAMES:
        os.rename(write_ct(tmp_path / "cts" / "ct.nii"), tmp_path / "cts" / f"{name}.nii.tmp")
    for path in (tmp_path / "cts").iterdir():
        path.rename(path.with_suffix(""))
    predict("input=cts", "output=out")
    expected = None
    for name in NAMES:
        mask, report, page = (tmp_path / "out" / f"{name}{ending}" for ending in (".nii.gz", ".json", ".html"))
        assert mask.exists()
        assert json.loads(report.read_text())["mask"] == mask.name
        elements = Elements()
        elements.feed(page.read_text(encoding="utf-8"))
        expected = expected or elements.tags
        assert elements.tags == expected
        assert elements.tags.count("script") == 2
