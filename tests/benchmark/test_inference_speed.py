"""The table of inference: every network and engine has its figures, and wrong logits are an error."""

import csv
import io
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from helpers.commands import failed_command, run_command
from hydra import initialize_config_dir

from lits_seg.benchmark import engines, inference, networks
from lits_seg.benchmark.inference_figure import dice_figure
from lits_seg.cli import CONF
from lits_seg.common.errors import InputError

NARROW = ("model.encoder_widths=[8,8,16,16]", "model.innermost_width=32", "model.decoder_widths=[16,16,16,16]")
CHOSEN = ["dsc_unet/subpixel", "unet/deconv"]
SMALL = ("size=64", "batch=1", "rounds=1", "ct=0", "output=out")


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CHOSEN:
        monkeypatch.setitem(networks.NETWORKS, name, (*networks.NETWORKS[name], *NARROW))


@pytest.fixture
def configs() -> Iterator[None]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def test_the_command_fills_every_cell(tmp_path: Path) -> None:
    for package in ("onnxscript", "onnxruntime", "openvino"):
        pytest.importorskip(package)
    shown = run_command("benchmark.__main__", *SMALL, f"networks=[{','.join(CHOSEN)}]", cwd=tmp_path)
    folder = tmp_path / "out" / "inference_speed"
    assert (folder / "inference.md").read_text() in shown
    assert (folder / "inference.png").read_bytes().startswith(b"\x89PNG")
    here = [one for one in engines.ENGINES if one.precision != "bfloat16" or "no bf16" not in shown]
    rows = list(csv.DictReader(io.StringIO((folder / "inference.csv").read_text())))
    counts = inference.thread_counts()
    assert len(rows) == len(CHOSEN) * len(here) * len(counts)
    for row in rows:
        int8 = "int8" in row["engine"]
        skipped = ("network", "engine", _DIFFERENCE, *(["share_of_limit"] if int8 else []))
        assert all(float(value) > 0 for key, value in row.items() if key not in skipped)
        assert float(row[_DIFFERENCE]) < (1 if int8 or "bf16" in row["engine"] else 1e-4)
    for row in (row for row in rows if row["network"] == "unet/deconv"):
        assert float(row["times_as_fast_as_unet_in_this_engine"]) == 1
        assert float(row["training_step_to_unet"]) == 1
    assert {int(row["threads"]) for row in rows} == set(counts)
    tables = [line for line in shown.splitlines() if line.startswith("| `")]
    assert len(tables) == len(CHOSEN) * (2 + len(counts))
    assert len(here) < len(engines.ENGINES) or not any("–" in line for line in tables)


@pytest.mark.usefixtures("configs")
def test_dice_against_cost(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(networks, "export_onnx", lambda *_: 1 / 0)
    measured = inference.measure(32, batch=1, rounds=1, names=["dsc_unet/subpixel"])
    header = "model,decoder,dice_per_case,dice_per_case_low,dice_per_case_high\n"
    (tmp_path / "report.csv").write_text(f"{header}dsc_unet,subpixel,0.5,0.4,0.6\nunet,deconv,0.6,0.5,0.7\n")
    axes = dice_figure(measured, tmp_path / "report.csv").axes
    assert [one.containers[0].lines[0].get_ydata().tolist() for one in axes] == [[0.5], [0.5]]
    assert axes[0].containers[0].lines[0].get_xdata()[0] == measured.costs[0].parameters
    for text, told in ((f"{header}unet,deconv,0.6,0.5,0.7\n", "found unet/deconv"), ("a\n1\n", "expected report.csv")):
        (tmp_path / "report.csv").write_text(text)
        with pytest.raises(InputError, match=told):
            dice_figure(measured, tmp_path / "report.csv")


_DIFFERENCE = "relative_rms_difference_from_pytorch"


def test_engines_that_are_missing_are_told_and_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for package in ("onnxruntime", "openvino"):
        monkeypatch.setitem(sys.modules, package, None)
    shown = run_command("benchmark.__main__", *SMALL, "networks=[dsc_unet/subpixel]", cwd=tmp_path)
    for package in ("onnxruntime", "openvino"):
        assert f"{package} is missing (`pip install 'lits_seg[export]'`)" in shown
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out/inference_speed/inference.csv").read_text())))
    assert {row["engine"] for row in rows} == {"PyTorch, contiguous", "PyTorch, channels-last"}
    assert {row["times_as_fast_as_unet_in_pytorch"] for row in rows} == {""}  # it was not among the networks


@pytest.mark.usefixtures("configs")
def test_wrong_logits_are_an_error_and_what_is_more_than_rounding_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def off(share: float) -> engines.Engine:
        def prepare(network: networks.Network, threads: int) -> engines.Run:
            logits = engines.ENGINES[0].prepare(network, threads)
            return lambda: logits() * np.float32(1 + share)

        return replace(engines.ENGINES[0], name="other", prepare=prepare)

    monkeypatch.setattr(networks, "export_onnx", lambda *_: 1 / 0)  # takes seconds, and nobody wants the file
    monkeypatch.setattr(inference, "ENGINES", (off(1e-3),))
    measured = inference.measure(32, batch=1, rounds=1, names=["dsc_unet/subpixel"])
    assert any("other: logits 1.0e-03 off" in note for note in measured.notes)
    assert math.isnan(measured.costs[0].file_bytes)
    monkeypatch.setattr(inference, "ENGINES", (off(0.1),))
    with pytest.raises(RuntimeError, match=r"dsc_unet/subpixel.* in other: logits 1\.0e-01 off"):
        inference.measure(32, batch=1, rounds=1, names=["dsc_unet/subpixel"])


def test_other_names_and_sizes_are_one_clear_error(tmp_path: Path) -> None:
    shown = failed_command("benchmark.__main__", *SMALL, "networks=[dsc_unet/subpixel,resnet]", cwd=tmp_path)
    assert shown.startswith("error: networks: expected some of dsc_unet/subpixel, ")
    assert shown.endswith("smp_mobilenet; found resnet")
    shown = failed_command("benchmark.__main__", *SMALL, "networks=nnunet_2d", cwd=tmp_path)
    assert shown.startswith("error: size: expected one that nnunet_2d takes; found 64")
    assert not (tmp_path / "out").exists()


def test_a_rival_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        networks, "find_spec", lambda name: None if name in networks.PACKAGES.values() else find_spec(name)
    )
    chosen, notes = networks.choose(None)
    assert chosen == [name for name in networks.NETWORKS if name != "smp_mobilenet"]
    assert "lits_seg[rivals]" in notes[0]
    with pytest.raises(InputError, match="networks"):
        networks.choose("dsc_unet")
