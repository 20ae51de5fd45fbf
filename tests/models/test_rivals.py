"""The networks of other packages: each trains, and its checkpoint loads. Those that are not installed are named."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from helpers.checkpoints import SETTINGS, save_checkpoint
from helpers.commands import failed_command, run_command
from hydra import compose, initialize_config_dir
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf

import lits_seg.models
from lits_seg.cli import CONF
from lits_seg.common.errors import InputError
from lits_seg.models.cost import count_parameters
from lits_seg.training.checkpoints import load_module

needs_smp = pytest.mark.skipif(find_spec("segmentation_models_pytorch") is None, reason="the rivals extra")
SMP = [pytest.param(model, marks=needs_smp) for model in ("smp_mobilenet", "smp_unet")]
RIVALS = ["basic_unet", "segresnet", "nnunet_2d", *SMP]


def config(model: str) -> dict:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return OmegaConf.to_container(compose("train", [f"model={model}"]).model, resolve=True)


@pytest.fixture
def _without_smp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    monkeypatch.delitem(sys.modules, "lits_seg.models.rivals", raising=False)
    monkeypatch.delattr(lits_seg.models, "rivals", raising=False)


def test_every_rival_is_here() -> None:
    models = {path.stem for path in (CONF / "model").glob("*.yaml")}
    rivals = {model for model in models if config(model)["_target_"].rpartition(".")[0] != "lits_seg.models"}
    assert rivals == {"basic_unet", "segresnet", "nnunet_2d", "smp_mobilenet", "smp_unet"}


@pytest.mark.parametrize("model", RIVALS)
def test_a_step_and_the_checkpoint_of_it(model: str, tmp_path: Path) -> None:
    module = save_checkpoint(tmp_path / "a.ckpt", settings={**SETTINGS, "model": config(model)})
    images = torch.rand(2, 1, 128, 128)
    optimizer = module.train().configure_optimizers()["optimizer"]
    before = [parameter.clone() for parameter in module.network.parameters()]
    logits = module(images)
    assert logits.shape == (2, 2, 128, 128)
    module.loss(logits, torch.randint(2, (2, 128, 128))).backward()
    optimizer.step()
    assert all(
        not torch.equal(old, new) for old, new in zip(before, module.network.parameters(), strict=True) if new.numel()
    )
    torch.save({"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams)}, tmp_path / "b.ckpt")
    loaded = load_module(tmp_path / "b.ckpt")
    assert torch.equal(loaded(images), module.eval()(images))


@pytest.mark.parametrize("model", ["nnunet_2d", *SMP])
def test_the_command_trains_it(model: str, tmp_path: Path) -> None:
    run_command(
        "train", f"model={model}", "data=smoke", "data.preprocess.size=128", "data.batch_size=2", "trainer=cpu",
        "debug=fast", "name=one", cwd=tmp_path,
    )  # fmt: skip
    assert (tmp_path / "runs" / "one" / "config.yaml").exists()


def test_nnunet_is_the_plan_for_256_pixels() -> None:
    plan = config("nnunet_2d")
    assert plan["filters"] == [min(32 * 2**level, 512) for level in range(7)]
    # nnU-Net's PlainConvUNet has 9,994 more for two classes: biases before norms, heads of deep supervision.
    assert count_parameters(instantiate(plan)) == 33_461_826


@needs_smp
@pytest.mark.parametrize(
    ("encoder", "parameters"),
    [
        ("mobilenet_v2", 6_628_514),
        ("se_resnet50", 35_045_970),
        ("resnext50_32x4d", 31_986_850),
        ("inceptionv4", 48_791_490),
        ("senet154", 122_070_482),
        ("resnet50", 32_514_978),
        ("densenet161", 38_729_058),
        ("vgg16", 23_747_234),
        ("xception", 28_768_970),
    ],
)
def test_counts_of_smp_encoders(encoder: str, parameters: int) -> None:
    with torch.device("meta"):
        network = instantiate({**config("smp_unet"), "encoder": encoder}).eval()
        assert network(torch.zeros(1, 1, 128, 128)).shape == (1, 2, 128, 128)
    assert count_parameters(network) == parameters


@needs_smp
def test_unknown_encoders_are_named() -> None:
    with pytest.raises(InstantiationException) as error:
        instantiate({**config("smp_unet"), "encoder": "resnet51"})
    assert isinstance(error.value.__cause__, InputError)
    assert "did you mean resnet" in str(error.value.__cause__)


@pytest.mark.usefixtures("_without_smp")
def test_a_package_that_is_missing_is_named(tmp_path: Path) -> None:
    shown = failed_command("train", "model=smp_mobilenet", "data=smoke", "debug=fast", cwd=tmp_path)
    assert "pip install -c constraints.txt '.[rivals]' in the project's folder" in shown
    model = {"_target_": "lits_seg.models.rivals.MobileNetUNet", "in_channels": 1, "out_channels": 2}
    save_checkpoint(tmp_path / "a.ckpt", model=model)
    with pytest.raises(InputError, match=r"\.\[rivals\]"):
        load_module(tmp_path / "a.ckpt")
