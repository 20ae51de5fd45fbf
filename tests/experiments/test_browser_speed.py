"""The tables of the browser page's speed, on a CT of a few slices."""

import csv
import shutil
from pathlib import Path

import pytest
from helpers.experiments import failed_experiment, run_experiment
from PIL import Image

from experiments.shared.named_runs import read_times
from lits_seg.browser.third_party import PARTS

NEEDED = pytest.mark.skipif(
    not (PARTS.is_dir() and shutil.which("chromedriver")), reason="needs Chromium, and make browser-parts"
)


@pytest.mark.slow
@NEEDED
def test_both_engines_and_the_page_are_measured(tmp_path: Path) -> None:
    shown = run_experiment("browser_speed.__main__", "slices=8", "rounds=1", "output=out", cwd=tmp_path)
    text = (tmp_path / "out" / "browser.md").read_text()
    assert text in shown
    lines = [line.strip("|").split("|") for line in text.splitlines() if line[:2] == "| " and "--" not in line]
    rows = [[cell.strip() for cell in line] for line in lines]
    slices, pages = rows[1:3], rows[4:7]
    assert [row[0] for row in slices] == ["1", "2"]
    assert all(float(ms) > 0 for row in slices for ms in row[1:3])
    assert [row[:2] for row in pages] == [["one file, from a disk", "1"], *(["site, from a server", n] for n in "12")]
    assert all(0 < float(start) < 120 and 0 < float(ct) < 120 for _, _, start, ct, *_ in pages)
    assert all(50 < int(before) <= int(peak) < 600 for *_, before, peak in pages)
    assert Image.open(tmp_path / "out" / "phone.png").size == (390, 844)
    assert "differ from native ones: 0." in text


@pytest.mark.slow
@NEEDED
def test_networks_agree_with_pytorch_in_the_browser(tmp_path: Path) -> None:
    small = ("size=64", "rounds=1", "networks=[strided_unet/context5,vorontsov]", "output=out")
    shown = run_experiment("browser_speed.networks", *small, cwd=tmp_path)
    assert (tmp_path / "out" / "networks.md").read_text() in shown
    with (tmp_path / "out" / "networks.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["network"] for row in rows] == ["strided_unet/context5"] * 2 + ["vorontsov"] * 2
    assert all(float(row["milliseconds_per_slice"]) > 0 for row in rows)
    web = [row for row in rows if row["engine"] == "WebAssembly"]
    assert len(web) == 2
    assert all(float(row["relative_rms_difference_from_pytorch"]) < 1e-4 for row in web)
    times = read_times(tmp_path / "out" / "networks.csv", ["WebAssembly"])
    assert times == {row["network"]: float(row["milliseconds_per_slice"]) for row in web}


@NEEDED
def test_no_network_to_time_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.shared.networks.find_spec", lambda name: None)
    shown = failed_experiment("browser_speed.networks", "networks=[smp_unet]", "output=out", cwd=tmp_path)
    assert shown.startswith("error: networks: expected at least one that can be timed here; found `smp_unet` is left")
    assert not (tmp_path / "out").exists()
