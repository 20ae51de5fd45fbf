"""The networks of other papers: the published counts, and each is trained by the command and exported."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.commands import run_command
from helpers.networks import NARROW_OWN, model_config
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from torch import nn

from lits_seg.exporters.onnx import export_onnx
from lits_seg.models.cost import count_macs, count_parameters

# Parameters and 10^9 multiply-accumulates at 256 px. Parameters were counted from the authors' code or tables, except
# those of drozdzal_2018 and han, whose widths are a choice.
COUNTS = [
    ("segnet", 1, 2, 29_443_010, 40.0),
    ("segnet", 3, 11, 29_449_355, 40.4),
    ("fcn8s", 3, 2, 134_270_278, 27.7),
    ("fcn8s", 3, 21, 134_362_751, 27.7),
    ("fcn8s", 1, 3, 134_273_993, 27.6),
    ("ternausnet", 1, 2, 22_926_274, 25.6),
    ("ternausnet", 3, 1, 22_927_393, 25.7),
    ("mobilenet_v1", 1, 2, 4_306_338, 1.9),
    ("drozdzal_2016", 1, 1, 11_470_369, 2.0),
    ("drozdzal_2018", 1, 2, 13_411_219, 5.0),
    ("driu", 1, 2, 14_917_637, 20.6),
    ("driu", 3, 2, 14_917_637, 20.6),
    ("denseunet_161", 3, 3, 49_527_843, 24.3),
    ("han", 5, 3, 28_225_950, 70.9),
    ("vorontsov", 1, 3, 2_104_898, 3.0),
]


def built(model: str, *overrides: str) -> nn.Module:
    torch.manual_seed(0)
    return instantiate(model_config(f"model={model}", *overrides))


@pytest.mark.parametrize(("model", "channels", "classes", "parameters", "gmac"), COUNTS)
def test_counts(model: str, channels: int, classes: int, parameters: int, gmac: float) -> None:
    with torch.device("meta"):
        network = built(model, f"model.in_channels={channels}", f"model.out_channels={classes}")
        macs = count_macs(network, channels)
    assert count_parameters(network) == parameters
    assert macs / 1e9 == pytest.approx(gmac, abs=0.06)


def test_drozdzal_2016_with_one_block_at_either_end() -> None:
    kinds, widths = (
        "model.kinds=[simple,bottleneck,bottleneck,bottleneck,bottleneck]",
        "model.widths=[32,128,256,512,1024]",
    )
    options = ("model.repetitions=[1,3,8,10,3]", "model.last=conv_norm", "model.out_channels=1")
    with torch.device("meta"):
        network = built("drozdzal_2016", kinds, widths, *options)
        assert count_parameters(network) == 11_451_745
        assert count_macs(network) / 1e9 == pytest.approx(4.89, abs=0.01)


@pytest.mark.parametrize(("part", "parameters"), [("encoder", 3_206_400), ("decoder", 1_099_648)])
def test_mobilenet_is_the_classifier_and_a_narrow_decoder(part: str, parameters: int) -> None:
    assert count_parameters(getattr(built("mobilenet_v1"), part)) == parameters


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (("model=vorontsov", "model.out_channels=2"), "expected 3"),
        (("model=vorontsov", "model.widths=[8,8]"), "6 numbers"),
        (("model=drozdzal_2016", "model.kinds=[simple,simple,simple,simple,simple,dense]"), "found dense"),
    ],
)
def test_bad_settings_are_named(override: tuple[str, ...], expected: str) -> None:
    with pytest.raises(InstantiationException, match=expected):
        instantiate(model_config(*override))


def test_segnet_passes_positions_only() -> None:
    network = built("segnet", *NARROW_OWN["segnet"]).eval()
    seen: list[torch.Tensor] = []
    for level in network.decoder:
        level.register_forward_pre_hook(lambda level, inputs: seen.append(inputs[0]))
    network(torch.rand(1, 1, 64, 64))
    for features in seen:  # one value in each 2 x 2 pixels
        blocks = features.unfold(2, 2, 2).unfold(3, 2, 2).flatten(-2)
        assert ((blocks != 0).sum(-1) <= 1).all()


def test_the_tandem_has_two_decisions_in_three_logits() -> None:
    network = built("vorontsov", *NARROW_OWN["vorontsov"]).eval()
    kept: dict[str, torch.Tensor] = {}
    for name in ("liver", "lesion"):
        head = getattr(network, name)
        head.register_forward_hook(lambda head, inputs, output, name=name: kept.update({name: output[:, 0]}))
    images = torch.rand(2, 1, 64, 64)
    logits = network(images)
    with torch.no_grad():  # in the middle of the logits, so that all classes occur
        for name in kept:
            getattr(network, name).bias -= kept[name].median()
    logits = network(images)
    expected = torch.where(kept["lesion"] > 0, 2, (kept["liver"] > 0).long())
    assert torch.equal(logits.argmax(dim=1), expected)
    assert set(expected.unique().tolist()) == {0, 1, 2}


@pytest.mark.slow
@pytest.mark.parametrize("model", NARROW_OWN)
def test_the_command_trains_it_and_onnx_runs_it(model: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    run_command(
        "train", f"model={model}", *NARROW_OWN[model], "data=smoke", "trainer=cpu", "debug=fast", "name=one",
        cwd=tmp_path,
    )  # fmt: skip
    network, image = built(model, *NARROW_OWN[model]).eval(), torch.rand(1, 1, 64, 64)
    export_onnx(network, {"image": image}, ["logits"], tmp_path / "network.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"image": image.numpy()})
    expected = network(image).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4 * max(1, np.abs(expected).max()))
