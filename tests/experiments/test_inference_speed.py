"""The table of inference: every network and engine has its figures, and wrong logits are an error."""

import csv
import io
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.experiments import NARROW, failed_experiment, overrides, run_experiment
from helpers.networks import MODELS, NARROW_OWN
from torch import Tensor
from torch.nn import functional

from experiments.inference_speed.measure import _step_seconds, measure, thread_counts
from experiments.shared.engines import ENGINES, Engine, NotHereError, Run, require_agreement
from experiments.shared.networks import NETWORKS, Network, choose, make, synthetic_slices
from lits_seg.common.dependencies import install
from lits_seg.common.errors import InputError

CHOSEN = ["dsc_unet/subpixel", "unet/deconv"]
SMALL = ("size=64", "batch=1", "rounds=1", "output=out")
DIFFERENCE = "relative_rms_difference_from_pytorch"


@pytest.mark.slow
def test_the_command_fills_every_cell(tmp_path: Path) -> None:
    for package in ("onnxscript", "onnxruntime", "openvino"):
        pytest.importorskip(package)
    arguments = (*SMALL, f"networks=[{','.join(CHOSEN)}]", overrides(*NARROW))
    shown = run_experiment("inference_speed.__main__", *arguments, cwd=tmp_path)
    folder = tmp_path / "out"
    assert (folder / "inference.md").read_text() in shown
    assert (folder / "inference.png").read_bytes().startswith(b"\x89PNG")
    here = [one for one in ENGINES if one.precision != "bfloat16" or "no bf16" not in shown]
    rows = list(csv.DictReader(io.StringIO((folder / "inference.csv").read_text())))
    counts = thread_counts()
    assert len(rows) == len(CHOSEN) * len(here) * len(counts)
    for row in rows:
        int8 = "int8" in row["engine"]
        skipped = ("network", "engine", DIFFERENCE, *(["share_of_limit"] if int8 else []))
        assert all(float(value) > 0 for key, value in row.items() if key not in skipped)
        assert float(row[DIFFERENCE]) < (1 if int8 or "bf16" in row["engine"] else 1e-4)
    for row in (row for row in rows if row["network"] == "unet/deconv"):
        assert float(row["times_as_fast_as_unet_in_this_engine"]) == 1
        assert float(row["training_step_to_unet"]) == 1
    assert {int(row["threads"]) for row in rows} == set(counts)
    tables = [line for line in shown.splitlines() if line.startswith("| `")]
    assert len(tables) == len(CHOSEN) * (3 + len(counts))
    targets = shown.partition("## ONNX Runtime, fp32")[2].splitlines()
    ours = next(line for line in targets if line.startswith("| `dsc_unet/subpixel`"))
    assert f"| {' / '.join(['1.0 x'] * len(counts))} " in ours
    assert len(here) < len(ENGINES) or not any("–" in line for line in tables)


def test_every_network_of_the_configurations_is_here() -> None:
    measured = {overrides[0].removeprefix("model=") for overrides in NETWORKS.values()}
    assert set(MODELS) - measured == {"dsc_unet_literal", "dsc_unet_pad", "detector"}


@pytest.mark.parametrize(("name", "context", "classes"), [("driu", 1, 2), ("han", 5, 3), ("vorontsov", 1, 3)])
def test_networks_have_the_slices_and_classes_of_their_originals(
    name: str, context: int, classes: int, tmp_path: Path
) -> None:
    images = synthetic_slices(64, 2)
    network = make(name, images, tmp_path, NARROW_OWN[name], file=False)
    assert (network.image.shape, network.logits.shape) == ((1, context, 64, 64), (1, classes, 64, 64))
    assert 0 < _step_seconds(network, images, []) < math.inf


