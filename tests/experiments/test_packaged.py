"""The packaged network is written from a checkpoint and from the evaluations of the folds."""

import json
import re
import shutil
from pathlib import Path

import pytest
from helpers.checkpoints import save_checkpoint, with_model
from helpers.experiments import failed_experiment, run_experiment
from helpers.run_folders import case

from experiments.packaged.__main__ import END, START, write_onnx
from experiments.shared.patients import SAME_PERSON
from lits_seg.common.records import as_plain
from lits_seg.data.fingerprints import fingerprint
from lits_seg.data.grid import to_slices
from lits_seg.evaluation.score_tables import References, write_scores
from lits_seg.inference.exported import ExportedModel
from lits_seg.metrics.statistics import summarise_cases
from lits_seg.models.cost import count_parameters
from lits_seg.packaged import card
from lits_seg.phantom.write import generate_volume
from lits_seg.training.checkpoints import load_module, network_facts

ROOT = Path(__file__).parents[2]
RULES = {"largest_liver": True, "min_lesion_ml": 0.1}
CASES = [[case("a", 5, mapped=True), case("b", 10, 3, mapped=True)], [case("c", 2, mapped=True)]]
ARGUMENTS = (
    "ckpt=run/checkpoints/best.ckpt",
    "evaluations=[fold0,fold1]",
    "output=out",
    "page=page.md",
    *(f"rules.{name}={str(value).lower()}" for name, value in RULES.items()),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run's checkpoint and split, the evaluations of two folds, and a page with old results."""
    (tmp_path / "run/checkpoints").mkdir(parents=True)
    module = save_checkpoint(tmp_path / "run/checkpoints/best.ckpt", settings=with_model(out_channels=3))
    (tmp_path / "run/split.json").write_text(json.dumps({"train": ["1"], "val": [], "test": []}))
    facts = {**as_plain(network_facts(module)), "rules": RULES}
    for number, cases in enumerate(CASES):
        write_scores(tmp_path / f"fold{number}", cases, References("lits", None), facts)
    write_scores(tmp_path / "none", [case("h")], References("healthy", None), facts)
    (tmp_path / "page.md").write_text(f"before {START} earlier results {END} after")
    return tmp_path


def test_the_commands_make_the_phantom_of_the_packaged_network() -> None:
    readme = (ROOT / "experiments/packaged/README.md").read_text()
    cases, size = map(int, re.search(r"lits-seg phantom /data/phantom --cases=(\d+) --size=(\d+)\n", readme).groups())
    split = json.loads((card.FOLDER / card.SPLIT).read_text())
    assert [name for name in split["train"] if name.startswith("phantom-")] == [f"phantom-{n}" for n in range(cases)]
    last = generate_volume(0, case=cases - 1, size=size)
    slices = (to_slices(voxels, last.affine) for voxels in (last.hu, last.labels))
    assert str(fingerprint(*slices)) == split["voxels"]["train"][f"phantom-{cases - 1}"]
    page = (ROOT / "docs/model-card.md").read_text()
    assert f"| the [phantom](phantom.md), synthetic CT | {cases} |" in page


def copy_onnx(checkpoint: Path, path: Path) -> None:
    shutil.copy(card.FOLDER / card.ONNX, path)


def test_the_files_the_card_and_the_page(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.packaged.__main__.write_onnx", copy_onnx)  # the export takes many seconds
    shown = run_experiment("packaged.__main__", *ARGUMENTS, "healthy=none", cwd=folder)
    names = ["card.json", "network.ckpt", "network.onnx", "split.json"]
    assert sorted(path.name for path in (folder / "out").iterdir()) == names
    monkeypatch.setattr(card, "FOLDER", folder / "out")
    found = card.read_card(*names[1:])
    cases = [one for fold in CASES for one in fold]
    dice = summarise_cases(cases)["lesion/dice_per_case"]
    assert (found.patients, found.figures["lesion/dice_per_case"]) == (3, dice)
    assert load_module(folder / "out/network.ckpt").rules.plain() == RULES
    page = (folder / "page.md").read_text()
    assert page.startswith(f"before {START}\n")
    assert page.endswith(f"{END} after")
    assert "earlier results" not in page
    text = page.partition(START)[2].partition(END)[0].strip()
    assert text in shown
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")]
    assert [rows[i] for i in (0, 2, 3, 4)] == ["fold", "0", "1", "all"]
    assert rows[-3:] == ["b", "a", "c"]  # by Dice
    assert f"{dice.value:.3f} [" in text
    assert "< 10 mm" in text
    assert "In 1 scan without lesions: " in text
    assert SAME_PERSON in text
    assert "Averaged by person, the lesion Dice per case is 0." in text
    assert " over 3 persons." in text
    run_experiment("packaged.__main__", *ARGUMENTS, cwd=folder)  # replaces its own files


@pytest.mark.slow
def test_the_exported_file_is_the_checkpoint(folder: Path) -> None:
    write_onnx(folder / "run/checkpoints/best.ckpt", folder / "network.onnx")
    assert ExportedModel(folder / "network.onnx").metadata.checkpoint.path == "best.ckpt"


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("evaluations=[fold0,fold0]",), "fold0, fold0: expected patients, each in one fold; found a, b"),
        (("evaluations=[]",), "expected patients, each in one fold; found none"),
        (("evaluations=[run]",), "run/evaluation.json: expected an evaluation of a checkpoint"),
        (("rules.min_lesion_ml=1",), "evaluation.json: expected the rules of the packaged network"),
        (("page=run/split.json",), "run/split.json: expected a page with <!-- results"),
        (("page=nowhere.md",), "nowhere.md: expected the page of the model card; found no such file"),
        (("output=own",), "own/network.ckpt: expected an unused name for the checkpoint"),
        (("ckpt=alone.ckpt",), "split.json"),
    ],
)
def test_wrong_input_changes_nothing(arguments: tuple[str, ...], expected: str, folder: Path) -> None:
    (folder / "alone.ckpt").write_bytes((folder / "run/checkpoints/best.ckpt").read_bytes())
    (folder / "own").mkdir()
    (folder / "own/network.ckpt").write_text("of another program")
    assert expected in failed_experiment("packaged.__main__", *ARGUMENTS, *arguments, cwd=folder)
    assert "earlier results" in (folder / "page.md").read_text()
    assert not (folder / "out").exists()


@pytest.mark.hostile
def test_the_evaluation_of_another_network_is_named(folder: Path) -> None:
    module = save_checkpoint(
        folder / "run/checkpoints/best.ckpt", settings=with_model(out_channels=3, innermost_width=16)
    )
    expected = f"expected the parameters of the packaged network ({count_parameters(module.network)})"
    assert expected in failed_experiment("packaged.__main__", *ARGUMENTS, cwd=folder)
