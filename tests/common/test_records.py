import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

from lits_seg.common.errors import InputError
from lits_seg.common.records import as_plain, from_plain, read_record
from lits_seg.common.tables import json_text


class Pair(NamedTuple):
    first: int | float
    second: int | float


@dataclass(frozen=True)
class Part:
    value: float
    other: float | None
    pair: Pair


@dataclass(frozen=True)
class Whole:
    over: Part = field(metadata={"key": "part>0"})
    parts: tuple[Part, ...]
    values: tuple[float, float] | None = None
    named: dict[str, float] = field(default_factory=dict)


WHOLE = Whole(Part(0.1, None, Pair(3, 0.5)), (Part(2.0, 3.0, Pair(1, 2)),), (0.1, 0.2), {"a": 1.5})


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "whole.json").write_text(json_text(as_plain(WHOLE)))
    read = read_record(Whole, tmp_path / "whole.json")
    assert read == WHOLE
    assert type(read.over.pair.first) is int  # a count stays one


def test_keys_are_those_of_the_metadata() -> None:
    assert list(as_plain(WHOLE)) == ["part>0", "parts", "values", "named"]


def test_null_is_nan_for_a_float_and_none_for_an_optional_one() -> None:
    plain = json.loads(json_text(as_plain(Part(math.nan, None, Pair(1, 2)))))
    assert plain == {"value": None, "other": None, "pair": [1, 2]}
    read = from_plain(Part, plain, "here")
    assert math.isnan(read.value)
    assert read.other is None
    nested = from_plain(Whole, {"part>0": plain, "parts": [plain], "values": [None, 1], "named": {"a": None}}, "here")
    assert math.isnan(nested.over.value)
    assert math.isnan(nested.parts[0].value)
    assert math.isnan(nested.values[0])
    assert math.isnan(nested.named["a"])


def test_unknown_keys_are_ignored_and_missing_ones_take_their_default() -> None:
    plain = as_plain(WHOLE)
    del plain["values"]
    assert from_plain(Whole, {**plain, "unknown": 1}, "here").values is None


def test_what_does_not_fit_is_named() -> None:
    part = {"value": "x", "other": None, "pair": [1, 2]}
    with pytest.raises(InputError, match=r"^here: expected a Whole of this version; found over\.value: "):
        from_plain(Whole, {"part>0": part, "parts": []}, "here")
    with pytest.raises(InputError, match=r"expected a part of this version; found the file: "):
        from_plain(Part, [1], "here", "a part")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json: expected a Whole \(JSON\); found no such file"):
        read_record(Whole, tmp_path / "none.json")
    (tmp_path / "damaged.json").write_text("{")
    with pytest.raises(InputError, match=r"damaged\.json: expected a Whole \(JSON\)"):
        read_record(Whole, tmp_path / "damaged.json")