def test_a_step_without_memory_is_one_note(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_memory(*_: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory: 9 bytes")

    images = synthetic_slices(32, 1)
    network = make("dsc_unet/subpixel", images, tmp_path, NARROW, file=False)
    monkeypatch.setattr(network.module.network, "forward", no_memory)
    notes: list[str] = []
    assert [_step_seconds(network, images, notes) for _ in range(2)] == [math.inf, math.inf]
    assert notes == ["`dsc_unet/subpixel` is not trained: too little memory for a step of 1 slices"]
    monkeypatch.setattr(network.module.network, "forward", lambda images: images.view(7, -1))
    with pytest.raises(RuntimeError, match="invalid"):
        _step_seconds(network, images, notes)


@pytest.mark.slow  # all engines that are there, once more
def test_missing_engines_are_noted_and_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for package in ("onnxruntime", "openvino"):
        monkeypatch.setitem(sys.modules, package, None)
    arguments = (*SMALL, "networks=[dsc_unet/subpixel]", overrides(*NARROW))
    shown = run_experiment("inference_speed.__main__", *arguments, cwd=tmp_path)
    for package in ("onnxruntime", "openvino"):
        assert f"{package} is missing ({install('export')})" in shown
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out/inference.csv").read_text())))
    assert {row["engine"] for row in rows} == {"PyTorch, contiguous", "PyTorch, channels-last"}
    assert {row["times_as_fast_as_unet_in_pytorch"] for row in rows} == {""}  # the UNet was not measured


def _off(share: float) -> Engine:
    """PyTorch, with logits that are wrong by a share."""

    def prepare(network: Network, threads: int) -> Run:
        logits = ENGINES[0].prepare(network, threads)
        return lambda: logits() * np.float32(1 + share)

    return replace(ENGINES[0], name="other", prepare=prepare)


def test_wrong_logits_are_an_error_and_more_than_rounding_is_noted() -> None:
    measured = measure(32, 1, 1, ["dsc_unet/subpixel"], NARROW, engines=[_off(1e-3)])
    assert any("other: logits 1.0e-03 off" in note for note in measured.notes)
    assert math.isnan(measured.costs[0].file_bytes)
    with pytest.raises(RuntimeError, match=r"dsc_unet/subpixel.* in other: logits 1\.0e-01 off"):
        measure(32, 1, 1, ["dsc_unet/subpixel"], NARROW, engines=[_off(0.1)])


def _rounded_maxima(features: Tensor, size: int, return_indices: bool) -> tuple[Tensor, Tensor]:
    found, places = functional.max_pool2d_with_indices(features * (1 + 1e-4 * torch.rand_like(features)), size)
    return features.flatten(2).gather(2, places.flatten(2)).view_as(found), places


def test_almost_equal_maxima_may_be_anywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = make("segnet", synthetic_slices(64, 2), tmp_path, NARROW_OWN["segnet"], file=False)
    monkeypatch.setattr("lits_seg.models.vgg.functional.max_pool2d", _rounded_maxima)
    logits = ENGINES[0].prepare(network, 1)()
    monkeypatch.undo()
    far, note = require_agreement(network, ENGINES[0], logits)
    assert far > ENGINES[0].wrong
    assert "equal maxima have no certain place; 99." in note
    for wrong in (-logits, logits[..., 1:]):
        with pytest.raises(RuntimeError, match=r"`segnet` in .* off PyTorch's"):
            require_agreement(network, ENGINES[0], wrong)
    with pytest.raises(NotHereError, match=r"left out, since its logits are 2\.0e"):
        require_agreement(network, ENGINES[-1], -logits)


def test_other_names_and_sizes_are_one_clear_error(tmp_path: Path) -> None:
    def failed(*arguments: str) -> str:
        return failed_experiment("inference_speed.__main__", *SMALL, *arguments, cwd=tmp_path)

    shown = failed("networks=[dsc_unet/subpixel,resnet]")
    assert shown.startswith("error: networks: expected some of dsc_unet/subpixel, ")
    assert shown.endswith("smp_mobilenet; found resnet")
    assert failed("networks=nnunet_2d").startswith("error: size: expected a size that nnunet_2d accepts; found 64")
    assert "network" in failed("network=unet/deconv")
    assert not (tmp_path / "out").exists()


def test_a_missing_rival_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    chosen, notes = choose(None)
    assert chosen == [name for name in NETWORKS if name not in ("smp_unet", "smp_mobilenet")]
    assert all(install("rivals") in note for note in notes)
    assert len(notes) == 2
    with pytest.raises(InputError, match="networks"):
        choose("dsc_unet")
