import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from helpers.commands import failed_command, run_command
from helpers.volumes import AFFINES, anatomy

from lits_seg import __version__
from lits_seg.data.layouts import find_cts

LABELS = [anatomy(number)[1] for number in range(3)]


def write(path: Path, labels: np.ndarray, affine: np.ndarray = AFFINES["oblique"]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(labels, affine), path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """References; perfect masks in another orientation; shifted ones; and what LiTS folders hold besides."""
    for number, labels in enumerate(LABELS):
        write(tmp_path / "references" / f"segmentation-{number}.nii", labels)
        write(tmp_path / "references" / f"volume-{number}.nii", labels.astype(np.int16))
        perfect = nib.as_closest_canonical(nib.Nifti1Image(labels, AFFINES["oblique"]))
        (tmp_path / "perfect").mkdir(exist_ok=True)
        nib.save(perfect, tmp_path / "perfect" / f"segmentation-{number}.nii.gz")
        write(tmp_path / "shifted" / f"segmentation-{number}.nii.gz", np.roll(labels, 2, axis=0))
    return tmp_path


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_tables_and_files_say_the_same(folder: Path) -> None:
    out = run_command("evaluate", "predictions=shifted", "references=references", "output=out", cwd=folder)
    assert {path.name for path in (folder / "out").iterdir()} == {
        "cases.csv",
        "lesions.csv",
        "summary.csv",
        "froc.csv",
        "evaluation.json",
    }
    evaluation = json.loads((folder / "out" / "evaluation.json").read_text())
    dice = [2 * (np.roll(a == 2, 2, 0) & (a == 2)).sum() / (2 * (a == 2).sum()) for a in LABELS]
    assert [case["lesion"]["dice"] for case in evaluation["cases"]] == dice  # full precision
    figure = evaluation["summary"]["lesion"]["dice_per_case"]
    assert figure["value"] == pytest.approx(np.mean(dice))
    assert figure["interval"][0] <= figure["value"] <= figure["interval"][1]
    cases, summary = read_csv(folder / "out" / "cases.csv"), read_csv(folder / "out" / "summary.csv")
    assert [float(row["lesion_dice"]) for row in cases] == dice
    (row,) = (row for row in summary if row["score"] == "lesion/dice_per_case")
    assert (float(row["value"]), float(row["low"])) == (figure["value"], figure["interval"][0])
    assert len(read_csv(folder / "out" / "lesions.csv")) == 3
    for shown in (f"{figure['value']:.3f} [{figure['interval'][0]:.3f}", "segmentation-2", "Research use only."):
        assert shown in out
    assert evaluation["synthetic"] is None  # not known
    assert evaluation["research_use_only"].startswith("Research use only.")
    assert evaluation["lits_seg"] == __version__


def test_perfect_masks_in_another_orientation(folder: Path) -> None:
    run_command("evaluate", "predictions=perfect", "references=references", "output=out", cwd=folder)
    summary = json.loads((folder / "out" / "evaluation.json").read_text())["summary"]
    assert summary["lesion"]["dice_per_case"] == {"value": 1.0, "interval": [1.0, 1.0], "undefined": 0}
    assert summary["detection"]["iou>0.5"]["recall"]["value"] == 1
    assert summary["liver"]["assd"]["value"] == summary["tumour_burden"]["rmse"]["value"] == 0


def test_two_programs_are_compared(folder: Path) -> None:
    out = run_command("evaluate", "a=perfect", "b=shifted", "references=references", "output=out", cwd=folder)
    compared = json.loads((folder / "out" / "comparison.json").read_text())["comparison"]["lesion"]["dice_per_case"]
    assert (compared["wins_a"], compared["wins_b"], compared["ties"], compared["a"]) == (3, 0, 0, 1)
    assert compared["difference"] == pytest.approx(1 - compared["b"])
    assert compared["p"] == pytest.approx(2 / 8)  # all three signs alike: 2 of 8 ways
    assert "| lesion Dice per case" in out
    assert "| recall: a | recall: b | recall: a - b [95 %]" in out
    rows = read_csv(folder / "out" / "cases.csv")
    assert [row["program"] for row in rows] == ["a"] * 3 + ["b"] * 3
    (row,) = (r for r in read_csv(folder / "out" / "comparison.csv") if r["score"] == "lesion/dice_per_case")
    assert float(row["difference"]) == compared["difference"]


def test_only_the_test_patients_of_a_fold_are_scored(folder: Path) -> None:
    names = ["0", "1", "2"]
    folds = [{"train": names[:2], "val": names[2:]}, {"train": names[2:], "val": names[:2]}]
    (folder / "folds.json").write_text(json.dumps(folds))
    (folder / "split.json").write_text(json.dumps({"train": names[2:], "val": [], "test": names[:2]}))
    (folder / "nobody.json").write_text(json.dumps({"train": names, "val": [], "test": []}))
    (folder / "empty.json").write_text(json.dumps([folds[0], {"train": names, "val": []}]))
    compare = ("a=perfect", "b=shifted", "references=references", "output=out")
    for split in (("split=folds.json", "fold=1"), ("split=split.json",)):
        printed = run_command("evaluate", *compare, *split, cwd=folder)
        assert ("scored: the test patients of fold 1, one of 2 in folds.json" in printed) == (len(split) == 2)
        found = json.loads((folder / "out" / "comparison.json").read_text())
        assert [case["case"] for case in found["cases_a"]] == ["segmentation-0", "segmentation-1"]
        assert found["split"] == split[0].removeprefix("split=")
    alone = ("predictions=perfect", "references=references", "output=alone", "split=folds.json")
    assert "scored: the test patients of fold 0, one of 2 in folds.json" in run_command("evaluate", *alone, cwd=folder)
    for arguments, told in (
        ((*compare, "split=folds.json", "fold=2"), "fold: expected one of the 2 folds in folds.json; found 2"),
        (
            ("predictions=perfect", "references=references", "split=nobody.json"),
            "nobody.json: expected patients for the test; found none",
        ),
        ((*compare, "split=empty.json", "fold=1"), "empty.json: expected patients for the test; found none"),
        (("ckpt=packaged", "split=split.json"), "split: expected masks (predictions=, or a= and b=); found ckpt"),
    ):
        assert told in failed_command("evaluate", *arguments, cwd=folder)


def test_masks_of_predict_are_scored_whatever_the_names_of_the_patients(tmp_path: Path) -> None:
    for number, name in enumerate(("pat-3", "Anna B.", "5")):
        write(tmp_path / "references" / f"volume-{name}.nii", LABELS[number])
        write(tmp_path / "references" / f"segmentation-{name}.nii", LABELS[number])
    for name, ct in find_cts(tmp_path / "references").items():
        write(tmp_path / "predictions" / f"{name}.nii.gz", np.asanyarray(nib.load(ct).dataobj))
    run_command("evaluate", "predictions=predictions", "references=references", "output=out", cwd=tmp_path)
    cases = [row["case"] for row in read_csv(tmp_path / "out" / "cases.csv")]
    assert cases == ["segmentation-5", "segmentation-Anna B.", "segmentation-pat-3"]


def test_synthetic_truth_is_called_synthetic(folder: Path) -> None:
    (folder / "references" / "phantom.json").write_text("{}")
    out = run_command("evaluate", "predictions=shifted", "references=references", "output=out", cwd=folder)
    assert "3 patients of references (synthetic CT)" in out
    assert json.loads((folder / "out" / "evaluation.json").read_text())["synthetic"] is True
    one = ("predictions=perfect/segmentation-0.nii.gz", "references=references/segmentation-0.nii")
    assert "(synthetic CT)" in run_command("evaluate", *one, "output=one", cwd=folder)


def test_undefined_values_are_null_and_counted(folder: Path) -> None:
    for number in range(3):
        write(folder / "nothing" / f"segmentation-{number}.nii", LABELS[0] * 0)
    out = run_command("evaluate", "predictions=nothing", "references=references", "output=out", cwd=folder)
    text = (folder / "out" / "evaluation.json").read_text()
    assert "NaN" not in text
    summary = json.loads(text)["summary"]
    assert summary["liver"]["assd"] == {"value": None, "interval": None, "undefined": 3}
    assert summary["detection"]["iou>0.5"]["precision"]["value"] is None
    assert summary["lesion"]["dice_per_case"]["value"] == 0
    assert read_csv(folder / "out" / "lesions.csv")[0]["dice"] == "nan"
    assert "no voxel of value 2 in any mask" in out
    assert "no voxel of value 1 in 3 masks (segmentation-0, segmentation-1, segmentation-2)" in out


def test_references_that_lack_a_label_are_told(folder: Path) -> None:
    for number, labels in enumerate(LABELS):
        lesion = (labels == 2).astype(np.uint8)
        write(folder / "ones" / f"segmentation-{number}.nii", lesion)  # lesions as 1, as other data sets have them
        write(folder / "twos" / f"segmentation-{number}.nii", 2 * lesion)
    out = run_command("evaluate", "predictions=perfect", "references=ones", "output=out", cwd=folder)
    assert "warning: no voxel of value 2 in any reference" in out
    out = run_command("evaluate", "a=perfect", "b=shifted", "references=twos", "output=compared", cwd=folder)
    assert "warning: no voxel of value 1 in any reference" in out
    out = run_command("evaluate", "predictions=perfect", "references=references", "output=out", cwd=folder)
    assert "in any reference" not in out


def test_one_patient_has_no_interval(folder: Path) -> None:
    out = run_command(
        "evaluate",
        "predictions=shifted/segmentation-1.nii.gz",
        "references=references/segmentation-1.nii",
        "output=out",
        cwd=folder,
    )
    summary = json.loads((folder / "out" / "evaluation.json").read_text())["summary"]
    assert summary["lesion"]["dice_per_case"]["interval"] is None
    assert "1 patient of" in out


def damage(folder: Path, what: str) -> None:
    file = folder / "shifted" / "segmentation-1.nii.gz"
    if what == "missing":
        file.unlink()
    elif what == "extra":
        write(folder / "shifted" / "segmentation-7.nii", LABELS[0])
    elif what == "another program's":
        write(folder / "shifted" / "Patient Müller #1.nii.gz", LABELS[0])
    elif what == "CT among references":
        write(folder / "references" / "CT.nii.gz", LABELS[0])
    elif what == "other labels":
        write(file, LABELS[1] * 2)
    elif what == "corrupt":
        file.write_bytes(file.read_bytes()[:300])
    elif what == "empty folder":
        for path in (folder / "shifted").iterdir():
            path.unlink()
    else:
        write(file, LABELS[1], AFFINES["LPS"])


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("missing", "shifted: expected one mask for each in references, by file name; found none for segmentation-1"),
        ("extra", "found too many: segmentation-7"),
        ("another program's", "found too many: Patient Müller #1"),
        ("CT among references", "by file name; found none for CT"),
        ("empty folder", "shifted: expected a folder with masks (.nii, .nii.gz); found none"),
    ],
)
@pytest.mark.parametrize("door", [("predictions=shifted",), ("a=perfect", "b=shifted")], ids=["score", "compare"])
def test_masks_without_a_pair_are_named_and_nothing_is_written(
    what: str, told: str, door: tuple[str], folder: Path
) -> None:
    damage(folder, what)
    assert told in failed_command("evaluate", *door, "references=references", "output=out", cwd=folder)
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("other labels", "segmentation-1.nii.gz: expected only labels 0 (background), 1 (liver), 2 (lesion)"),
        ("corrupt", "segmentation-1.nii.gz: expected a readable NIfTI volume"),
        ("another grid", "segmentation-1.nii.gz: expected the grid of references/segmentation-1.nii"),
    ],
)
@pytest.mark.parametrize("door", [("predictions=shifted",), ("a=perfect", "b=shifted")], ids=["score", "compare"])
def test_bad_masks_are_named_and_the_others_are_scored(what: str, told: str, door: tuple[str], folder: Path) -> None:
    damage(folder, what)
    failed = failed_command("evaluate", *door, "references=references", "output=out", cwd=folder)
    assert told in failed
    assert "1 that cannot be scored" in failed
    for path in folder.glob("*/segmentation-1.nii*"):
        path.unlink()
    run_command("evaluate", *door, "references=references", "output=others", cwd=folder)
    name = "evaluation.json" if door == ("predictions=shifted",) else "comparison.json"
    found, expected = (json.loads((folder / output / name).read_text()) for output in ("out", "others"))
    (unscored,) = found.pop("unscored")
    assert told in unscored
    assert expected.pop("unscored") == []
    assert found == expected
    assert found["patients"] == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "expected predictions=, or a= and b=, or ckpt=; found none of them"),
        (("a=perfect",), "found a="),
        (("predictions=perfect", "ckpt=x"), "found ckpt=, predictions="),
        (("predictions=perfect",), "references: expected a folder with reference masks"),
        (("predictions=perfect", "references=nowhere"), "nowhere: expected a folder with masks"),
        (("predictions=perfect", "references=references", "grid=any"), "grid: expected affine or voxels; found any"),
    ],
)
def test_bad_arguments_are_named(arguments: tuple[str, ...], told: str, folder: Path) -> None:
    assert told in failed_command("evaluate", *arguments, cwd=folder)
    assert not (folder / "evaluation").exists()


