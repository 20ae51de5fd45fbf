import json
import shutil
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.checkpoints import save_checkpoint, with_model
from helpers.commands import failed_command, run_command, start_command

from lits_seg.data.layouts import find_cases
from lits_seg.exporters import comparison_table, parity
from lits_seg.exporters.parity import Parity, slices_of
from lits_seg.inference.ensemble import Ensemble
from lits_seg.inference.exported import ExportedModel

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


@pytest.mark.parametrize("name", ["lits_seg_fp32.onnx", "lits_seg_fp32.openvino.zip"])
@pytest.mark.parametrize("shape", [(1, 48, 40), (5, 64, 64), (2, 31, 77)])
def test_an_exported_file_is_the_checkpoint(folder: Path, name: str, shape: tuple[int, int, int]) -> None:
    hu = np.random.default_rng(0).normal(50, 80, shape).astype(np.int16)
    around = np.arange(shape[0])[:, None]
    labels, probability = Ensemble([folder / "net.ckpt"], device="cpu")(hu, around)
    found = ExportedModel(folder / "files" / name, threads=1)
    again = found(hu, around)
    assert (again[0].dtype, again[0].shape) == (np.uint8, shape)
    assert (again[0] == labels).mean() > 0.999
    assert np.abs(again[1].astype(int) - probability).max() <= 1
    assert (found.classes, found.context) == (3, 1)


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


def test_neighbouring_slices(tmp_path: Path, lits: Path) -> None:
    save_checkpoint(tmp_path / "net.ckpt", settings=with_model(in_channels=3))
    (tmp_path / "lits").symlink_to(lits)
    export(tmp_path, "slices=4", "patients=0")
    hu = slices_of(find_cases(lits)[:1], 3, 3)
    assert hu.shape[:2] == (3, 3)
    flat, around = hu.reshape(9, *hu.shape[2:]), np.arange(9).reshape(3, 3)
    expected = Ensemble([tmp_path / "net.ckpt"], device="cpu")(flat, around)[0]
    assert (ExportedModel(tmp_path / "exported/lits_seg_fp32.onnx", 1)(flat, around)[0] == expected).mean() > 0.999


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


def test_a_model_that_is_not_ours(folder: Path, tmp_path: Path) -> None:
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", [value], [])
    graph.output.append(onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1]))
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10),
        tmp_path / "other.onnx",
    )
    (tmp_path / "text.onnx").write_text("no model")
    (tmp_path / "app.pte").write_bytes(b"\0\0\0\0ET12")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("a.txt", "a")
    exported = folder / "files/lits_seg_fp32.openvino.zip"
    whole = exported.read_bytes()
    (tmp_path / "short.openvino.zip").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "damaged.openvino.zip").write_bytes(whole[:-9000] + b"damage" + whole[-8994:])
    with zipfile.ZipFile(exported) as file:
        metadata = file.read("lits_seg.json").decode()
    for name, text in (
        ("text", "no JSON"),
        ("empty", "{}"),
        ("old", json.dumps({"contract": 0})),
        ("part", json.dumps({"contract": 1, "precision": "fp32"})),
        ("alone", metadata),
    ):
        with zipfile.ZipFile(tmp_path / f"{name}.openvino.zip", "w") as file:
            file.writestr("lits_seg.json", text)
    for model, found in (
        (tmp_path / "short.openvino.zip", "found a damaged or truncated ZIP file"),
        (tmp_path / "damaged.openvino.zip", "inside; found BadZipFile: Bad CRC-32"),
        (tmp_path / "text.openvino.zip", "valid metadata (lits_seg); found JSONDecodeError"),
        (tmp_path / "empty.openvino.zip", "valid metadata (lits_seg); found KeyError: 'contract'"),
        (tmp_path / "old.openvino.zip", "expected a model with contract 1; found contract 0 (export it again)"),
        (tmp_path / "part.openvino.zip", "found research_use_only: Field required"),
        (tmp_path / "alone.openvino.zip", "expected an intact file model.bin inside; found KeyError"),
        (tmp_path / "other.onnx", "expected a model exported by lits_seg; found a model of another program"),
        (tmp_path / "text.onnx", "expected a readable ONNX file; found "),
        (tmp_path / "app.pte", "found an ExecuTorch program"),
        (tmp_path / "other.zip", "a ZIP file of another program"),
        (tmp_path / "none.onnx", "No such file"),
        (folder / "net.ckpt", "a checkpoint (ckpt=…)"),
        (folder / "out.txt", "a file of another kind"),
    ):
        told = failed_command("predict", f"model={model}", "input=lits", f"output={tmp_path}/out", cwd=folder)
        assert found in told
        assert str(model) in told
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "package"), [("fp32.onnx", "onnxruntime"), ("fp32.openvino.zip", "openvino")])
def test_a_missing_engine_is_named(folder: Path, name: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    told = failed_command("predict", f"model=files/lits_seg_{name}", "input=lits", "output=none", cwd=folder)
    assert f"{package} to run it (pip install 'lits_seg[runtime]'); found not installed" in told


def test_signals_are_survived_when_models_of_openvino_are_gone(folder: Path) -> None:
    names = [str(folder / "files" / name) for name in FILES if "openvino" in name]
    code = (
        "import gc, os, signal, sys; from lits_seg.inference.exported import ExportedModel;"
        "signal.signal(signal.SIGUSR1, lambda *_: print('handled'));"
        "first, *others = [ExportedModel(name, 1) for name in sys.argv[1:]];"
        "del first; gc.collect(); del others; gc.collect();"
        "os.kill(os.getpid(), signal.SIGUSR1)"
    )
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "expected a checkpoint (ckpt=…) or an exported model (model=…); found neither"),
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


def test_what_is_worth_it() -> None:
    def row(precision: str, ms: float, dice: float) -> comparison_table.Row:
        return comparison_table.Row("onnx", precision, f"{precision}.onnx", 1, Parity(1, 1, 0, 1), ms, [dice, 0.5])

    fp32 = row("fp32", 20, 0.6)
    for found, expected in (
        (row("int8", 10, 0.6), "yes"),
        (row("int8", 10, 0.58), "not worth it: loses 0.010 Dice"),
        (row("fp16", 20, 0.6), "not worth it: no faster than fp32"),
        (fp32, "yes"),
        (replace(fp32, dice=()), "Dice not measured"),
    ):
        assert comparison_table.verdict(found, fp32, fp32) == expected
