"""Exported files are run as their checkpoint, and other files are named."""

import gzip
import json
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.checkpoints import SETTINGS, save_checkpoint, with_model
from helpers.commands import failed_command, run_command
from helpers.volumes import anatomy, write_case

import lits_seg
from lits_seg.common.dependencies import install
from lits_seg.common.errors import InputError
from lits_seg.data.ct import open_ct
from lits_seg.inference.ensemble import Ensemble
from lits_seg.inference.exported import ExportedModel
from lits_seg.inference.segmenter import NotFiniteError

FILES = [f"lits_seg_{precision}.{ending}" for ending in ("onnx", "openvino.zip") for precision in ("fp32", "fp16")]


@pytest.mark.parametrize("name", ["lits_seg_fp32.onnx", "lits_seg_fp32.openvino.zip"])
@pytest.mark.parametrize("shape", [(1, 48, 40), (5, 64, 64), (2, 31, 77)])
def test_an_exported_file_is_the_checkpoint(exported: Path, name: str, shape: tuple[int, int, int]) -> None:
    hu = np.random.default_rng(0).normal(50, 80, shape).astype(np.int16)
    around = np.arange(shape[0])[:, None]
    labels, probability = Ensemble([exported / "net.ckpt"], device="cpu")(hu, around)
    found = ExportedModel(exported / "exported" / name, threads=1)
    again = found(hu, around)
    assert (again[0].dtype, again[0].shape) == (np.uint8, shape)
    assert (again[0] == labels).mean() > 0.999
    assert np.abs(again[1].astype(int) - probability).max() <= 1
    assert (found.classes, found.context) == (3, 1)


def test_a_file_holds_no_path_of_the_machine_that_wrote_it(exported: Path) -> None:
    source = str(Path(lits_seg.__file__).parent).encode()
    assert not [path for path in (exported / "exported").glob("*.onnx") if source in path.read_bytes()]


