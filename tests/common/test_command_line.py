"""Texts of the command line reach a command as they were typed."""

from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from lits_seg.common.command_line import keep_texts


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
        ("input=a b(1)", str, "input='a b(1)'"),
        ("input=Müller", str, "input='Müller'"),
        ("input=it's", str, r"input='it\'s'"),
        ("input=a,b", str, "input='a,b'"),
        ("input=[2024] CT", str, "input='[2024] CT'"),
        ("input=[2026_11_25,a,117]", list[str], "input=['2026_11_25',a,'117']"),
        ("input=1", int | str, "input=1"),
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


@pytest.mark.parametrize("kind", [str, str | None, list[str], list[str] | None])
@pytest.mark.parametrize("place", ["{}", "{}x", "x{}", "x{}y", "/a b/{}.nii"])
def test_special_characters_need_no_quotes(place: str, kind: Any) -> None:
    for character in (
        "ü",
        "患",
        "#",
        "&",
        "~",
        " ",
        "=",
        "$",
        "%",
        "(",
        ")",
        "{",
        "]",
        ",",
        "'",
        '"',
        ";",
        "|",
        "\\",
        "@",
    ):
        text = place.format(character)
        (argument,) = keep_texts([f"input={text}"], {"input": kind})
        read = OverridesParser.create().parse_override(argument).value()
        assert read == (text if kind in (str, str | None) else [text])


def test_commas_separate_values_in_a_sweep_only() -> None:
    assert keep_texts(["-m", "name=1,Müller,c"], {"name": str}) == ["-m", "name='1','Müller',c"]
    assert keep_texts(["-m", "name=choice(1,2)"], {"name": str}) == ["-m", "name=choice(1,2)"]
    assert keep_texts(["name=1,2"], {"name": str}) == ["name='1,2'"]
