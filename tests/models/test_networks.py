"""The same tests for every model with every decoder."""

from functools import cache
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import nn

from lits_seg.cli import CONF
from lits_seg.common.errors import InputError
from lits_seg.models.cost import count_macs, count_parameters
from lits_seg.models.split_block import SplitResidualBlock
from lits_seg.models.unet import split_decoder
from lits_seg.models.upsample import UPSAMPLERS

NARROW = ("model.encoder_widths=[8,8,16,16]", "model.innermost_width=64", "model.decoder_widths=[64,32,16,8]")
DECODERS = sorted(path.stem for path in (CONF / "decoder").glob("*.yaml"))


@cache
def config(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", list(overrides)).model


MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
OURS = [model for model in MODELS if "upsample" in config(f"model={model}")]


@pytest.fixture(params=[(model, decoder) for model in OURS for decoder in DECODERS], ids="-".join)
def network(request: pytest.FixtureRequest) -> nn.Module:
    model, decoder = request.param
    torch.manual_seed(0)
    return instantiate(config(f"model={model}", f"decoder={decoder}", *NARROW))


def test_every_pair_is_here() -> None:
    assert len(OURS) * len(DECODERS) >= 4 * 8


@pytest.mark.parametrize("size", [(64, 64), (37, 53), (17, 16), (1, 1)])
def test_logits_have_the_images_size(network: nn.Module, size: tuple[int, int]) -> None:
    logits = network.eval()(torch.rand(2, 1, *size))
    assert logits.shape == (2, 2, *size)
    assert torch.isfinite(logits).all()


def test_padding_does_not_reach_far(network: nn.Module) -> None:
    image = torch.rand(1, 1, 40, 48)
    padded = nn.functional.pad(image, (0, 0, 0, 8), mode="replicate")
    assert torch.allclose(network.eval()(image), network(padded)[..., :40, :], atol=1e-5)


def test_gradients_reach_every_parameter(network: nn.Module) -> None:
    network(torch.rand(2, 1, 48, 48)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_evaluation_is_deterministic(network: nn.Module) -> None:
    image = torch.rand(1, 1, 48, 48)
    network(image.repeat(2, 1, 1, 1))  # moves the norms' statistics
    network.eval()
    assert torch.equal(network(image), network(image))


def test_state_survives_saving(network: nn.Module, tmp_path: Path) -> None:
    image = torch.rand(2, 1, 48, 48)
    network(image)
    torch.save(network.state_dict(), tmp_path / "state.pt")
    expected = network.eval()(image)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    assert not torch.allclose(network(image), expected)
    network.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(network(image), expected)


def test_export(network: nn.Module) -> None:
    image = torch.rand(1, 1, 40, 56)
    exported = torch.export.export(network.eval(), (image,)).module()
    # An exported graph runs in PyTorch's own memory order: sums are in another one.
    torch.testing.assert_close(exported(image), network(image), atol=1e-4, rtol=1e-4)


def test_parameters_of_the_paper_and_of_the_baseline() -> None:
    ours, unet = instantiate(config()), instantiate(config("model=unet", "decoder=deconv"))
    assert count_parameters(ours) == 2_246_365
    assert count_parameters(ours) <= 2_248_598
    assert count_parameters(unet) == 31_030_658
    assert count_parameters(unet) / count_parameters(ours) >= 13.8
    assert count_macs(ours) / 1e9 == pytest.approx(4.68, abs=0.01)
    assert count_macs(unet) / 1e9 == pytest.approx(48.10, abs=0.01)


def test_macs_by_hand() -> None:
    layer = nn.Conv2d(1, 5, 3, padding=1)
    assert count_macs(layer, size=8) == 8 * 8 * 5 * 9
    assert layer.training


@pytest.mark.parametrize("model", OURS)
@pytest.mark.parametrize("decoder", DECODERS)
def test_every_pair_builds_at_full_width(model: str, decoder: str) -> None:
    with torch.device("meta"):
        network = instantiate(config(f"model={model}", f"decoder={decoder}"))
    assert count_parameters(network) > 1_000_000


@pytest.mark.parametrize("levels", ["bilinear,nearest,deconv,subpixel", "maxunpool,espcn,bicubic,subpixel"])
def test_any_mix_of_decoders_by_level(levels: str) -> None:
    network = instantiate(config(f"decoder.levels=[{levels}]", *NARROW))
    assert [type(level) for level in network.upsamplers] == [UPSAMPLERS[name] for name in levels.split(",")]
    assert network(torch.rand(2, 1, 37, 53)).shape == (2, 2, 37, 53)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("decoder.levels=[bilinear,bilinear,bilinear,cubic]", ", ".join(UPSAMPLERS)),
        ("decoder.levels=[bilinear,bilinear]", "expected 4 names"),
        ("decoder.levels=bilinear", "found bilinear"),
        ("model.shortcut=none", "conv or pad"),
        ("model.innermost=none", "conv or block"),
        ("model.decoder_widths=[8,8]", "expected 4 channel numbers"),
        ("model.innermost_width=30", "30"),
    ],
)
def test_bad_settings_are_named(override: str, told: str) -> None:
    overrides = [*NARROW, "decoder=subpixel_all"] if "innermost_width" in override else [*NARROW]
    with pytest.raises(InstantiationException) as error:
        instantiate(config(*overrides, override))
    assert isinstance(error.value.__cause__, InputError)
    assert told in str(error.value.__cause__)


def test_all_convolutions_run_channels_last(network: nn.Module) -> None:
    orders = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda module, images, output: orders.append(output.stride(1)))
    network.to(memory_format=torch.channels_last)(torch.rand(2, 1, 48, 48))
    assert set(orders) == {1}


@pytest.mark.parametrize("shortcut", ["conv", "pad"])
@pytest.mark.parametrize("decoder", DECODERS)
def test_a_decoder_that_concatenates_nothing_is_the_same_function(decoder: str, shortcut: str) -> None:
    torch.manual_seed(0)
    network = instantiate(config("model=dsc_unet", f"decoder={decoder}", f"model.shortcut={shortcut}", *NARROW)).eval()
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):  # scales of either sign, and statistics, as training may leave them
            for tensor in (norm.weight.data, norm.bias.data, norm.running_mean):
                tensor.normal_()
            norm.running_var.uniform_(0.5, 2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    split, images = split_decoder(network), torch.rand(2, 1, 40, 56)
    assert any(isinstance(level, SplitResidualBlock) for level in split.decoder) == (shortcut == "conv")
    logits = network(images)
    assert torch.allclose(split(images), logits, atol=1e-5 * logits.detach().abs().max().item())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_networks_without_such_blocks_are_left_alone() -> None:
    network = instantiate(config("model=unet", *NARROW))
    assert split_decoder(network) is network
