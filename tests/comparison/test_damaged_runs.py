"""A damaged run is named with its field and left out; the others are reported."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.commands import failed_command, run_command
from helpers.run_folders import LIGHT, case, run, write_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lits_seg.common.errors import InputError
from lits_seg.comparison.conflicts import without_conflicts
from lits_seg.comparison.finished_runs import Found, find_runs
from lits_seg.comparison.froc_figure import froc
from lits_seg.comparison.pool import pool
from lits_seg.comparison.text import report_text

pytestmark = pytest.mark.hostile

NAMES = ["$\\foo$", "$", "<b>&amp;|x", "_x", "x" * 900, "../../secret", "{}%s", "\\alpha^2_{3}"]
WRONG = [None, "text", -1, -0.5, [], {}, [3], True, float("nan"), float("inf"), 1e308, 10**400, "a\nb", "\x00"]


def places(plain: Any, place: tuple = ()) -> list[tuple]:
    parts = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    return [place, *(found for key, part in parts for found in places(part, (*place, key)))]


def put(plain: Any, place: tuple, value: Any) -> Any:
    if not place:
        return value
    copy = plain.copy()
    copy[place[0]] = put(plain[place[0]], place[1:], value)
    return copy


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    write_run(folder / "run", [case("1", missed=3, mapped=True), case("2", wrong=2, mapped=True)])
    return folder


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_in_sizes_and_froc_is_named_or_reported(data: st.DataObject, sound: Path, tmp_path: Path) -> None:
    plain = json.loads((sound / "run" / "result.json").read_text())
    inside = [place for place in places(plain) if {"by_size", "froc"} & set(place)]
    place = data.draw(st.sampled_from(inside))
    value = data.draw(st.sampled_from([*WRONG, 0, 1, 7]))
    shutil.copytree(sound, tmp_path, dirs_exist_ok=True)
    (tmp_path / "run" / "result.json").write_text(json.dumps(put(plain, place, value)))
    told = ""
    try:
        found = find_runs(tmp_path)
    except InputError as error:
        told = str(error)
    if told:
        assert "run/result.json: expected" in told
        return
    groups = pool(found.finished, "unet, deconv")
    assert "Lesions by size" in report_text(groups, found, 0.02)
    assert all(froc(group).startswith("<svg") for group in groups if group.variants[0].froc)


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (("cases", 0, "froc", "thresholds"), [0.5], "froc of 1: a row for each threshold"),
        (("cases", 1, "froc", "iou>0"), [[1, 0, 0, 0]] * 3, "froc of 2: a row for each threshold"),
        (("cases", 0, "froc", "iou>0.5", 3), [1, 0, 0], "over_half.3"),
        (("cases", 0, "froc", "iou>0.5", 3, 0), 10.5, "found lesions of each size, at most"),
        (("cases", 0, "by_size", "<10mm", "iou>0.5", "fp"), -1, "fp: at least 0"),
        (("cases", 0, "by_size", ">20mm"), None, "by_size.large"),
    ],
)
def test_sizes_and_froc_that_no_run_has_are_named(
    place: tuple, value: Any, told: str, sound: Path, tmp_path: Path
) -> None:
    plain = json.loads((sound / "run" / "result.json").read_text())
    shutil.copytree(sound, tmp_path, dirs_exist_ok=True)
    (tmp_path / "run" / "result.json").write_text(json.dumps(put(plain, place, value)))
    with pytest.raises(InputError) as error:
        find_runs(tmp_path)
    assert told in str(error.value)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_in_a_result_is_named_or_read(data: st.DataObject, sound: Path, tmp_path: Path) -> None:
    plain = json.loads((sound / "run" / "result.json").read_text())
    place = data.draw(st.sampled_from(places(plain)))
    value = data.draw(st.sampled_from(WRONG))
    shutil.copytree(sound, tmp_path, dirs_exist_ok=True)
    (tmp_path / "run" / "result.json").write_text(json.dumps(put(plain, place, value)))
    told = ""
    try:
        find_runs(tmp_path)
    except InputError as error:
        told = str(error)
    assert not told or "run/result.json: expected" in told


def broken(file: str, content: bytes) -> Callable[[Path], None]:
    return lambda run: (run / file).write_bytes(content) and None


def folder_instead(file: str) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        (run / file).unlink()
        (run / file).mkdir()

    return damage


def pipe_instead(file: str) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        (run / file).unlink()
        os.mkfifo(run / file)

    return damage


def config(old: str, new: str) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        text = (run / "config.yaml").read_text()
        assert old in text
        (run / "config.yaml").write_text(text.replace(old, new))

    return damage


METRICS = "metrics/version_0/metrics.csv"
DAMAGED = {
    **{
        f"{Path(file).stem}{number}": broken(file, content)
        for file in ("result.json", "config.yaml", "versions.json")
        for number, content in enumerate((b"", b"[]", b"3", b"\xff\xfe", b"{"))
    },
    **{
        f"{Path(file).stem}-{make.__name__}": make(file)
        for file in ("result.json", "config.yaml", "versions.json", METRICS)
        for make in (folder_instead, pipe_instead)
    },
    **{
        f"metrics{number}": broken(METRICS, content)
        for number, content in enumerate(
            (
                b"\xff",
                b"a,b\n1,2\n",
                b"step,a\n1,x\n",
                b"step,a\n1,2,3\n",
                b"step,a\n-1,2\n",
                b"step,a\n" + b"9" * 99 + b",1\n",
            )
        )
    },
    "alias": broken("config.yaml", b"model: &a {}\ndata: *a\n"),
    "upsample": config("upsample:\n  - deconv\n  - deconv", "upsample:\n  - 3\n  - deconv"),
    "generate": config("generate: null", "generate: abc"),
    "bytes": config("generate: null", "generate: {a: !!binary aGVsbG8=}"),
    "surrogate": broken("versions.json", b'{"torch": "\\ud800"}'),
}


def test_damaged_runs_are_named_and_the_others_reported(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    cases = [case("1", missed=3), case("2", wrong=2)]
    for number, name in enumerate(NAMES):  # names are no formula, no HTML and no path
        write_run(runs / f"odd{number}", cases, seed=number, model=name, device=name, data=name)
    write_run(runs / "light", [*cases[:1], case("../../secret")], "dsc_unet, subpixel")
    Image.new("1", (9000, 9000)).save(runs / "light" / "overlays" / "1.png")
    Image.new("RGB", (60, 20), "red").save(tmp_path / "secret.png")
    for number, (name, damage) in enumerate(DAMAGED.items()):
        write_run(runs / name, cases, seed=100 + number)
        damage(runs / name)
    odd = os.fsdecode(b"bytes\xff\n|")
    write_run(runs / odd, cases, seed=99)
    told = failed_command("report", "runs=runs", "output=out", cwd=tmp_path)
    assert f"found {len(DAMAGED)} left out:" in told
    for name in DAMAGED:
        assert f"\n  {name}: {name}/" in told
    text, page = ((tmp_path / "out" / f"report.{kind}").read_text() for kind in ("md", "html"))
    for name in ("dsc_unet, subpixel", "$\\foo$, deconv", "../../secret, deconv"):
        assert name in text
    assert "<b>&amp;\\|x, deconv" in text
    assert "<b>" not in page.replace("&lt;b&gt;", "")
    for table in text.split("\n\n"):
        if table.startswith("|"):
            assert len({line.replace("\\|", "").count("|") for line in table.splitlines()}) == 1


def test_runs_that_contradict_others_are_named(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path / f"run{seed}", [case("1", missed=3)], seed=seed)
    shutil.copytree(tmp_path / "run2", tmp_path / "copy")
    write_run(tmp_path / "other", [case("1")], seed=7)
    plain = json.loads((tmp_path / "other" / "result.json").read_text())
    changed = put(plain, ("cases", 0, "voxels", "lesion"), [20, 20, 30])
    (tmp_path / "other" / "result.json").write_text(json.dumps(changed))
    found = without_conflicts(find_runs(tmp_path))
    assert [run.name for run in found.finished] == ["run0", "run1"]
    assert found.unreadable.keys() == {"copy", "run2", "other"}
    assert found.unreadable["copy"] == "tested 1 with seed 2 as run2 did"
    assert "the reference of 1 has 30 lesion voxels" in found.unreadable["other"]


def test_runs_that_all_contradict_each_other_are_an_error() -> None:
    twice = Found([run("a", [case("1"), case("2")]), run("b", [case("2"), case("3")], fold=1)])
    with pytest.raises(InputError, match=r"each patient tested once .*\n  a: tested 2 with seed 0 as b did\n  b: "):
        without_conflicts(twice)
    other = case("1")
    counts = other.voxels.lesion
    other = replace(other, voxels=replace(other.voxels, lesion=counts._replace(reference=counts.reference + 1)))
    with pytest.raises(
        InputError, match=r"expected the same references.*\n  a: the reference of 1 has 20 lesion voxels"
    ):
        without_conflicts(Found([run("a", [case("1")]), run("b", [other], LIGHT)]))


def test_linked_runs_are_found_and_counted_once(tmp_path: Path) -> None:
    write_run(tmp_path / "disk" / "far", [case("1")])
    write_run(tmp_path / "runs" / "near", [case("1")], seed=1)
    (tmp_path / "runs" / "linked").symlink_to(tmp_path / "disk")
    (tmp_path / "runs" / "again").symlink_to(tmp_path / "runs" / "near")
    (tmp_path / "runs" / "loop").symlink_to(tmp_path / "runs")
    assert [run.name for run in find_runs(tmp_path / "runs").finished] == ["linked/far", "near"]


def test_a_sound_folder_ends_well(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "only", [case("1")])
    assert "warning" not in run_command("report", "runs=runs", cwd=tmp_path)
