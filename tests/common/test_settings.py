"""A command's settings: validated into dataclasses, and read as typed."""

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from lits_seg.common.errors import InputError
from lits_seg.common.settings import Count, Place, Share, annotations, in_words, keep_texts, read_settings


@pytest.mark.parametrize(
    ("argument", "kind", "expected"),
    [
        ("input=117", str, "input='117'"),
        ("input=2026_11_25", str, "input='2026_11_25'"),
        ("input=1e3", str, "input='1e3'"),
        ("input=true", str, "input='true'"),
        ("input=null", str, "input='null'"),
        ("input=null", str | None, "input=null"),
        ("input=117", str | None, "input='117'"),
        ("++input=117", str, "++input='117'"),
        ("input=CT.nii.gz", str, "input=CT.nii.gz"),
        ("input='my CT'", str, "input='my CT'"),
        ("input=[a,b]", str, "input=[a,b]"),
        ("input=${runs}", str, "input=${runs}"),
        ("input=a b(1)", str, "input=a b(1)"),
        ("input=117", int, "input=117"),
        ("input=a.ckpt", list[str], "input=[a.ckpt]"),
        ("input=117", list[str] | None, "input=['117']"),
        ("input=[a,b]", list[str] | None, "input=[a,b]"),
        ("input=null", list[str] | None, "input=null"),
        ("other=117", str, "other=117"),
        ("--help", str, "--help"),
    ],
)
def test_texts_stay_as_typed(argument: str, kind: Any, expected: str) -> None:
    assert keep_texts([argument], {"input": kind}) == [expected]


@dataclass(frozen=True)
class Rules:
    share: Share = 0.1
    kind: Literal["a", "b"] = "a"

    def __post_init__(self) -> None:
        if self.share == 0.5:
            raise InputError("rules.share", "no half", self.share)


@dataclass(frozen=True)
class Command:
    place: Place
    count: Count | None
    exact: bool
    rules: Rules


PLAIN = {"place": "here", "count": None, "exact": True, "rules": {"share": 0.2, "kind": "b"}}


def test_a_configuration_becomes_a_dataclass() -> None:
    assert read_settings(Command, {**PLAIN, "hydra": {}}) == Command("here", None, True, Rules(0.2, "b"))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"count": 0}, "count: expected a whole number, at least 1, or null; found 0"),
        ({"count": 1.5}, "count: expected a whole number, at least 1, or null; found 1.5"),
        ({"exact": 1}, "exact: expected true or false; found 1"),
        ({"place": None}, "place: expected one file or folder; found null"),
        ({"place": True}, "place: expected one file or folder; found true"),
        ({"rules": {"share": 1}}, "rules.share: expected a number, at least 0, less than 1; found 1"),
        ({"rules": {"kind": "c"}}, "rules.kind: expected a or b; found c"),
        ({"rules": {"share": 0.5}}, "rules.share: expected no half; found 0.5"),
    ],
)
def test_a_value_that_does_not_fit_is_named_by_its_key(changed: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError) as error:
        read_settings(Command, {**PLAIN, **changed})
    assert str(error.value) == expected


def test_annotations_are_listed_by_dotted_key() -> None:
    found = dict(annotations(Command))
    assert list(found) == ["place", "count", "exact", "rules.share", "rules.kind"]
    assert in_words(found["rules.kind"]) == "a or b"
