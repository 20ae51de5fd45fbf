"""Splits by the names of patients."""

import json
import unicodedata
from pathlib import Path

import pytest

from lits_seg.common.errors import InputError
from lits_seg.data.checks import CaseCheck
from lits_seg.data.fingerprints import Fingerprint
from lits_seg.data.named_splits import count_folds, named_split, read_split
from lits_seg.data.split_record import SplitRecord
from lits_seg.data.stored_case import StoredCase

CHECK = CaseCheck("LPS", [-1000, 200], 60, [1, 0, 0], 0, [])


def lits(*numbers: int) -> list[StoredCase]:
    voxels = Fingerprint("", "", frozenset())
    return [StoredCase(Path(), str(n), (1, 1, 1), (1, 1, 1), 0.001, (9,), (5,), CHECK, voxels) for n in numbers]


def names(split: dict[str, list[StoredCase]]) -> dict[str, list[str]]:
    return {part: [case.name for case in cases] for part, cases in split.items()}


def test_ircadb_tests_exactly_its_patients() -> None:
    found = names(named_split("ircadb", lits(*range(20, 60)), 0.15, 0))
    assert found["test"] == [str(n) for n in range(28, 48)]
    assert len(found["val"]) == 3
    assert sorted((name for part in found.values() for name in part), key=int) == [str(n) for n in range(20, 60)]


def test_a_file_names_all_parts_and_others_are_not_used(tmp_path: Path) -> None:
    wanted = {"train": ["5", "3"], "val": ["1"], "test": ["2"]}
    (tmp_path / "split.json").write_text(json.dumps(wanted))
    assert names(named_split(str(tmp_path / "split.json"), lits(*range(9)), 0.15, 0)) == wanted


def test_names_in_files_may_have_decomposed_letters(tmp_path: Path) -> None:
    name, decomposed = (unicodedata.normalize(form, "Müller") for form in ("NFC", "NFD"))
    record = SplitRecord(["1"], [], [name], {"test": {name: "a b"}})
    ours, theirs = tmp_path / "split.json", tmp_path / "splits_final.json"
    ours.write_text(
        json.dumps({"train": ["1"], "val": [], "test": [decomposed], "voxels": {"test": {decomposed: "a b"}}})
    )
    theirs.write_text(json.dumps([{"train": ["1"], "val": [decomposed]}], ensure_ascii=False))
    assert read_split(str(ours), 0) == SplitRecord.read(ours) == record
    assert read_split(str(theirs), 0).test == [name]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"train": ["5"], "val": ["1"], "test": ["99"]}', "names of usable patients in data.root; found others: 99"),
        ('{"train": ["5"], "val": ["5"], "test": ["2"]}', "every patient once; found more than once: 5"),
        ('{"train": ["5"], "val": ["1"]}', "a list of names of patients for each part.*; found test: "),
        ("[1", r"\(JSON\); found no JSON \(Expecting"),
    ],
)
def test_damaged_files_are_named(content: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "split.json").write_text(content)
    with pytest.raises(InputError, match=expected):
        named_split(str(tmp_path / "split.json"), lits(*range(9)), 0.15, 0)


def nnunet(folder: Path, folds: list) -> str:
    path = folder / "splits_final.json"
    path.write_text(json.dumps(folds))
    return str(path)


def test_a_fold_of_nnunet_tests_its_val_and_validates_on_others(tmp_path: Path) -> None:
    path = nnunet(tmp_path, [{"train": ["1", "2", "3"], "val": ["0"]}, {"train": ["0", "3", "5"], "val": ["2", "1"]}])
    found = names(named_split(path, lits(*range(9)), 0.15, 0, folds=2, fold=1))
    assert (found["test"], len(found["val"]), sorted(found["train"] + found["val"])) == (["2", "1"], 1, ["0", "3", "5"])
    without = names(named_split(path, lits(*range(9)), None, 0, folds=2, fold=0))
    assert (sorted(without["train"]), without["val"], without["test"]) == (["1", "2", "3"], [], ["0"])
    assert count_folds(path) == 2
    assert count_folds("ircadb") is None


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("folds", "told"),
    [
        ([], r"splits_final\.json: expected at least one fold; found none"),
        ([{"train": ["1"], "val": ["0"]}] * 3, r"data\.folds: expected 3, the folds in .*; found 2"),
        ([{"train": ["1"], "val": ["0"]}], r"data\.fold: expected one of the 1 folds in .*; found 1"),
        ([{}, {"train": ["1", "x", "y"], "val": ["0"]}], r"names of usable patients in data\.root; found others: x, y"),
        ([{}, {"train": ["1", "0"], "val": ["0"]}], "every patient once; found more than once: 0"),
        ([{}, {"train": ["1", "0"], "val": []}], "at least one patient each"),
        ([{}, {"train": [1], "val": ["0"]}], r"splits_final\.json, fold 1: expected lists of names .*train\.0"),
        ([{}, {"train": ["1"]}], r"splits_final\.json, fold 1: expected lists of names .*val: Field required"),
        ([{}, ["1"]], r"splits_final\.json, fold 1: expected lists of names"),
        ([{}, None], r"splits_final\.json, fold 1: expected lists of names"),
    ],
    ids=str,
)
def test_wrong_folds_of_nnunet_are_named(folds: list, told: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=told):
        named_split(nnunet(tmp_path, folds), lits(*range(9)), 0.15, 0, folds=2, fold=1)


def test_a_missing_file_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"or a JSON file; found nosuch\.json, and there is no such file"):
        named_split("nosuch.json", lits(*range(9)), 0.15, 0)
    with pytest.raises(
        InputError, match=r"the split of a run .*, or nnU-Net's splits_final\.json .*; found no such file"
    ):
        read_split("nosuch.json", 0)


@pytest.mark.parametrize(("split", "numbers"), [("ircadb", range(9)), ("ircadb", range(28, 40)), ("msd", range(60))])
def test_splits_without_patients_are_named(split: str, numbers: range) -> None:
    with pytest.raises(InputError, match=r"data\.split"):
        named_split(split, lits(*numbers), 0.15, 0)
