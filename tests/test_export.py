import json
import shutil
import signal
import time
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import onnxruntime
import pytest
from helpers.browser import NEEDS_PARTS
from helpers.checkpoints import SETTINGS, save_checkpoint, with_model
from helpers.commands import failed_command, run_command, start_command

from lits_seg.data.layouts import find_cases
from lits_seg.exporters import check_volumes, parity
from lits_seg.exporters.parity import slices_of
from lits_seg.inference.ensemble import Ensemble
from lits_seg.inference.exported import ExportedModel
from lits_seg.phantom.write import write_phantom

FILES = [
    "lits_seg_fp32.onnx",
    "lits_seg_fp16.onnx",
    "lits_seg_int8.onnx",
    "lits_seg_fp32.openvino.zip",
    "lits_seg_fp16.openvino.zip",
    "lits_seg_bf16.openvino.zip",
    "lits_seg_int8.openvino.zip",
]


def export(folder: Path, *arguments: str) -> str:
    return run_command("export", "ckpt=net.ckpt", "references=lits", "threads=1", *arguments, cwd=folder)


def fails(folder: Path, *arguments: str) -> str:
    told = failed_command("export", "ckpt=net.ckpt", "references=lits", *arguments, cwd=folder)
    assert not (folder / "exported").exists()
    return told


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, lits: Path) -> Path:
    """A checkpoint for three classes, volumes, and the checkpoint exported in every way."""
    folder = tmp_path_factory.mktemp("export")
    save_checkpoint(folder / "net.ckpt", settings=with_model(out_channels=3))
    (folder / "lits").symlink_to(lits)
    out = export(
        folder, "format=[onnx,openvino]", "precision=all", "calibration=16", "slices=6", "patients=2", "output=files"
    )
    (folder / "out.txt").write_text(out)
    return folder


def test_every_format_and_precision(folder: Path) -> None:
    assert sorted(path.name for path in (folder / "files").iterdir()) == sorted([*FILES, "exports.json", "exports.md"])
    out = (folder / "out.txt").read_text()
    assert out.strip().endswith((folder / "files/exports.md").read_text().strip())
    assert "Research use only." in out
    assert all(f"| {name} " in out for name in FILES)
    told = json.loads((folder / "files/exports.json").read_text())
    assert told["patients"] == ["0", "1"]
    assert told["research_use_only"].startswith("Research use only.")
    assert [row["file"] for row in told["files"]] == FILES
    for row in told["files"]:
        least, _ = parity.LIMITS[row["precision"]]
        assert row["parity"]["labels"] >= least
        assert row["size"] == (folder / "files" / row["file"]).stat().st_size
        assert (len(row["dice"]), row["ms"] > 0) == (2, True)


@pytest.mark.slow
@NEEDS_PARTS
def test_a_checkpoint_becomes_a_page(folder: Path) -> None:
    out = export(folder, "format=[html,site]", "slices=4", "patients=0", "output=pages")
    files = ["lits_seg_fp16_research_use_only.html", "lits_seg_fp16_research_use_only_site"]
    assert sorted(path.name for path in (folder / "pages").iterdir()) == ["exports.json", "exports.md", *files]
    assert all(f"| {name} " in out for name in files)
    told = json.loads((folder / "pages/exports.json").read_text())
    assert [row["file"] for row in told["files"]] == files
    assert all(row["parity"]["labels"] >= parity.LIMITS["fp16"][0] for row in told["files"])


def test_predict_takes_it_by_the_same_door(folder: Path, tmp_path: Path) -> None:
    settings = ("input=lits/volume-4.nii.gz", "page=false", "probability=true")
    run_command("predict", "ckpt=net.ckpt", "device=cpu", f"output={tmp_path}/a", *settings, cwd=folder)
    run_command("predict", "model=files/lits_seg_fp32.onnx", f"output={tmp_path}/b", *settings, cwd=folder)
    one, other = (nib.load(tmp_path / part / "segmentation-4.nii.gz") for part in "ab")
    assert (np.asanyarray(one.dataobj) == np.asanyarray(other.dataobj)).mean() > 0.999
    assert one.affine.tobytes() == other.affine.tobytes()
    reports = [json.loads((tmp_path / part / "segmentation-4.json").read_text()) for part in "ab"]
    assert reports[0].keys() == reports[1].keys()
    assert reports[1]["model"]["checkpoints"][0]["sha256"] == reports[0]["model"]["checkpoints"][0]["sha256"]
    assert reports[1]["model"]["preprocess"] == reports[0]["model"]["preprocess"]
    assert reports[1]["settings"]["device"] == "cpu, ONNX Runtime"


def test_neighbouring_slices(tmp_path: Path, lits: Path) -> None:
    save_checkpoint(tmp_path / "net.ckpt", settings=with_model(in_channels=3))
    (tmp_path / "lits").symlink_to(lits)
    export(tmp_path, "slices=4", "patients=0")
    hu, _ = slices_of(find_cases(lits)[:1], 3, 3)
    assert hu.shape[:2] == (3, 3)
    flat, around = hu.reshape(9, *hu.shape[2:]), np.arange(9).reshape(3, 3)
    expected = Ensemble([tmp_path / "net.ckpt"], device="cpu")(flat, around)[0]
    assert (ExportedModel(tmp_path / "exported/lits_seg_fp32.onnx", 1)(flat, around)[0] == expected).mean() > 0.999