def test_a_model_that_is_not_ours(exported: Path, tmp_path: Path) -> None:
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", [value], [])
    graph.output.append(onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1]))
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10),
        tmp_path / "other.onnx",
    )
    (tmp_path / "text.onnx").write_text("no model")
    (tmp_path / "out.txt").write_text("no model")
    (tmp_path / "app.pte").write_bytes(b"\0\0\0\0ET12")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("a.txt", "a")
    zipped = exported / "exported/lits_seg_fp32.openvino.zip"
    whole = zipped.read_bytes()
    (tmp_path / "short.openvino.zip").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "damaged.openvino.zip").write_bytes(whole[:-9000] + b"damage" + whole[-8994:])
    with zipfile.ZipFile(zipped) as file:
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
        (exported / "net.ckpt", "a checkpoint (ckpt=…)"),
        (tmp_path / "out.txt", "a file of another kind"),
    ):
        told = failed_command("predict", f"model={model}", "input=lits", f"output={tmp_path}/out", cwd=exported)
        assert found in told
        assert str(model) in told
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [("fp32.onnx", "onnxruntime", "runtime"), ("fp32.openvino.zip", "openvino", "openvino")],
)
def test_a_missing_engine_is_named(
    exported: Path, name: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    told = failed_command("predict", f"model=exported/lits_seg_{name}", "input=lits", "output=none", cwd=exported)
    assert f"{package} to run it ({install(extra)}); found not installed" in told


def test_signals_are_survived_when_models_of_openvino_are_gone(exported: Path) -> None:
    names = [str(exported / "exported" / name) for name in FILES if "openvino" in name]
    code = (
        "import gc, os, signal, sys; from lits_seg.inference.exported import ExportedModel;"
        "signal.signal(signal.SIGUSR1, lambda *_: print('handled'));"
        "first, *others = [ExportedModel(name, 1) for name in sys.argv[1:]];"
        "del first; gc.collect(); del others; gc.collect();"
        "os.kill(os.getpid(), signal.SIGUSR1)"
    )
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n")


@pytest.fixture(scope="module")
def parts(exported: Path) -> dict[str, bytes]:
    """The files in an exported model for OpenVINO."""
    with zipfile.ZipFile(exported / "exported/lits_seg_fp32.openvino.zip") as file:
        return {name: file.read(name) for name in file.namelist()}


def write_model(path: Path, parts: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in parts.items():
            file.writestr(name, content)
    return path


WRONG = (None, True, "text", -1, 4, 1e400, [], [["x"]], "\ud800", 10**400)
TEXTS = ("network", "decoder", "git_commit", "research_use_only", "lits_seg")
SOUND = (*((name, "text") for name in TEXTS), ("network", None), ("git_commit", None), ("checkpoint", None))


@pytest.mark.hostile
@pytest.mark.parametrize("missing", [False, True])
def test_metadata_of_other_types_are_named(parts: dict[str, bytes], tmp_path: Path, missing: bool) -> None:
    whole = json.loads(parts["lits_seg.json"])
    optional = {
        "network",
        "levels",
        "plane",
        "rules",
        "foreground",
    }  # not in files of earlier versions
    tried = [{k: v for k, v in whole.items() if k != name} for name in whole if name not in optional]
    if not missing:
        tried = [
            {**whole, name: value}
            for name in whole
            for value in WRONG
            if (name, value) not in (*SOUND, ("levels", []), ("parameters", 4))
        ]
    for metadata in tried:
        path = write_model(tmp_path / "a.openvino.zip", {**parts, "lits_seg.json": json.dumps(metadata).encode()})
        with pytest.raises(InputError, match=r"a\.openvino\.zip: expected "):
            ExportedModel(path, threads=1)


@pytest.mark.hostile
def test_a_model_is_never_larger_than_its_file(parts: dict[str, bytes], tmp_path: Path) -> None:
    path = write_model(tmp_path / "a.zip", {**parts, "model.bin": bytes(10**7)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match=r"a\.zip: expected .* without compression; found 10\.\d MB when unpacked"):
        ExportedModel(path)


@pytest.mark.hostile
def test_an_onnx_file_cut_or_damaged_anywhere_is_named(exported: Path, tmp_path: Path) -> None:
    whole = (exported / "exported/lits_seg_fp32.onnx").read_bytes()
    rng = np.random.default_rng(0)
    hu, around = np.zeros((2, 48, 40), np.int16), np.arange(2)[:, None]
    path = tmp_path / "a.onnx"
    for end in range(0, len(whole), len(whole) // 20):
        path.write_bytes(whole[:end])
        with pytest.raises(InputError, match=r"a\.onnx: expected "):
            ExportedModel(path, threads=1)
    for _ in range(20):
        content = bytearray(whole)
        for place in rng.integers(0, len(whole), 8):
            content[place] = rng.integers(256)
        path.write_bytes(content)
        with suppress(InputError, NotFiniteError):  # damage to a number in the weights may not be noticed
            ExportedModel(path, threads=1)(hu, around)


@pytest.mark.hostile
def test_a_graph_with_other_outputs_is_named(exported: Path, tmp_path: Path, lits: Path) -> None:
    model = onnx.load(exported / "exported/lits_seg_fp32.onnx")
    weights = [tensor for tensor in model.graph.initializer if len(tensor.dims) == 4]
    for tensor in weights:
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.full(tensor.dims, np.nan, np.float32), tensor.name))
    onnx.save(model, tmp_path / "nan.onnx")
    told = failed_command("predict", "model=nan.onnx", f"input={lits}/volume-0.nii.gz", "output=out", cwd=tmp_path)
    assert "expected finite logits; found NaN or infinity in slice 0 of " in told
    assert not any((tmp_path / "out").glob("*"))
    del model.graph.output[0]
    onnx.save(model, tmp_path / "less.onnx")
    with pytest.raises(InputError, match="expected a graph with hu, labels, probability, logits"):
        ExportedModel(tmp_path / "less.onnx")


@pytest.fixture(scope="module")
def resampling(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that resamples to a spacing, exported in several ways, and a CT whose pixels are not square."""
    folder = tmp_path_factory.mktemp("resampling")
    spacing = {"preprocess": {**SETTINGS["preprocess"], "spacing": 2.0}}
    save_checkpoint(folder / "net.ckpt", settings={**with_model(out_channels=3, in_channels=3), **spacing})
    for number in range(2):  # patients with pixels of different sizes
        affine = np.array([[0, -0.9 - number, 0, 9], [-2.1, 0, 0, 5], [0, 0, -3, 7], [0, 0, 0, 1]])
        write_case(folder / "lits", str(number), *anatomy(number, shape=(40, 100, 6)), affine)
    few = ("slices=4", "patients=2", "threads=1", "output=files")
    run_command("export", "ckpt=net.ckpt", "references=lits", "format=[onnx,openvino]", *few, cwd=folder)
    return folder


@pytest.mark.hostile
@pytest.mark.parametrize("name", ["lits_seg_fp32.onnx", "lits_seg_fp32.openvino.zip"])
def test_a_file_resamples_to_the_spacing_of_its_checkpoint(name: str, resampling: Path) -> None:
    ensemble = Ensemble([resampling / "net.ckpt"], device="cpu")
    exported = ExportedModel(resampling / "files" / name, threads=1)
    assert exported.model().preprocess["spacing"] == ensemble.model().preprocess["spacing"] == 2
    for number in range(2):
        with open_ct(resampling / "lits" / f"volume-{number}.nii.gz") as ct:
            expected, found = (list(segmenter.segment(ct, 4)) for segmenter in (ensemble, exported))
        for (_, hu, labels, lesion), (_, _, again, other) in zip(expected, found, strict=True):
            assert again.shape == labels.shape == hu.shape
            assert (again == labels).mean() > 0.999
            assert np.abs(other.astype(int) - lesion).max() <= 1
    with pytest.raises(InputError, match="expected slices whose pixel size is known"):
        exported(np.zeros((3, 40, 40)), np.arange(3)[None])


@pytest.fixture(scope="module")
def neighbours(tmp_path_factory: pytest.TempPathFactory, lits: Path) -> Path:
    """A checkpoint that sees the slices below and above, exported for both runtimes, and CTs."""
    folder = tmp_path_factory.mktemp("neighbours")
    save_checkpoint(folder / "net.ckpt", settings=with_model(out_channels=3, in_channels=3))
    (folder / "lits").symlink_to(lits)
    few = ("slices=1", "calibration=1", "patients=0", "threads=1", "output=files")
    run_command("export", "ckpt=net.ckpt", "references=lits", "format=[onnx,openvino]", *few, cwd=folder)
    return folder


@pytest.mark.parametrize("name", ["lits_seg_fp32.onnx", "lits_seg_fp32.openvino.zip"])
def test_a_run_of_slices_gives_what_slices_with_their_neighbours_give(name: str, neighbours: Path) -> None:
    hu = np.random.default_rng(0).normal(50, 80, (7, 40, 56)).astype(np.int16)
    around = (np.arange(7)[:, None] + np.arange(-1, 2)).clip(0, 6)
    model = ExportedModel(neighbours / "files" / name, threads=1)
    assert model.takes_runs
    run, one = model(hu, around), model(hu, around[3:4])
    model.takes_runs = False
    plain = model(hu, around)
    assert len(np.unique(plain[0])) > 1
    for found, alone, expected in zip(run, one, plain, strict=True):
        assert np.array_equal(found, expected)
        assert np.array_equal(alone, expected[3:4])


@pytest.mark.parametrize("name", ["lits_seg_fp32.onnx", "lits_seg_fp32.openvino.zip"])
def test_batches_at_once_come_in_order_and_are_those_of_one_at_a_time(name: str, neighbours: Path) -> None:
    path = neighbours / "files" / name
    with open_ct(neighbours / "lits" / "volume-0.nii.gz") as ct:
        expected, found = (list(ExportedModel(path, 2, at_once).segment(ct, 1)) for at_once in (0, 4))
    assert [start for start, *_ in found] == list(range(len(expected)))
    for one, other in zip(expected, found, strict=True):
        assert all(np.array_equal(*pair) for pair in zip(one, other, strict=True))


def test_several_cts_are_printed_in_order_and_one_damaged_ct_does_not_matter(neighbours: Path, tmp_path: Path) -> None:
    names = [f"ct{number}" for number in range(4)]
    for name in names:
        content = (neighbours / "lits" / "volume-0.nii.gz").read_bytes()
        (tmp_path / f"{name}.nii.gz").write_bytes(content[: len(content) // (2 if name == "ct1" else 1)])
    model = f"model={neighbours}/files/lits_seg_fp32.onnx"
    told = failed_command("predict", model, f"input={tmp_path}", "output=out", "threads=2", cwd=tmp_path)
    assert "expected 4 usable CTs; found 1 unusable:" in told
    assert "ct1.nii.gz" in told
    run_command("predict", model, f"input={tmp_path}/ct0.nii.gz", "output=alone", cwd=tmp_path)
    masks = {gzip.decompress((tmp_path / "out" / f"{name}.nii.gz").read_bytes()) for name in names if name != "ct1"}
    assert masks == {gzip.decompress((tmp_path / "alone" / "ct0.nii.gz").read_bytes())}
    assert not (tmp_path / "out" / "ct1.nii.gz").exists()
