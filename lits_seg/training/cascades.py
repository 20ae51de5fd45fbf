"""Make a cascade of two checkpoints: a liver network, and a network or detector for lesions in the predicted liver."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.utils import get_object, instantiate
from pytorch_lightning.callbacks import Callback

from lits_seg.common.errors import InputError
from lits_seg.models import Cascade, Detector, DetectorCascade
from lits_seg.packaged.card import CHECKPOINT, packaged_file
from lits_seg.postprocess import Changes, Rules
from lits_seg.training.checkpoints import load_module
from lits_seg.training.module import LesionModule
from lits_seg.training.resume import inherit_patients
from lits_seg.training.targets import Targets

ABOUT_LIVERS = ("largest_liver", "fill_liver")  # rules of the liver network that its cascade keeps
CONFIRMED = "a checkpoint that finds livers and lesions, which the detector confirms"


def load_cascade(ckpt: str | Path, liver_ckpt: str | Path | None) -> LesionModule:
    """Return the module of a checkpoint, or the cascade of a liver checkpoint and this one, in eval mode, on the CPU.

    Args:
        ckpt: checkpoint of the lesion network, or of a whole cascade.
        liver_ckpt: checkpoint of the liver network; None: ``ckpt`` alone.

    Raises:
        InputError: if a checkpoint is unusable, or if both cannot be combined, see ``cascade_settings``.
    """
    lesion = load_module(ckpt)
    if liver_ckpt is None:
        return lesion
    liver = load_module(liver_ckpt)
    module = LesionModule(**cascade_settings(lesion.hparams, liver, liver_ckpt))
    module.network.liver.load_state_dict(liver.network.state_dict())
    module.network.lesion.load_state_dict(lesion.network.state_dict())
    return module.eval()


def cascade_settings(
    lesion: Mapping[str, Any],
    liver: LesionModule,
    liver_ckpt: str | Path,
    margin: int | None = None,
    enlarge: bool = False,
) -> dict[str, Any]:
    """Return the settings of a ``LesionModule`` whose network is a cascade.

    Args:
        lesion: settings of the module of the lesion network.
        liver: module of the liver network.
        liver_ckpt: checkpoint of the liver network, which errors name.
        margin: see ``models.Cascade``.
        enlarge: see ``models.Cascade``.

    Raises:
        InputError: if the liver network finds no liver, if the other finds no lesions, or if their pre-processing, such
            as the window in HU, differs: both networks see the same images. If the other is a detector, the first must
            find livers and lesions.
    """
    classes, detector = int(lesion["model"]["out_channels"]), _is_detector(lesion["model"])
    if detector and liver.classes != 3:
        raise InputError(liver_ckpt, CONFIRMED, f"{liver.structures[0]}s only")
    for name, value, only in (("liver_margin", margin, None), ("loss_region", lesion["loss_region"], "all")):
        if detector and value != only:
            raise InputError(name, f"{only or 'null'} with model=detector, which learns from windows", value)
    if "liver" not in liver.structures:
        raise InputError(liver_ckpt, "a network that finds the liver (foreground=liver, or three classes)", "lesions")
    if "lesion" not in Targets(classes, lesion["foreground"]).structures:
        raise InputError("ckpt", "a network that finds lesions, as the second stage after liver_ckpt", "livers only")
    own, other = (one.plain() for one in (instantiate(lesion["preprocess"]), liver.preprocess))
    differing = [key for key in sorted(own.keys() | other.keys()) if own.get(key) != other.get(key)]
    if differing:
        expected, found = (", ".join(f"{key} {one.get(key)}" for key in differing) for one in (own, other))
        raise InputError(liver_ckpt, f"the pre-processing of the lesion network ({expected})", found)
    channels = {"liver_channels": liver.context, "lesion_channels": int(lesion["model"].get("in_channels", 1))}
    return {
        **lesion,
        "model": {
            "_target_": f"lits_seg.models.{(DetectorCascade if detector else Cascade).__name__}",
            "liver": liver.hparams["model"],
            "lesion": lesion["model"],
            **channels,
            "in_channels": max(channels.values()),
            "out_channels": 3,
            "trained_classes": classes,
            "margin": margin,
            "enlarge": enlarge,
        },
        # Rules that are not set do not replace those of the liver network.
        "rules": {**_about_livers(liver), **Rules(**(lesion["rules"] or {})).plain()},
    }


def _is_detector(model: Mapping[str, Any]) -> bool:
    return get_object(model["_target_"]) is Detector


def _about_livers(liver: LesionModule) -> dict[str, Any]:
    return {name: value for name, value in liver.rules.plain().items() if name in ABOUT_LIVERS}


def module_settings(plain: Mapping[str, Any]) -> tuple[dict[str, Any], LesionModule | None]:
    """Return the settings of the module that a training makes, and the liver network if the module is a cascade.

    Args:
        plain: the configuration of ``train`` in plain containers.

    Raises:
        InputError: if the liver network cannot be combined with the network that is trained, or if a detector or
            the box of the liver is configured without it.
    """
    settings = {key: value for key, value in plain["module"].items() if not key.startswith("_")}
    rules = Changes(**settings["rules"])
    settings["rules"] = rules.of(Rules()).plain()
    context = plain["data"]["context"]
    if plain["liver_ckpt"] is None:
        if _is_detector(settings["model"]):
            raise InputError("liver_ckpt", CONFIRMED, "null")
        for name in ("liver_margin", "liver_enlarge"):
            if plain[name] is not None and plain[name] is not False:
                raise InputError(name, "liver_ckpt=… as well, whose liver has the box", plain[name])
        return settings, None
    path = packaged_file(plain["liver_ckpt"], CHECKPOINT)
    liver = load_module(path)
    settings = cascade_settings(settings, liver, path, plain["liver_margin"], plain["liver_enlarge"])
    settings["rules"] = rules.of(Rules(**settings["rules"])).plain()  # false also replaces a rule of the liver network
    needed = settings["model"]["in_channels"]
    if context != needed:
        raise InputError("data.context", f"{needed}, as the liver network needs ({path})", context)
    return settings, liver


class UnseenBy(Callback):
    """Require test patients that another network of a training has neither trained on nor been chosen by.

    Args:
        setting: ``liver_ckpt`` or ``init_from``.
        ckpt: checkpoint of the liver network of a cascade, or of the network whose weights are the start.
    """

    compared = False

    def __init__(self, setting: str, ckpt: str | Path) -> None:
        self.setting, self.ckpt = setting, Path(ckpt)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Compare the patients once, as soon as they are split.

        Raises:
            InputError: see ``inherit_patients``.
        """
        if not self.compared:
            inherit_patients(self.setting, self.ckpt, trainer.datamodule)
        self.compared = True
