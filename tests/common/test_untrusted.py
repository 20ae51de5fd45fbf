"""Files of others: only regular files of limited size are opened, and nothing in them is run or resolved."""

import os
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lits_seg.common.errors import InputError
from lits_seg.common.records import read_json
from lits_seg.common.untrusted import LARGEST_YAML, read_yaml, require_file, require_stored

LAUGHS = "a: &a [x, x]\n" + "".join(f"{k}: &{k} [*{j}, *{j}]\n" for j, k in zip("abcdefgh", "bcdefghi", strict=True))


def test_a_configuration_is_read_without_resolving_anything(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: ${oc.env:HOME}\nb: [1, 2.5, null]\n1: 1e-3\n")
    assert read_yaml(tmp_path / "a.yaml", "a config") == {"a": "${oc.env:HOME}", "b": [1, 2.5, None], "1": 0.001}


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("text", "found"),
    [
        (LAUGHS, "an alias"),
        ("a: " + "[" * 60_000, "more than 50 levels"),
        ("\n".join(" " * depth + "a:" for depth in range(100)), "more than 50 levels"),
        ("[1, 2]", "a list or a single value"),
        ("text", "a list or a single value"),
        ("a: !!python/object/apply:os.system [touch ran]", "could not determine a constructor"),
        ("a: [1", "while parsing"),
        ("a: ${b", ""),
        ("a: \x01", "special characters"),
        ("a: 1\n---\nb: 2", "single document"),
        ("x" * (LARGEST_YAML + 1), "0.3 MB"),
        (b"\xff\xfe", "can't decode"),
    ],
)
def test_a_configuration_that_is_none_is_named(text: str | bytes, found: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=rf"a\.yaml: expected a config \(YAML\).*; found .*{found}"):
        read_yaml(path, "a config")


@pytest.mark.hostile
@settings(max_examples=60, deadline=None)
@given(st.one_of(st.binary(max_size=60), st.text("ab:[]{}&*!|>'\"#%@`,?-\n \t0", max_size=60).map(str.encode)))
def test_any_bytes_are_a_configuration_or_an_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    for read in (read_yaml, read_json):
        with suppress(InputError):
            read(path, "a config")


@pytest.mark.hostile
@pytest.mark.parametrize("content", ["[" * 100_000, "1" * 5000, "{'a': 1}", ""])
def test_json_that_is_none_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError, match=r"a\.json: expected a result \(JSON\); found "):
        read_json(tmp_path / "a.json", "a result")


@pytest.mark.hostile
def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for path, found in (
        (tmp_path / "pipe", "a device or pipe"),
        (tmp_path / "link", "a device or pipe"),
        (tmp_path, "a folder"),
        (tmp_path / "none", "no such file"),
        (tmp_path / ("x" * 300), "File name too long"),
        (Path("a\0b"), "embedded null byte"),
    ):
        with pytest.raises(InputError, match=f"expected a file; found {found}"):
            require_file(path, "a file")


@pytest.mark.hostile
def test_a_zip_file_is_not_larger_unpacked(tmp_path: Path) -> None:
    for name, method in (("stored", zipfile.ZIP_STORED), ("bomb", zipfile.ZIP_DEFLATED)):
        with zipfile.ZipFile(tmp_path / name, "w", method) as file:
            file.writestr("zeros", bytes(10**6))
    assert require_stored(tmp_path / "stored", "a model") == ["zeros"]
    with pytest.raises(InputError, match=r"expected a model, stored without compression; found 1\.0 MB when unpacked"):
        require_stored(tmp_path / "bomb", "a model")
