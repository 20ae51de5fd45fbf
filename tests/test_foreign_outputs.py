"""Every command refuses, before any work, to replace a file that it did not write, and replaces its own files."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import pytest
from helpers.commands import failed_command, run_command
from helpers.run_folders import case, write_run
from helpers.volumes import AFFINES, anatomy, write_case

pytestmark = pytest.mark.hostile

EVALUATE = ("evaluate", "predictions=masks", "references=data")
COMPARE = ("evaluate", "a=masks", "b=masks", "references=data")
REPORT = ("report", "runs=runs")
PREPARE = ("prepare", "data=lits", "data.root=data", "data.store=store", "data.preprocess.size=32")
# The files that these need are looked at only after the outputs.
SCORE = ("evaluate", "ckpt=missing.ckpt")
EXPORT = ("export", "ckpt=missing.ckpt", "format=[onnx,openvino]")
AUDIT = ("parameter_audit.__main__",)
INFERENCE = ("inference_speed.__main__",)
TABLES = ("export.__main__", "ckpt=missing.ckpt")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outputs")
    for number in range(2):
        hu, labels = anatomy(number)
        write_case(folder / "data", str(number), hu, labels)
        (folder / "masks").mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(labels, AFFINES["LPS"]), folder / "masks" / f"segmentation-{number}.nii.gz")
        write_run(folder / "runs" / f"run{number}", [case(str(number))], fold=number)
    return folder


def package(command: str) -> str:
    return "experiments" if "__main__" in command else "lits_seg"


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        *((EVALUATE, name) for name in ("evaluation.json", "cases.csv", "lesions.csv", "summary.csv", "froc.csv")),
        *((COMPARE, name) for name in ("comparison.json", "comparison.csv", "cases.csv")),
        *((SCORE, name) for name in ("evaluation.json", "summary.csv")),
        *((REPORT, name) for name in ("report.html", "report.md", "report.csv", "pairs.csv", "cases.csv", "froc.csv")),
        *((PREPARE, name) for name in ("check.json", "check.html")),
        *(
            (EXPORT, name)
            for name in ("lits_seg_fp32.onnx", "lits_seg_fp32.openvino.zip", "exports.md", "exports.json")
        ),
        (AUDIT, "parameters.md"),
        *((INFERENCE, name) for name in ("inference.md", "inference.csv", "inference.png")),
        *((TABLES, name) for name in ("exports.md", "exports.json", "real.md")),
    ],
)
def test_a_foreign_file_is_named_and_stays(arguments: tuple[str, ...], file: str, folder: Path, tmp_path: Path) -> None:
    content = '{"case,lesion": "score,value <title>lits_seg"}'
    (tmp_path / file).write_text(content)
    command, *settings = arguments
    failed = failed_command(command, *settings, f"output={tmp_path}", cwd=folder, package=package(command))
    assert f"{tmp_path}/{file}: expected an unused name for the" in failed
    assert "found a file that this command did not write" in failed
    assert (tmp_path / file).read_text() == content
    assert [path.name for path in tmp_path.iterdir()] == [file]
    assert not (folder / "store").exists()


@pytest.mark.parametrize("arguments", [EVALUATE, COMPARE, REPORT, PREPARE], ids=lambda arguments: arguments[1])
def test_own_files_are_replaced(arguments: tuple[str, ...], folder: Path, tmp_path: Path) -> None:
    command, *settings = arguments
    for _ in range(2):
        run_command(command, *settings, f"output={tmp_path}", f"hydra.run.dir={tmp_path}", cwd=folder)


def test_the_tables_of_one_command_are_not_those_of_another(folder: Path, tmp_path: Path) -> None:
    run_command(*EVALUATE, f"output={tmp_path}", cwd=folder)
    failed = failed_command(*REPORT, f"output={tmp_path}", cwd=folder)
    assert f"{tmp_path}/cases.csv: expected an unused name for the table" in failed


def test_the_scores_of_a_run_stay(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("data: {}")
    assert "expected a folder other than a run's" in failed_command(*SCORE, f"output={tmp_path}", cwd=folder)


@pytest.mark.parametrize("arguments", [EVALUATE, REPORT, PREPARE, EXPORT], ids=lambda arguments: arguments[0])
@pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to("nowhere")], ids=["file", "broken link"])
def test_an_output_that_is_no_folder(
    arguments: tuple[str, ...], make: Callable[[Path], None], folder: Path, tmp_path: Path
) -> None:
    make(tmp_path / "out")
    for output in ("out", "out/below"):
        command, *settings = arguments
        failed = failed_command(command, *settings, f"output={tmp_path}/{output}", cwd=folder)
        assert f"{tmp_path}/{output}: expected a folder to write into" in failed
