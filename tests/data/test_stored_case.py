"""A damaged case of the store is written anew, and told in one line."""

import io
import json
import os
import pickle
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lits_seg.common.errors import InputError
from lits_seg.data.layouts import find_cases
from lits_seg.data.preprocess import Preprocess
from lits_seg.data.store import store_cases
from lits_seg.data.stored_case import StoredCase

pytestmark = pytest.mark.hostile

PREPROCESS = Preprocess(size=32)
FILES = ("case.json", "image.npy", "label.npy", "truth.npy")


class Trap:
    """Writes a file if it is unpickled."""

    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.sign,))


@pytest.fixture
def store(lits: Path, tmp_path: Path) -> Path:
    store_cases(find_cases(lits)[:2], PREPROCESS, tmp_path / "store")
    return tmp_path / "store"


def folder_of(store: Path) -> Path:
    return next(store.glob("*/0-*"))


def again(lits: Path, store: Path) -> list[StoredCase]:
    return store_cases(find_cases(lits)[:2], PREPROCESS, store)


def require_as_new(lits: Path, store: Path, told: pytest.LogCaptureFixture) -> None:
    """Two cases as a new store has them, after one line about the damaged case."""
    told.clear()
    found = again(lits, store)
    assert told.text.count("the case is written anew") == 1
    assert len(told.text.splitlines()) == 1
    for case, whole in zip(found, again(lits, store.parent / "whole"), strict=True):
        assert (case.name, case.shape, case.spacing, case.check) == (
            whole.name,
            whole.shape,
            whole.spacing,
            whole.check,
        )
        for name in FILES[1:]:
            np.testing.assert_array_equal(np.load(case.folder / name), np.load(whole.folder / name))
    told.clear()
    again(lits, store)
    assert not told.text
    assert not [path for path in store.glob("*/.*") if path.is_dir()]


