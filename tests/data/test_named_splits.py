"""Splits by the names of patients."""

import json
from pathlib import Path

import pytest

from lits_seg.common.errors import InputError
from lits_seg.data.checks import CaseCheck
from lits_seg.data.fingerprints import Fingerprint
from lits_seg.data.named_splits import named_split
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


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"train": ["5"], "val": ["1"], "test": ["99"]}', "names of patients in data.root; found others: 99"),
        ('{"train": ["5"], "val": ["5"], "test": ["2"]}', "every patient once; found more than once: 5"),
        ('{"train": ["5"], "val": ["1"]}', "a list of names of patients for each part.*; found test: "),
        ("[1", "JSON"),
    ],
)
def test_damaged_files_are_named(content: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "split.json").write_text(content)
    with pytest.raises(InputError, match=expected):
        named_split(str(tmp_path / "split.json"), lits(*range(9)), 0.15, 0)


@pytest.mark.parametrize(("split", "numbers"), [("ircadb", range(9)), ("ircadb", range(28, 40)), ("msd", range(60))])
def test_splits_without_patients_are_named(split: str, numbers: range) -> None:
    with pytest.raises(InputError, match=r"data\.split"):
        named_split(split, lits(*numbers), 0.15, 0)
