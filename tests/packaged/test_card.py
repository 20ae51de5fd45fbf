"""The packaged files belong to their card, and every setting of a network knows their name."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.commands import failed_command, run_command

from lits_seg.common.errors import InputError
from lits_seg.data.fingerprints import fingerprint
from lits_seg.data.layouts import find_cases
from lits_seg.data.volumes import read_case
from lits_seg.packaged import card
from lits_seg.packaged.card import CARD, CHECKPOINT, ONNX, packaged_file, read_card


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the packaged files, which tests may damage."""
    folder = shutil.copytree(card.FOLDER, tmp_path / "copy")
    monkeypatch.setattr(card, "FOLDER", folder)
    return folder


def test_the_files_belong_to_the_card_and_are_small() -> None:
    found = read_card(*read_card().sha256)
    assert found.sha256.keys() == {ONNX, CHECKPOINT, "split.json"}
    assert all((card.FOLDER / name).stat().st_size <= 6_000_000 for name in found.sha256)
    assert found.facts().keys() == {"network", "trained on", "measured on", "use"}
    assert f"{found.patients} CTs" in found.facts()["measured on"]
    assert "lesion Dice per case 0." in found.facts()["measured on"]


def test_other_names_are_paths() -> None:
    assert packaged_file("./packaged", CHECKPOINT) == "./packaged"
    assert packaged_file("packaged", ONNX) == str(card.FOLDER / ONNX)


def test_the_checkpoint_is_the_network_without_optimizer() -> None:
    import torch

    stored = torch.load(card.FOLDER / CHECKPOINT, weights_only=True)
    assert stored.keys() == {"state_dict", "hyper_parameters"}


def another(folder: Path) -> None:
    (folder / ONNX).write_bytes((folder / ONNX).read_bytes()[:-1] + b"?")


def without_card(folder: Path) -> None:
    (folder / CARD).unlink()


def without_network(folder: Path) -> None:
    (folder / ONNX).unlink()


def no_json(folder: Path) -> None:
    (folder / CARD).write_text("{")


def other_fields(folder: Path) -> None:
    (folder / CARD).write_text(json.dumps({**json.loads((folder / CARD).read_text()), "patients": "many"}))


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (another, r"copy/network\.onnx: expected the file of card\.json, with SHA-256 \w{64} .*; found \w{64}$"),
        (without_card, r"copy/card\.json: expected the card of the packaged network .* found no such file$"),
        (without_network, r"copy/network\.onnx: expected a file of the packaged network .* found no such file$"),
        (no_json, r"copy/card\.json: expected the card .*\(JSON\); found"),
        (other_fields, r"copy/card\.json: expected the card .* of this version; found patients: "),
    ],
)
def test_a_file_that_does_not_belong_is_one_error(
    damage: Callable[[Path], None], expected: str, copy: Path, tmp_path: Path
) -> None:
    damage(copy)
    with pytest.raises(InputError, match=expected):
        packaged_file("packaged", ONNX)
    (tmp_path / "CT.nii.gz").write_bytes(b"is not read before the network is there")
    assert "copy" in failed_command("predict", "input=CT.nii.gz", cwd=tmp_path)
    assert not (tmp_path / "predictions").exists()


@pytest.mark.hostile
def test_every_command_names_a_checkpoint_that_does_not_belong(copy: Path, tmp_path: Path) -> None:
    (copy / CHECKPOINT).write_bytes(b"another")
    for command, *arguments in (
        ("predict", "ckpt=packaged", "input=CT.nii.gz"),
        ("predict", "ckpt=net.ckpt", "liver_ckpt=packaged", "input=CT.nii.gz"),
        ("evaluate", "ckpt=packaged", "references=lits"),
        ("evaluate", "ckpt=net.ckpt", "liver_ckpt=packaged", "references=lits"),
        ("export", "ckpt=net.ckpt", "liver_ckpt=packaged", "references=lits"),
        ("export", "references=lits"),
    ):
        assert "network.ckpt: expected the file of card.json" in failed_command(command, *arguments, cwd=tmp_path)
    assert sorted(tmp_path.iterdir()) == [copy]


def test_the_packaged_network_is_scored_on_others_and_not_on_its_own_patients(
    copy: Path, lits: Path, tmp_path: Path
) -> None:
    (tmp_path / "one").mkdir()
    for file in lits.glob("*-0.nii*"):
        (tmp_path / "one" / file.name).symlink_to(file)
    settings = ("ckpt=packaged", "references=one", "workers=0", "accelerator=cpu")
    assert "1 patient of one" in run_command("evaluate", *settings, cwd=tmp_path)
    told = json.loads((tmp_path / "evaluation/evaluation.json").read_text())
    assert told["checkpoint"]["sha256"] == read_card().sha256[CHECKPOINT]
    assert told["rules"]["largest_liver"]
    volume, labels = read_case(find_cases(lits)[0])
    marks = {"train": {"0": str(fingerprint(volume.slices, labels.slices))}}
    (copy / "split.json").write_text(json.dumps({"train": ["0"], "val": [], "test": [], "voxels": marks}))
    assert "the same CT twice: 0 (tested now) and 0 (train)" in failed_command("evaluate", *settings, cwd=tmp_path)
