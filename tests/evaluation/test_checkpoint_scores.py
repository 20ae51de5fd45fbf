"""A checkpoint scored on other volumes than its run's; tests/test_train.py scores one on its run's own."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.checkpoints import save_checkpoint, with_model
from helpers.commands import failed_command, run_command

from lits_seg.data.fingerprints import fingerprint

ARGUMENTS = ("ckpt=run/checkpoints/net.ckpt", "accelerator=cpu", "workers=0")


@pytest.fixture
def folder(tmp_path: Path, lits: Path) -> Path:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    save_checkpoint(tmp_path / "run" / "checkpoints" / "net.ckpt", settings=with_model(out_channels=3))
    (tmp_path / "lits").symlink_to(lits)
    return tmp_path


def test_all_volumes_are_scored_and_known_patients_are_named(folder: Path) -> None:
    (folder / "run" / "split.json").write_text(json.dumps({"train": ["0", "x"], "val": ["3"], "test": ["4"]}))
    out = run_command("evaluate", *ARGUMENTS, "references=lits", cwd=folder)
    evaluation = json.loads((folder / "evaluation" / "evaluation.json").read_text())
    assert [case["case"] for case in evaluation["cases"]] == [str(number) for number in range(8)]
    (warning,) = (line for line in out.splitlines() if line.endswith(": 0, 3"))
    assert warning.startswith("warning: this checkpoint was trained or selected on")
    assert (folder / "evaluation" / "overlays" / "7.png").exists()


def test_other_patients_of_the_same_name_are_no_warning_if_their_voxels_were_compared(folder: Path) -> None:
    marks = {"train": {"0": str(fingerprint(*np.zeros((2, 4, 8, 8), np.int16)))}}
    split = {"train": ["0", "1"], "val": [], "test": [], "voxels": marks}
    (folder / "run" / "split.json").write_text(json.dumps(split))
    out = run_command("evaluate", *ARGUMENTS, "references=lits", cwd=folder)
    (warning,) = (line for line in out.splitlines() if line.startswith("warning: this checkpoint was trained"))
    assert warning.endswith("on patients of the same name: 1")


def test_without_volumes_or_a_run_there_is_nothing_to_score(folder: Path) -> None:
    told = failed_command("evaluate", *ARGUMENTS, cwd=folder)
    assert "net.ckpt: expected references=FOLDER" in told
    for wrong in ("precision=64-true", "accelerator=abacus"):
        told = failed_command("evaluate", *ARGUMENTS, "references=lits", wrong, cwd=folder)
        assert f"{wrong.partition('=')[0]}: expected" in told
    assert not (folder / "evaluation").exists()


@pytest.mark.hostile
def test_the_slice_whose_logits_are_not_finite_is_named(folder: Path) -> None:
    module = save_checkpoint(folder / "run" / "checkpoints" / "net.ckpt")
    state = module.state_dict()
    state["network.logits.weight"].fill_(3e38)  # finite, unlike their products
    content = {"state_dict": state, "hyper_parameters": dict(module.hparams)}
    torch.save(content, folder / "run" / "checkpoints" / "net.ckpt")
    told = failed_command("evaluate", *ARGUMENTS, "references=lits", cwd=folder)
    assert "expected finite logits; found NaN or infinity in slice 0 of 0 " in told
    assert not (folder / "evaluation").exists()
