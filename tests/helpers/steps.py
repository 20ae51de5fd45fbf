"""Single steps of a module, without a Trainer."""

from types import SimpleNamespace

import torch
from torch import Tensor

from lits_seg.training.module import LesionModule


def training_loss(module: LesionModule, batch: dict[str, Tensor]) -> float:
    """The loss of a training step, always with the same dropout."""
    module.log = lambda name, value, **_: None
    torch.manual_seed(0)
    return float(module.train().training_step(batch, 0).detach())


def validation_loss(module: LesionModule, batch: dict[str, Tensor]) -> float:
    """The ``val/loss`` of a batch of slices of one patient."""
    count, logged = len(batch["image"]), dict[str, Tensor]()
    module.log = lambda name, value, **_: logged.update({name: value})
    volumes = SimpleNamespace(split={"val": [None]})
    module.trainer = SimpleNamespace(datamodule=volumes, fast_dev_run=False, sanity_checking=False)
    module.eval().on_validation_epoch_start()
    place = {"case": torch.zeros(count).long(), "slice": torch.arange(count), "pixel_mm": torch.ones(count, 2)}
    module.validation_step({**batch, "truth": batch["label"].byte(), **place}, 0)
    return float(logged["val/loss"].detach())