def saved(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def another_shape(path: Path) -> bytes:
    array = np.load(path)
    return saved(array.reshape(array.shape[::-1]))


ARRAY_DAMAGE: dict[str, Callable[[Path], bytes]] = {
    "float64": lambda path: saved(np.load(path).astype(np.float64)),
    "int8": lambda path: saved(np.load(path).astype(np.int8)),
    "Fortran order": lambda path: saved(np.asfortranarray(np.load(path))),
    "another shape": another_shape,
    "one slice less": lambda path: saved(np.load(path)[1:]),
    "objects": lambda path: saved(np.array([Trap(path.parents[3] / "ran")], object)),
    "a pickle": lambda path: pickle.dumps(Trap(path.parents[3] / "ran")),
    "an archive": lambda path: b"PK\x03\x04" + bytes(200),
    "huge shape": lambda path: path.read_bytes().replace(b"'shape': (", b"'shape': (9", 1),
}
JSON_DAMAGE = {
    "null": b"null",
    "a list": b"[]",
    "empty mapping": b"{}",
    "deep": b"[" * 100_000,
    "long number": b"9" * 10_000,
    "not UTF-8": b"\xff\xfe",
    "NaN": b"NaN",
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["cut", "empty", "gone", "zeros", "longer", "a folder", "a pipe", "a dead link"])
def test_damaged_files(kind: str, name: str, lits: Path, store: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = folder_of(store) / name
    content = path.read_bytes()
    path.unlink()
    if kind == "a folder":
        path.mkdir()
    elif kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a dead link":
        path.symlink_to("nowhere")
    elif kind != "gone":
        half = content[: len(content) // 2]
        path.write_bytes({"cut": half, "empty": b"", "zeros": bytes(len(content)), "longer": content + b"x"}[kind])
    require_as_new(lits, store, caplog)


@pytest.mark.parametrize("kind", ARRAY_DAMAGE)
def test_other_arrays(kind: str, lits: Path, store: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("image.npy", "truth.npy"):
        path = folder_of(store) / name
        path.write_bytes(ARRAY_DAMAGE[kind](path))
        require_as_new(lits, store, caplog)
    assert not (store.parent / "ran").exists()


@pytest.mark.parametrize("kind", JSON_DAMAGE)
def test_other_descriptions(kind: str, lits: Path, store: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder_of(store) / "case.json").write_bytes(JSON_DAMAGE[kind])
    require_as_new(lits, store, caplog)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_description_with_another_value_is_not_trusted(data: st.DataObject, lits: Path, store: Path) -> None:
    path = folder_of(store) / "case.json"
    whole = json.loads(path.read_text())
    key = data.draw(st.sampled_from(sorted(whole)))
    value = data.draw(st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.floats()) | st.just({}))
    path.write_text(json.dumps({**whole, key: value}))
    assert [case.name for case in again(lits, store)] == ["0", "1"]
    assert json.loads(path.read_text()) == whole


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1), byte=st.integers(1, 255), name=st.sampled_from(FILES))
def test_a_flipped_byte_where_types_and_sizes_are_told(
    place: float, byte: int, name: str, lits: Path, store: Path
) -> None:
    """Bytes in the middle of an array are not compared, since this would read the whole store at each start."""
    path = folder_of(store) / name
    whole = path.read_bytes()
    content = bytearray(whole)
    content[int(place * (min(len(whole), 10_000 if name == "case.json" else 128) - 1))] ^= byte
    path.write_bytes(content)
    again(lits, store)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("kind", ["a file", "a dead link", "an empty folder"])
def test_something_else_in_the_place_of_a_case(
    kind: str, lits: Path, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = folder_of(store)
    shutil.rmtree(folder)
    if kind == "a file":
        folder.write_text("x")
    elif kind == "a dead link":
        folder.symlink_to("nowhere")
    else:
        folder.mkdir()
    require_as_new(lits, store, caplog)


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff"], ids=str)
def test_the_description_of_the_pre_processing_comes_back(
    content: bytes | None, lits: Path, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (path,) = store.glob("*/preprocess.json")
    whole = path.read_bytes()
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    caplog.clear()
    again(lits, store)
    assert path.read_bytes() == whole
    assert len(caplog.text.splitlines()) == 1
    assert str(path) in caplog.text


@pytest.mark.parametrize("place", ["a file", "a file/below", "a dead link", "/proc/nowhere", "x" * 300])
def test_a_store_that_cannot_be_written_is_one_error(place: str, lits: Path, tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("kept")
    (tmp_path / "a dead link").symlink_to(tmp_path / "a file" / "nowhere")
    with pytest.raises(InputError, match=r"expected a folder to write the slice store to \(store=…\)"):
        again(lits, tmp_path / place)
    assert (tmp_path / "a file").read_text() == "kept"


def test_a_complete_store_is_read_where_nothing_can_be_written(
    lits: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Read-only file system")

    for name in ("mkdir", "rename", "replace", "write_text", "write_bytes"):
        monkeypatch.setattr(Path, name, refuse)
    assert len(again(lits, store)) == 2


def test_two_processes_mend_the_same_damage(lits: Path, store: Path) -> None:
    for case in store.glob("*/[01]-*"):
        (case / "case.json").write_text("{")
    with ThreadPoolExecutor(4) as pool:
        assert [len(cases) for cases in pool.map(again, [lits] * 4, [store] * 4)] == [2] * 4
    for case in again(lits, store):
        assert len(case.images) == len(case)
    assert sorted(path.name for path in folder_of(store).iterdir()) == sorted(FILES)


@pytest.mark.parametrize(
    "name", ["x" * 200, "患者 1", "<script>alert(1)</script>".replace("/", "⁄"), "a\nb", "'; --", "%s{0}"]
)
def test_names_of_cases(name: str, lits: Path, tmp_path: Path) -> None:
    for kind, folder in (("volume", "imagesTr"), ("segmentation", "labelsTr")):
        (tmp_path / folder).mkdir()
        shutil.copy(lits / f"{kind}-0.nii.gz", tmp_path / folder / f"{name}.nii.gz")
    for _ in range(2):
        (case,) = store_cases(find_cases(tmp_path), PREPROCESS, tmp_path / "store")
        assert case.name == name
