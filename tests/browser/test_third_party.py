"""Other people's files are the pinned ones, and are adapted as plain scripts."""

import json
from pathlib import Path

import pytest
from helpers.browser import NEEDS_PARTS

from lits_seg.browser import third_party
from lits_seg.common.errors import InputError
from lits_seg.common.files import sha256


@NEEDS_PARTS
def test_every_part_is_the_pinned_file() -> None:
    for name, part in third_party.listed().items():
        assert sha256(third_party.PARTS / name) == part.sha256


def test_every_package_is_pinned_and_locked_without_addresses() -> None:
    wanted = json.loads((third_party.FOLDER / "package.json").read_text())["dependencies"]
    lock = json.loads((third_party.FOLDER / "package-lock.json").read_text())["packages"]
    assert {part.package for part in third_party.listed().values()} == wanted.keys()
    assert {name: lock[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    assert all("integrity" in package for name, package in lock.items() if name)
    assert not any("resolved" in package for package in lock.values())


@NEEDS_PARTS
def test_modules_become_constants() -> None:
    runtime, lossless = (third_party.script(name) for name in third_party.MODULES)
    assert runtime.startswith("const ort = (() => {")
    assert "import.meta" not in runtime
    assert "InferenceSession: " in runtime
    assert lossless.startswith("const jpegLossless = (() => {")
    assert "Decoder: " in lossless
    assert "export{" not in runtime + lossless


@pytest.mark.hostile
def test_another_file_in_a_package_is_refused(tmp_path: Path) -> None:
    for part in third_party.listed().values():
        path = tmp_path / "node_modules" / part.package / part.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("something else")
    with pytest.raises(InputError, match="SHA-256"):
        third_party.fetch(tmp_path / "node_modules", tmp_path / "parts")
