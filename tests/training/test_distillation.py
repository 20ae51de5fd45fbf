"""Learning from another network's probabilities."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers.checkpoints import SETTINGS, save_checkpoint, with_model

from lits_seg.common.errors import InputError
from lits_seg.training.distillation import Distillation
from lits_seg.training.module import LesionModule

IMAGES = torch.rand(2, 1, 32, 32)


def student(teacher: Path, **settings: float) -> LesionModule:
    torch.manual_seed(1)
    module = LesionModule(**SETTINGS)
    Distillation([str(teacher)], **settings).setup(SimpleNamespace(), module, "fit")
    return module


def test_the_loss_is_zero_for_the_teachers_own_logits_and_positive_for_others(tmp_path: Path) -> None:
    teacher = save_checkpoint(tmp_path / "a.ckpt")
    module = student(tmp_path / "a.ckpt", weight=1.0, temperature=1.0)
    (loss,) = module.auxiliary_losses
    logits = teacher(IMAGES).detach()
    assert float(loss(IMAGES, logits, None)) == pytest.approx(0, abs=1e-6)
    shifted = logits + torch.tensor([0.0, 2.0]).view(1, 2, 1, 1)
    given, own = logits.softmax(1), shifted.softmax(1)
    by_hand = (given * (given.log() - own.log())).sum(1).mean()
    assert float(loss(IMAGES, shifted, None)) == pytest.approx(float(by_hand), rel=1e-4)


def test_the_teacher_is_neither_trained_nor_saved(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.ckpt")
    module = student(tmp_path / "a.ckpt")
    assert module.state_dict().keys() == LesionModule(**SETTINGS).state_dict().keys()
    loss = module.auxiliary_losses[0](IMAGES, module(IMAGES), None)
    loss.backward()
    assert any(weight.grad is not None and weight.grad.any() for weight in module.network.parameters())


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (with_model(out_channels=3), "classes 2"),
        (with_model(in_channels=3), "context 1"),
        ({**SETTINGS, "preprocess": {**SETTINGS["preprocess"], "size": 64}}, "size=32"),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused(settings: dict, named: str, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.ckpt", settings=settings)
    with pytest.raises(InputError, match=rf"a.ckpt: expected a teacher with .*{named}"):
        student(tmp_path / "a.ckpt")


@pytest.mark.parametrize("wrong", [{"weight": 0.0}, {"temperature": -1.0}, {"teachers": []}])
def test_wrong_settings_are_named(wrong: dict) -> None:
    with pytest.raises(InputError, match=f"callbacks.distillation.{next(iter(wrong))}: expected"):
        Distillation(**{"teachers": ["a.ckpt"], **wrong})
