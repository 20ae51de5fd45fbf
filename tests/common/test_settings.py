"""A command's settings, validated into dataclasses."""

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from lits_seg.common.errors import InputError
from lits_seg.common.settings import Count, Place, Share, annotations, in_words, read_settings


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
        (
            {"place": True},
            "place: expected one file or folder; found true (a text like this needs inner quotes: '…=\"…\"')",
        ),
        ({"rules": {"share": 1}}, "rules.share: expected a number, at least 0, less than 1; found 1"),
        ({"rules": {"kind": "c"}}, "rules.kind: expected a or b; found c"),
        ({"count": float("nan")}, "count: expected a finite number; found nan"),
        ({"count": 2_000_000}, "count: expected a whole number, at least 1, at most 1000000, or null; found 2000000"),
        ({"place": ""}, "place: expected one file or folder; found an empty text"),
        ({"place": "\udcff"}, "place: expected a text in UTF-8; found '\\udcff'"),
        ({"rules": 1}, "rules: expected a mapping; found 1"),
        ({"rulez": 1}, "rulez: expected one of place, count, exact, rules (did you mean rules?); found an unknown key"),
        (
            {"rules": {"shares": 1}},
            "rules.shares: expected one of share, kind (did you mean share?); found an unknown key",
        ),
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
