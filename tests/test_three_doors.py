"""One checkpoint, scored in validation, in test, and from the masks that predict saved: the figures are equal."""

import csv
import json
import shutil
from pathlib import Path

import nibabel as nib
import pytest
from helpers.commands import SMOKE, run_command

# The volumes' slices are 48 x 40 or turned; the network's images are 32 x 32.
TRAIN = (
    *SMOKE,
    "data=lits",
    "data.workers=0",
    "data.preprocess.size=32",
    "data.val_share=0",  # the test patients validate, too, so that both doors see the same
    "data.folds=2",
    "augment=none",
    "loss=dice_ce",
    "model.out_channels=3",
    "optimizer.lr=0.01",
    "trainer.max_epochs=12",
    "trainer.precision=32-true",
)


def test_validation_test_and_saved_masks_give_equal_figures(lits: Path, tmp_path: Path) -> None:
    run_command("train", *TRAIN, f"data.root={lits}", "name=run", cwd=tmp_path)
    run = tmp_path / "runs" / "run"
    result, split = (json.loads((run / name).read_text()) for name in ("result.json", "split.json"))
    axes = set()
    for folder, kind in (("cts", "volume"), ("truth", "segmentation")):
        (tmp_path / folder).mkdir()
        for name in split["test"]:
            shutil.copy(lits / f"{kind}-{name}.nii.gz", tmp_path / folder)
            axes.add(nib.aff2axcodes(nib.load(lits / f"{kind}-{name}.nii.gz").affine))
    assert len(axes) > 1
    checkpoint = f"ckpt={run}/checkpoints/best.ckpt"
    run_command("predict", checkpoint, "input=cts", "output=masks", "device=cpu", "page=false", cwd=tmp_path)
    run_command("evaluate", "predictions=masks", "references=truth", "output=scores", cwd=tmp_path)

    evaluation = json.loads((tmp_path / "scores" / "evaluation.json").read_text())
    summary = evaluation["summary"]
    rows = [row for file in run.glob("metrics/*/metrics.csv") for row in csv.DictReader(file.open())]
    (tested,) = (row for row in rows if row["test/dice"])
    best = max((row for row in rows if row["val/dice"]), key=lambda row: float(row["val/dice"]))
    for structure, prefix in (("lesion", ""), ("liver", "liver/")):
        for score in ("dice", "dice_global", "jaccard", "paper_symbols"):
            value = summary[structure]["dice_per_case" if score == "dice" else score]["value"]
            assert float(tested[f"test/{prefix}{score}"]) == pytest.approx(value, abs=1e-6), (structure, score)
            assert float(best[f"val/{prefix}{score}"]) == pytest.approx(value, abs=1e-6), (structure, score)
            assert 0 < value < 1
    assert result["val_dice"] == pytest.approx(result["scores"]["dice"], abs=1e-6)
    assert result["scores"]["dice_interval"] == pytest.approx(summary["lesion"]["dice_per_case"]["interval"])
    saved = {case["case"].removeprefix("segmentation-"): case for case in evaluation["cases"]}
    for case in result["cases"]:
        for part in ("voxels", "lesion", "detection"):
            assert case[part] == saved[case["case"]][part], part
        for part in ("liver", "tumour_burden"):  # spacing is of the image here, of the labels there
            assert case[part] == pytest.approx(saved[case["case"]][part], rel=1e-6), part
