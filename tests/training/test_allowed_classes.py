"""A checkpoint's settings name known classes and plain values only, and nothing else is ever called."""

import os
from pathlib import Path
from typing import Any

import pytest
from helpers.checkpoints import SETTINGS
from omegaconf import OmegaConf

from experiments.shared.command import train_config
from lits_seg.common.errors import InputError
from lits_seg.common.files import CONF
from lits_seg.training.allowed_classes import KINDS, require_allowed

CALLABLES = (
    "lits_seg.sweeps.jobs._run",
    "lits_seg.training.module.LesionModule",
    "lits_seg.models.unet.deepcopy",
    "lits_seg.data.preprocess.np.load",
    "torch.load",
    "torch.nn.modules.module.torch.load",
    "torch.hub.load",
    "numpy.load",
    "joblib.load",
    "shutil.copyfile",
    "builtins.open",
    "builtins.eval",
    "os.system",
    "subprocess.Popen",
    "monai.losses.PerceptualLoss",  # runs code of a repository
    "monai.networks.nets.HoVerNet",  # reads weights from a URL
    "lits_seg.models.UNet\n",
    "lits_seg.models.",
    "",
)


@pytest.mark.parametrize(
    "override", [f"{group}={file.stem}" for group in ("model", "loss", "optimizer") for file in CONF.glob(f"{group}/*")]
)
def test_every_class_of_the_configurations_is_allowed(override: str) -> None:
    module: Any = OmegaConf.to_container(train_config(override).module, resolve=True)
    settings = {**{part: module[part] for part in KINDS}, "seed": 0}
    if "rivals" in settings["model"]["_target_"]:
        pytest.importorskip("segmentation_models_pytorch")
    assert require_allowed(settings, "a.ckpt") == settings


@pytest.mark.hostile
@pytest.mark.parametrize("target", CALLABLES)
@pytest.mark.parametrize("part", KINDS)
def test_no_other_class_is_allowed_anywhere(target: str, part: str) -> None:
    own = SETTINGS[part] or {"_target_": "torch.optim.lr_scheduler.StepLR"}
    for settings in ({**own, "_target_": target}, {**own, "x": [{"y": {"_target_": target}}]}):
        with pytest.raises(InputError, match=r"a\.ckpt: expected a .* of lits_seg\.models"):
            require_allowed({**SETTINGS, part: settings}, "a.ckpt")


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("x", "${oc.env:HOME}"),
        ("x", "../weights.pt"),
        ("x", "https://example.org/weights"),
        ("x", os.system),
        ("x", b"bytes"),
        ("x", {1: 2}),
        ("x", 10**6),
        ("_partial_", True),
        ("_recursive_", False),
        ("_args_", [1]),
        ("x y/z", 1),
    ],
)
def test_only_names_and_numbers_are_allowed(key: str, value: object) -> None:
    with pytest.raises(InputError, match=r"a\.ckpt: expected (a name or a number|names of settings|whole numbers)"):
        require_allowed({**SETTINGS, "model": {**SETTINGS["model"], key: value}}, "a.ckpt")


@pytest.mark.hostile
def test_containers_that_never_end_are_named(tmp_path: Path) -> None:
    laughs: list = ["x"]
    for _ in range(60):
        laughs = [laughs, laughs]
    circle: list = []
    circle.append(circle)
    wide = [[0] * 10_000] * 10_000
    for endless in (laughs, circle, wide):
        with pytest.raises(InputError, match="at most 10000 settings in 20 levels"):
            require_allowed({**SETTINGS, "loss": {**SETTINGS["loss"], "x": endless}}, "a.ckpt")
