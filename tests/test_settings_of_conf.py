"""Every setting of every command, with wrong values: one message that names the setting, or a sound run."""

import importlib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from functools import partial, reduce
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from lits_seg.cli import CONF
from lits_seg.common.errors import InputError
from lits_seg.common.settings import read_settings
from lits_seg.training.dry_run import require_dry_run
from lits_seg.training.signatures import require_signatures, resolved

# Groups whose accepted values are tried: their objects are made and called.
MADE = ("model", "loss", "optimizer", "scheduler", "trainer", "callbacks", "augment")
VALUES = (None, "abc", -1, 0, [1], math.nan, math.inf, True, {"a": 1}, 1e30, 10**12, "", 2.5)
NARROW = ("model.encoder_widths=[8,8,16,16]", "model.innermost_width=16", "model.decoder_widths=[16,16,8,8]")
# Together, these use every file in conf/ that has settings of its own.
CONFIGS = {
    "dsc_unet": NARROW,
    "unet": ("model=unet", "decoder=maxunpool", *NARROW, "loss=dice_ce", "optimizer=adamw", "scheduler=onecycle"),
    "strided": ("model=strided_resunet", "augment=scanner_crops", "logger=all", "trainer=ddp"),
    "basic_unet": ("model=basic_unet", "augment=none", "data=lits", "data.root=CT"),
    "segresnet": ("model=segresnet", "augment=scanner_one_by_one", "debug=fast"),
    "vorontsov": ("model=vorontsov", "loss=tandem_dice", "optimizer=rmsprop", "data.preprocess.size=64"),
    "vgg": ("model=fcn8s", "model.widths=[8,8,8,8,8]", "model.head_width=8", "data.preprocess.size=64"),
    "nnunet": ("model=nnunet_2d", "data.preprocess.size=128", "model.filters=[8,8,8,8,8,8,8]"),
}
MODULES = {"settings": "__main__"}  # of a program, by the name of its settings


def config_of_train(*overrides: str) -> DictConfig:
    """Compose the configuration of ``train`` on tiny images, with the node ``hydra``."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", ["data=smoke", "trainer=cpu", *overrides], return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    return cfg


def keys(settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in settings.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping) and prefix != "module.":  # those are copies of other settings
            yield from keys(value, f"{prefix}{key}.")


def changed(settings: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Return a copy with another value, also where other settings refer to it."""
    copy = deepcopy(dict(settings))
    *groups, name = key.split(".")
    reduce(dict.__getitem__, groups, copy)[name] = value
    if groups[:1] != ["module"] and isinstance(copy.get("module"), dict) and isinstance(copy["data"], dict):
        copies = {**copy, "preprocess": copy["data"].get("preprocess")}
        copy["module"] |= {name: copies[name] for name in copies.keys() & copy["module"].keys()}
    return copy


def told(check: Callable[[Any], object], settings: Mapping[str, Any], key: str, value: Any) -> str:
    """Return the message about a value; an empty text if the value is accepted."""
    try:
        check(changed(settings, key, value))
    except InputError as error:
        message = str(error)
    else:
        return ""
    assert re.match(rf"{key.split('.')[0]}\b.*: expected .*; found ", message, flags=re.DOTALL), (key, value, message)
    return message


def test_every_configuration_of_train_is_sound() -> None:
    for name in CONFIGS:
        plain = resolved(config_of_train(*CONFIGS[name]))
        require_signatures(plain)
        require_dry_run(plain)


@pytest.mark.hostile
def test_every_wrong_value_of_train_names_its_group_or_makes_every_object() -> None:
    tried: set[tuple[str, str]] = set()
    refused, made = 0, 0
    for name in CONFIGS:
        plain = resolved(config_of_train(*CONFIGS[name]))
        for key in keys(plain):
            group = plain[key.split(".")[0]]
            one = (key, str(group.get("_target_")) if isinstance(group, dict) else "")
            for value in VALUES if one not in tried else ():
                if told(require_signatures, plain, key, value):
                    refused += 1
                elif key.split(".")[0] in MADE:
                    made += 1
                    told(require_dry_run, plain, key, value)
            tried.add(one)
    assert refused > 2000
    assert made > 20
    print("settings", len(tried), "refused", refused, "made", made)


COMMANDS = {
    **{f"commands/{name}": f"lits_seg.{name}" for name in ("predict", "evaluate", "export", "report", "prepare")},
    **{
        str(path.relative_to(CONF.parent)): f"experiments.{path.parent.name}.{MODULES.get(path.stem, path.stem)}"
        for path in (CONF.parent / "experiments").glob("*/*.yaml")
    },
}


MISSING = {"evaluations": ["x"]}  # settings without a default that are no text


@pytest.mark.hostile
@pytest.mark.parametrize("config", COMMANDS)
def test_every_wrong_value_of_a_command_names_its_key(config: str) -> None:
    file = CONF / f"{config}.yaml" if config.startswith("commands") else CONF.parent / config
    kind = importlib.import_module(COMMANDS[config]).Settings
    plain = OmegaConf.to_container(OmegaConf.load(file))
    assert isinstance(plain, dict)
    settings = {
        key: MISSING.get(key, "x") if value == "???" else value
        for key, value in plain.items()
        if key not in ("defaults", "hydra")
    }
    read_settings(kind, settings)
    for key in keys(settings):
        if key.startswith("data."):  # arguments of a class, which are checked as those of train
            continue
        values = [value for value in VALUES if told(partial(read_settings, kind), settings, key, value)]
        assert len(values) >= 8, (key, values)