def test_a_network_of_the_liver_is_judged_by_its_livers(tmp_path: Path, lits: Path) -> None:
    save_checkpoint(tmp_path / "net.ckpt", settings={**SETTINGS, "foreground": "liver"})
    (tmp_path / "lits").symlink_to(lits)
    out = export(tmp_path, "slices=2", "patients=2", "output=files")
    told = json.loads((tmp_path / "files/exports.json").read_text())
    (file,) = told["files"]
    assert told["structure"] == "liver"
    assert file["parity"]["dice"] > 0.99
    assert all(0 < dice < 1 for dice in told["pytorch"]["dice"])
    assert file["dice"] == pytest.approx(told["pytorch"]["dice"], abs=0.01)
    for text in ("| Dice with PyTorch's liver mask ", "| liver Dice ", "\nLiver Dice is the mean", "0.005 liver Dice"):
        assert text in out
    assert "lesion" not in out.lower()


def test_a_file_below_the_bar_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(parity.LIMITS, "int8", (1.0, 0.0))
    told = fails(folder, "precision=int8", "calibration=4", "slices=4", "patients=0")
    assert "lits_seg_int8.onnx: expected at least 100.00% of PyTorch's labels" in told


def test_an_export_that_is_told_to_end_leaves_nothing(folder: Path) -> None:
    process = start_command("export", "ckpt=net.ckpt", "references=lits", "patients=null", "output=told", cwd=folder)
    assert process.stdout is not None
    assert "lits_seg_fp32.onnx: written" in process.stdout.readline()
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (128 + signal.SIGTERM, "")
    assert not (folder / "told").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ("precision=bf16",),
            "one of: format=onnx precision=fp32, fp16, int8; format=openvino precision=fp32, fp16, bf16",
        ),
        (("format=tflite",), "found format=tflite precision=fp32"),
        (("format=[onnx,onnx]",), "each once"),
        (("slices=0",), "slices: expected a whole number, at least 1"),
        (("threads=0",), "threads: expected a whole number, at least 1"),
        (("patients=-1",), "patients: expected a whole number, at least 0"),
        (("name=a/b",), "name: expected the first part of a file name; found 'a/b'"),
        (("references=nowhere",), "nowhere: expected a folder with CT volumes"),
        (("references=null",), "references=FOLDER, or a checkpoint within its run folder"),
    ],
)
def test_bad_arguments_are_named(folder: Path, arguments: tuple[str, ...], told: str) -> None:
    assert told in fails(folder, *arguments)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("model=files/lits_seg_fp32.onnx", "ckpt=net.ckpt"), "found ckpt=net.ckpt, model=files/lits_seg_fp32.onnx"),
        (
            ("model=files/lits_seg_fp32.onnx", "tta=flips"),
            "only settings that apply to exported models; found tta=flips",
        ),
    ],
)
def test_predict_takes_one_of_both(folder: Path, arguments: tuple[str, ...], told: str) -> None:
    assert told in failed_command("predict", "input=lits", "output=none", *arguments, cwd=folder)
    assert not (folder / "none").exists()


def test_a_file_stands_alone_and_tells_what_it_is(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "files/lits_seg_fp32.onnx", tmp_path / "liver.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "liver.onnx", providers=["CPUExecutionProvider"])
    labels, probability, logits = session.run(None, {"hu": np.zeros((2, 1, 50, 60), np.float32)})
    assert (labels.shape, labels.dtype, probability.shape, logits.shape) == (
        (2, 50, 60),
        np.uint8,
        (2, 50, 60),
        (2, 3, 32, 32),
    )
    told = json.loads(session.get_modelmeta().custom_metadata_map["lits_seg"])
    assert told["window_hu"] == [-100, 200]
    assert told["labels"] == {"0": "background", "1": "liver", "2": "lesion"}
    assert told["research_use_only"].startswith("Research use only.")
    assert len(told["checkpoint"]["sha256"]) == 64
    with zipfile.ZipFile(folder / "files/lits_seg_bf16.openvino.zip") as file:
        assert json.loads(file.read("lits_seg.json"))["precision"] == "bf16"


@pytest.mark.slow
def test_the_packaged_network_is_checked_on_synthetic_volumes_without_references(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"size": 64, "slices": 8}
    monkeypatch.setattr(check_volumes, "write_phantom", lambda *where, **given: write_phantom(*where, **given | small))
    few = ("slices=1", "calibration=1", "patients=1", "threads=1")
    out = run_command("export", "format=onnx", *few, cwd=tmp_path)
    assert "of synthetic volumes (lits_seg.phantom)" in out
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["exported", "exports.json", "exports.md", FILES[0]]
    told = json.loads((tmp_path / "exported" / "exports.json").read_text())
    assert (told["synthetic"], told["patients"]) == (True, ["0"])
    assert told["files"][0]["parity"]["labels"] > 0.9999


@pytest.mark.kill
@pytest.mark.parametrize("seconds", [0, 1, 3, 5, 8])
def test_a_killed_export_leaves_whole_files_and_the_next_one_cleans_up(
    seconds: float, folder: Path, tmp_path: Path
) -> None:
    few = ("format=onnx", "precision=fp32", "slices=1", "calibration=1", "patients=0", "threads=1", "references=lits")
    output = f"output={tmp_path}/out"
    process = start_command("export", "ckpt=net.ckpt", *few, output, cwd=folder)
    while process.poll() is None and not any((tmp_path / "out").glob(".export-*")):
        time.sleep(0.01)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    for path in (tmp_path / "out").glob("*.onnx"):
        ExportedModel(path)
    run_command("export", "ckpt=net.ckpt", *few, output, cwd=folder)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["exports.json", "exports.md", "lits_seg_fp32.onnx"]
