"""Weights of classifiers of ImageNet: copied by order and shape; other files are one clear error."""

from pathlib import Path

import pytest
import torch
from helpers.commands import failed_command, run_command
from helpers.networks import NARROW_OWN, model_config
from hydra.utils import instantiate
from torch import nn

from lits_seg.common.errors import InputError
from lits_seg.models.pretrained import load_pretrained
from lits_seg.models.vgg import VGG11, VGG16

WIDTHS = (8, 8, 16, 16, 32)  # of helpers.networks.LEVELS


def built(model: str, *overrides: str) -> nn.Module:
    return instantiate(model_config(f"model={model}", *NARROW_OWN[model], *overrides))


def vgg(counts: tuple[int, ...], widths: tuple[int, ...], norm: bool = False) -> nn.Module:
    """The classifier as torchvision builds it, for images of 3 x 224 x 224."""
    layers: list[nn.Module] = []
    channels = 3
    for count, width in zip(counts, widths, strict=True):
        for _ in range(count):
            layers += [nn.Conv2d(channels, width, 3, padding=1), *([nn.BatchNorm2d(width)] * norm), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2))
    head = nn.Sequential(
        nn.Linear(channels * 49, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 32), nn.ReLU(), nn.Dropout(),
        nn.Linear(32, 10),
    )  # fmt: skip
    return nn.ModuleDict({"features": nn.Sequential(*layers), "classifier": head})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    torch.save(vgg(VGG16, WIDTHS).state_dict(), tmp_path / "vgg16.pth")
    return tmp_path / "vgg16.pth"


def test_fcn8s_computes_the_maps_of_the_classifier(file: Path) -> None:
    classifier, network = vgg(VGG16, WIDTHS).eval(), built("fcn8s", "model.in_channels=3").eval()
    classifier.load_state_dict(torch.load(file, weights_only=True))
    assert "30 tensors are the start of trunk, head" in load_pretrained(network, file)
    image = torch.rand(1, 3, 224, 224)
    maps = image
    for level in network.trunk:
        maps = nn.functional.max_pool2d(level(maps), 2)
    expected = classifier["features"](image)
    torch.testing.assert_close(maps, expected)
    # In the middle of the 7 x 7 map, the convolution sees the whole map, as the fully connected layers do.
    middle = network.head(maps)[0, :, 3, 3]
    torch.testing.assert_close(middle, classifier["classifier"][:6](expected.flatten(1))[0])


def test_a_grey_image_in_one_channel_gives_the_maps_of_three_equal_channels(file: Path) -> None:
    grey, colour = built("fcn8s"), built("fcn8s", "model.in_channels=3")
    for network in (grey, colour):
        load_pretrained(network, file)
    image = torch.rand(1, 1, 32, 32)
    torch.testing.assert_close(grey.trunk[0](image), colour.trunk[0](image.expand(-1, 3, -1, -1)))


def test_networks_with_norms_take_files_with_and_without(tmp_path: Path, file: Path) -> None:
    with_norms = vgg(VGG16, WIDTHS, norm=True)
    for module in with_norms["features"]:
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_()
    torch.save(with_norms.state_dict(), tmp_path / "norms.pth")
    network = built("segnet")
    load_pretrained(network, tmp_path / "norms.pth")
    torch.testing.assert_close(network.encoder[0][1].running_mean, with_norms["features"][1].running_mean)
    load_pretrained(network, file)
    state = torch.load(file, weights_only=True)
    assert torch.equal(network.encoder[4][6].weight, state["features.28.weight"])
    torch.testing.assert_close(network.encoder[0][1].running_mean, with_norms["features"][1].running_mean)


@pytest.mark.parametrize("model", ["ternausnet", "mobilenet_v1", "denseunet_161"])
def test_each_network_takes_its_own_layers(model: str, tmp_path: Path) -> None:
    trained, network = built(model, "model.in_channels=3"), built(model, "model.in_channels=3")
    (name,) = trained.pretrained
    torch.save({f"features.{key}": value for key, value in getattr(trained, name).state_dict().items()}, tmp_path / "a")
    load_pretrained(network, tmp_path / "a")
    for key, value in getattr(trained, name).state_dict().items():
        assert torch.equal(getattr(network, name).state_dict()[key], value), key


def test_the_command_starts_from_the_file(file: Path, tmp_path: Path) -> None:
    shown = run_command(
        "train", "model=fcn8s", *NARROW_OWN["fcn8s"], "data=smoke", "trainer=cpu", "debug=fast", "name=one",
        f"weights={file}", cwd=tmp_path,
    )  # fmt: skip
    assert (tmp_path / "runs" / "one" / "config.yaml").exists(), shown


@pytest.mark.hostile
def test_other_files_are_one_clear_error(file: Path, tmp_path: Path) -> None:
    state = torch.load(file, weights_only=True)
    first = next(iter(state))
    bad = {
        "list": [1, 2],
        "number": {**state, first: 1},
        "few": dict(list(state.items())[:5]),
        "infinite": {**state, first: torch.full_like(state[first], torch.inf)},
        "integers": {**state, first: state[first].int()},
        "other": vgg(VGG11, WIDTHS).state_dict(),
        "code": {first: Path("a")},
    }
    (tmp_path / "text").write_text("weights")
    (tmp_path / "empty").touch()
    (tmp_path / "truncated").write_bytes(file.read_bytes()[:2000])
    for name, content in bad.items():
        torch.save(content, tmp_path / name)
    network = built("fcn8s")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for name in (*bad, "text", "empty", "truncated", "missing", "."):
        with pytest.raises(InputError, match=str(tmp_path)):
            load_pretrained(network, tmp_path / name)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.hostile
def test_networks_from_scratch_take_no_such_file(file: Path, tmp_path: Path) -> None:
    shown = failed_command(
        "train", "model=vorontsov", *NARROW_OWN["vorontsov"], "data=smoke", "debug=fast", f"weights={file}",
        cwd=tmp_path,
    )  # fmt: skip
    assert "weights: expected a network whose original began from ImageNet; found Tandem" in shown
    assert not list((tmp_path / "runs").glob("**/*.ckpt"))
