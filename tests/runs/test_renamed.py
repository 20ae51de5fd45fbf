"""A run folder that version 0.1.0 wrote: its checkpoint and its data are read, its scores are met again."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.commands import run_command
from hydra.utils import get_object
from omegaconf import OmegaConf

from lits_seg.common.errors import InputError
from lits_seg.runs.folder import require_same_run
from lits_seg.runs.renamed import RENAMED, with_new_names
from lits_seg.training.checkpoints import load_module

FILES = Path(__file__).parents[1] / "files"
RUN = FILES / "run_0.1.0"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with the run and its volumes, which this version would make otherwise."""
    root = tmp_path_factory.mktemp("old")
    shutil.copytree(RUN, root / "runs" / "old")
    shutil.copytree(FILES / "phantom_0.1.0", root / "data" / "smoke")
    run_command("evaluate", "ckpt=runs/old/checkpoints/best.ckpt", "output=scores", "accelerator=cpu", cwd=root)
    return root


def targets(settings: Any) -> set[str]:
    """All names of classes in plain containers."""
    if isinstance(settings, dict):
        own = {settings["_target_"]} if "_target_" in settings else set()
        return own.union(*map(targets, settings.values()))
    return set().union(*map(targets, settings)) if isinstance(settings, list) else set()


def test_it_scores_on_its_own_patients_as_it_did(folder: Path) -> None:
    again = json.loads((folder / "scores" / "evaluation.json").read_text())
    result = json.loads((RUN / "result.json").read_text())
    assert [case["case"] for case in again["cases"]] == json.loads((RUN / "split.json").read_text())["test"]
    assert result["scores"]["dice"] > 0.1
    for name in ("dice", "dice_global", "jaccard"):
        assert again["scores"][name] == pytest.approx(result["scores"][name], abs=0.01), name


def test_it_predicts(folder: Path) -> None:
    arguments = ("ckpt=runs/old/checkpoints/best.ckpt", "input=data/smoke/volume-0.nii.gz", "device=cpu")
    run_command("predict", *arguments, cwd=folder)
    report = json.loads((folder / "predictions" / "segmentation-0.json").read_text())
    assert report["liver_ml"] > 0


def test_it_is_compared(folder: Path) -> None:
    text = run_command("report", "runs=runs", "output=report", cwd=folder)
    assert "dsc_unet, subpixel" in text
    assert f"{json.loads((RUN / 'result.json').read_text())['scores']['dice']:.3f}" in text


def test_its_network_is_loaded_with_its_loss() -> None:
    module = load_module(RUN / "checkpoints" / "best.ckpt")
    assert type(module.loss).__module__ == "lits_seg.training.losses"
    assert len(module.loss.weights) == 3


def test_all_that_its_config_names_is_there() -> None:
    before = OmegaConf.to_container(OmegaConf.load(RUN / "config.yaml"))
    names = targets(with_new_names(before))
    assert len(names & targets(before)) < len(targets(before)) - 6
    for name in names:
        assert callable(get_object(name)), name


@pytest.mark.parametrize("old", [name for name in RENAMED if not name.endswith(".")])
def test_names_that_moved_alone(old: str) -> None:
    assert callable(get_object(with_new_names({"_target_": old})["_target_"]))


def test_a_name_of_today_and_a_text_that_is_none_stay() -> None:
    today = {"_target_": "lits_seg.data.augment.RotateZoomBend", "note": "lits_seg.losses.", "list": [1, None]}
    assert with_new_names(today) == today


def test_new_names_make_no_other_run_of_it(tmp_path: Path) -> None:
    shutil.copy(RUN / "config.yaml", tmp_path)
    now = OmegaConf.create(with_new_names(OmegaConf.to_container(OmegaConf.load(RUN / "config.yaml"))))
    require_same_run(tmp_path, now)
    now.loss.balance = 1.0
    with pytest.raises(InputError, match=r"loss\.balance was 0\.5, now 1\.0"):
        require_same_run(tmp_path, now)