def test_what_small_lesions_cost_is_one_block(folder: Path) -> None:
    out = run_command("evaluate", "predictions=shifted", "references=references", "output=out", cwd=folder)
    evaluation = json.loads((folder / "out" / "evaluation.json").read_text())
    sizes = [case["by_size"] for case in evaluation["cases"]]
    assert sum(one[size]["references"] for one in sizes for size in one) == 3
    (size,) = {size for one in sizes for size in one if one[size]["references"]}
    recall = evaluation["summary"]["detection"]["iou>0"][size]["recall"]
    assert recall["value"] == sum(one[size]["iou>0"]["tp"] for one in sizes) / 3
    assert out.count("| found if") == 1
    assert "No FROC: 3 of 3 patients (segmentation-0, segmentation-1, segmentation-2) have no probability map" in out
    assert evaluation["froc"] is None
    assert read_csv(folder / "out" / "froc.csv") == []


def test_maps_of_predict_give_a_froc_with_intervals(folder: Path) -> None:
    for number, labels in enumerate(LABELS):
        path = folder / "shifted" / "probability" / f"segmentation-{number}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        image = nib.Nifti1Image(np.where(labels == 2, 200, 10).astype(np.uint8), AFFINES["oblique"])
        image.header.set_slope_inter(1 / 255, 0)
        nib.save(image, path)
    out = run_command("evaluate", "predictions=shifted", "references=references", "output=out", cwd=folder)
    evaluation = json.loads((folder / "out" / "evaluation.json").read_text())
    assert evaluation["summary"]["froc"]["iou>0.5"]["all"]["at_1_false"] == {
        **{"value": 1.0, "interval": [1.0, 1.0], "undefined": 0},
    }
    assert "FROC at 8 [95 %]" in out
    assert "1.000 [1.000, 1.000]" in out
    assert "No FROC" not in out
    rows = read_csv(folder / "out" / "froc.csv")
    assert len(rows) == len(evaluation["froc"]) == 2 * 4 * 15
    whole = [row for row in rows if (row["overlap"], row["size"]) == ("iou>0.5", "all")]
    recall = {float(row["threshold"]): float(row["recall"]) for row in whole}
    assert (recall[0.01], recall[0.5], recall[0.8]) == (0, 1, 0)  # all of the CT is one lesion; the lesions; nothing
