"""The table of a cross-validation's exports: Dice is pooled over the patients of all folds."""

import json
from pathlib import Path

from experiments.export.folds import fold_table, fold_text, read_folds
from lits_seg.common.records import as_plain
from lits_seg.exporters.comparison_table import Row
from lits_seg.exporters.parity import Parity


def write_fold(folder: Path, patients: str, pytorch: list[float], int8: list[float], labels: float) -> Path:
    folder.mkdir()
    rows = [
        Row("PyTorch", "fp32", "checkpoint (PyTorch)", 4_000_000, None, 20.0, pytorch),
        Row("onnx", "int8", "lits_seg_int8.onnx", 1_000_000, Parity(labels, 1.0, 20.0), 10.0, int8),
    ]
    first, *files = as_plain(rows)
    plain = {"lits_seg": "0.2.0", "volumes": "lits21", "patients": list(patients), "pytorch": first, "files": files}
    (folder / "exports.json").write_text(json.dumps(plain))
    return folder


def test_dice_is_pooled_over_the_patients_of_all_folds(tmp_path: Path) -> None:
    folds = read_folds(
        [
            write_fold(tmp_path / "0", "ab", [0.6, 0.8], [0.5, 0.7], 0.999),
            write_fold(tmp_path / "1", "c", [0.1], [0.1], 0.99),
        ]
    )
    _, _, pytorch, int8 = (
        [cell.strip() for cell in line.strip("|").split("|")] for line in fold_table(folds).splitlines()
    )
    assert pytorch[:5] == ["PyTorch", "fp32", "4.0", "–", "20.0"]
    assert pytorch[5].startswith("0.5000 [")
    assert pytorch[6] == "–"
    assert int8[:5] == ["onnx", "int8", "1.0", "99.0000%", "10.0"]
    assert int8[5].startswith("0.4333 [")
    mean = sum((-0.1, -0.1, 0)) / 3
    assert int8[6].startswith(f"{mean:+.4f} [-0.1000, ")
    assert "3 patients (a, b, c) of lits21" in fold_text(folds)


def test_one_patient_has_no_interval(tmp_path: Path) -> None:
    folds = read_folds([write_fold(tmp_path / "0", "a", [0.6], [0.5], 0.999)])
    assert fold_table(folds).splitlines()[-1].split("|")[-2].strip() == "-0.1000"
