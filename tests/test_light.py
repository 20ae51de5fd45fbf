"""Predicting with an exported model, and scoring masks, need neither PyTorch nor what else the extras bring."""

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from helpers.commands import run_command
from helpers.volumes import AFFINES, anatomy

from lits_seg.browser.third_party import PARTS
from lits_seg.common.dependencies import EXTRAS, install

# make runtime-test: an environment where the wheel is installed, and nothing that it does not need.
PYTHON = os.environ.get("LIGHT_PYTHON")
HEAVY = () if PYTHON else (*EXTRAS["train"], "lightning_fabric", *EXTRAS["export"])

# Python runs this file at its start: from then on, the packages are as if they were not installed.
REFUSE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Refuse())
"""


def light(folder: Path, command: str, *arguments: str, without: tuple[str, ...] = HEAVY) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a command in a Python that lacks packages."""
    (folder / "site").mkdir(exist_ok=True)
    (folder / "site" / "sitecustomize.py").write_text(REFUSE.format(names=without))
    paths = [folder / "site"] if PYTHON else [folder / "site", Path(__file__).parents[1]]
    done = subprocess.run(
        [PYTHON or sys.executable, "-m", f"lits_seg.{command}", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    hu, labels = anatomy(0)
    nib.save(nib.Nifti1Image(hu, AFFINES["LPS"]), tmp_path / "CT.nii.gz")
    for name in ("masks", "references"):
        (tmp_path / name).mkdir()
        nib.save(nib.Nifti1Image(labels, AFFINES["LPS"]), tmp_path / name / "segmentation-0.nii.gz")
    return tmp_path


def test_help(folder: Path) -> None:
    status, out, err = light(folder, "predict", "--help")
    assert (status, err) == (0, "")
    assert "lits-seg predict" in out


def test_a_command_starts_without_pydicom(folder: Path) -> None:
    code = "import lits_seg.predict, sys; sys.exit('pydicom' in sys.modules)"
    subprocess.run([PYTHON or sys.executable, "-c", code], cwd=folder, check=True, timeout=60)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, exported: Path, lits: Path) -> np.ndarray:
    """The mask of a CT by a checkpoint itself, which is exported, too."""
    folder = tmp_path_factory.mktemp("expected")
    ckpt = f"ckpt={exported}/net.ckpt"
    run_command("predict", ckpt, f"input={lits}/volume-1.nii.gz", "device=cpu", cwd=folder)
    return np.asanyarray(nib.load(folder / "predictions" / "segmentation-1.nii.gz").dataobj)


@pytest.mark.parametrize(
    "name",
    [
        "lits_seg_fp32.onnx",
        pytest.param("lits_seg_fp32.openvino.zip", marks=pytest.mark.skipif(bool(PYTHON), reason="not in runtime")),
    ],
)
def test_an_exported_model_predicts_what_its_checkpoint_does(
    tmp_path: Path, exported: Path, expected: np.ndarray, lits: Path, name: str
) -> None:
    model, ct = exported / "exported" / name, lits / "volume-1.nii.gz"
    status, out, err = light(tmp_path, "predict", f"model={model}", f"input={ct}")
    assert status == 0, err
    assert "1 of 1 CTs predicted, written to: predictions" in out
    found = np.asanyarray(nib.load(tmp_path / "predictions" / "segmentation-1.nii.gz").dataobj)
    assert len(np.unique(expected)) > 1
    assert (found == expected).mean() > 0.999


def test_the_packaged_network_predicts(tmp_path: Path, lits: Path) -> None:
    status, out, err = light(tmp_path, "predict", f"input={lits}/volume-1.nii.gz", "threads=1")
    assert status == 0, err
    assert out.startswith("network: ")
    assert "1 of 1 CTs predicted, written to: predictions" in out


def test_masks_are_scored(folder: Path) -> None:
    status, out, err = light(folder, "evaluate", "predictions=masks", "references=references", "workers=1")
    assert status == 0, err
    assert "| segmentation-0 | 1.000" in out
    assert (folder / "evaluation" / "evaluation.json").exists()


@pytest.mark.parametrize(
    ("command", "arguments", "package"),
    [
        ("train", ["data=smoke"], "pytorch_lightning"),
        ("report", ["runs=runs"], "scipy"),
        ("evaluate", ["ckpt=best.ckpt"], "pytorch_lightning"),
    ],
)
def test_a_command_that_needs_more_says_what_to_install(
    folder: Path, command: str, arguments: list[str], package: str
) -> None:
    before = sorted(folder.iterdir())
    expected = f"error: this command: expected {package} ({install('train')}); found none\n"
    assert light(folder, command, *arguments)[::2] == (1, expected)
    assert [path for path in sorted(folder.iterdir()) if path.name != "site"] == before


def test_a_checkpoint_needs_more(folder: Path) -> None:
    status, _, err = light(folder, "predict", "ckpt=best.ckpt", "input=CT.nii.gz")
    assert status == 1
    assert err.startswith(f"error: ckpt: expected torch to run a checkpoint ({install('train')}), or an")
    assert not (folder / "predictions").exists()


@pytest.mark.skipif(PYTHON is not None or not PARTS.is_dir(), reason="needs onnx, and make browser-parts")
def test_a_page_needs_no_pytorch(folder: Path) -> None:
    without = tuple(name for name in HEAVY if name != "onnx")
    status, out, err = light(folder, "export", "format=html", without=without)
    assert (status, err) == (0, "")
    assert "exported/lits_seg_fp16_research_use_only.html: " in out


@pytest.mark.skipif(not PARTS.is_dir(), reason="needs make browser-parts")
def test_a_page_needs_onnx(folder: Path) -> None:
    status, _, err = light(folder, "export", "format=html")
    assert status == 1
    assert f"onnx to write pages ({install('browser')})" in err
    assert not (folder / "exported").exists()


@pytest.mark.skipif(not PYTHON, reason="make runtime-test")
def test_the_environment_is_small() -> None:
    assert PYTHON is not None
    files = [path for path in Path(PYTHON).parents[1].rglob("*") if path.is_file() and not path.is_symlink()]
    assert sum(path.stat().st_size for path in files) < 300e6


def test_an_exported_model_needs_what_runs_it(folder: Path) -> None:
    (folder / "net.onnx").write_bytes(b"is not read before ONNX Runtime is there")
    arguments = ("model=net.onnx", "input=CT.nii.gz")
    status, _, err = light(folder, "predict", *arguments, without=(*HEAVY, *EXTRAS["runtime"]))
    assert (status, err) == (
        1,
        f"error: net.onnx: expected onnxruntime to run it ({install('runtime')}); found not installed\n",
    )


def test_what_is_missing_but_no_extra_keeps_its_traceback(folder: Path) -> None:
    status, _, err = light(folder, "predict", "--help", without=("nibabel",))
    assert status == 1
    assert "Traceback" in err
    assert err.endswith("ModuleNotFoundError: No module named 'nibabel'\n")
