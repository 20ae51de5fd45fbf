"""The LightningModule through what training, tests and checkpoints call."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers.checkpoints import SETTINGS, save_checkpoint, with_model
from helpers.steps import validation_loss

from lits_seg.common.errors import InputError
from lits_seg.training.module import LesionModule

DEFAULTS = {"rules": None, "temperature": 1.0, "foreground": "lesion", "loss_region": "all", "rates": None}
BATCH = {"image": torch.rand(3, 1, 32, 32), "label": torch.randint(0, 3, (3, 32, 32), dtype=torch.uint8)}


def module(classes: int = 2, **changes: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return LesionModule(**{**with_model(out_channels=classes), **changes})


def with_counts(found: torch.nn.Module, counts: tuple[int, int, int]) -> torch.nn.Module:
    """The module as a training starts it, on a training set of so many pixels of background, liver and lesion."""
    found.trainer = SimpleNamespace(datamodule=SimpleNamespace(label_counts=lambda: counts), callbacks=[])
    found.on_fit_start()
    return found


@pytest.mark.parametrize("classes", [2, 3])
def test_images_become_logits_of_every_class(classes: int) -> None:
    logits = module(classes)(BATCH["image"])
    assert logits.shape == (3, classes, 32, 32)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("classes", [1, 4])
def test_other_numbers_of_classes_are_refused(classes: int) -> None:
    with pytest.raises(InputError, match=r"model\.out_channels: expected 2 .* or 3 .*; found"):
        module(classes)


@pytest.mark.parametrize(("classes", "expected"), [(2, [90 + 8, 2]), (3, [90, 8, 2])])
def test_the_loss_gets_the_pixels_of_its_own_classes(classes: int, expected: list[int]) -> None:
    weights = with_counts(module(classes), (90, 8, 2)).loss.weights
    pixels = torch.tensor(expected).double()
    by_hand = pixels**-0.5
    torch.testing.assert_close(weights.double(), by_hand * pixels.sum() / (by_hand * pixels).sum(), rtol=1e-5, atol=0)


def test_labels_of_a_training_in_16_bits_are_those_of_a_prediction() -> None:
    found = module(3, preprocess={**SETTINGS["preprocess"], "spacing": 1.5})
    logits, pixel_mm = torch.randn(2, 3, 32, 32), torch.tensor([[0.8, 0.8], [0.7, 0.7]])
    expected = found.labels(logits, 60, 56, pixel_mm)
    with torch.autocast("cpu", torch.bfloat16):
        same = found.labels(logits, 60, 56, pixel_mm)
    assert all(torch.equal(one, other) for one, other in zip(same, expected, strict=True))


def test_the_loss_of_a_validation_sees_the_pixels_that_the_loss_of_the_training_sees() -> None:
    found, batch = module(loss_region="liver").eval(), {**BATCH, "label": BATCH["label"].long()}
    wanted = found.known_loss(found(batch["image"]), batch["label"])
    assert validation_loss(found, batch) == wanted != found.loss(found(batch["image"]), batch["label"] // 2)


@pytest.mark.parametrize(("classes", "expected"), [(2, [0, 2]), (3, [0, 1, 2])])
def test_classes_become_lits_labels(classes: int, expected: list[int]) -> None:
    assert module(classes).targets.lits(torch.arange(classes)).tolist() == expected


def test_dropout_is_drawn_by_step_and_seed() -> None:
    def drawn(step: int, seed: int = 0, batch: int = 0) -> float:
        found = module(seed=seed)
        found.trainer = SimpleNamespace(global_step=step, global_rank=0, accumulate_grad_batches=3)
        found.on_train_batch_start(BATCH, batch)
        return float(torch.rand(()))

    assert drawn(5) == drawn(5) == drawn(5, batch=3)
    assert len({drawn(5), drawn(6), drawn(5, seed=1), drawn(5, batch=1), drawn(5, batch=2)}) == 5


def test_a_scheduler_may_ask_for_the_steps_of_the_run() -> None:
    schedule = {"_target_": "torch.optim.lr_scheduler.OneCycleLR", "max_lr": 0.1, "total_steps": "auto"}
    found = module(scheduler=schedule)
    found.trainer = SimpleNamespace(estimated_stepping_batches=7)
    configured = found.configure_optimizers()
    scheduler = configured["lr_scheduler"]["scheduler"]
    assert (scheduler.total_steps, configured["lr_scheduler"]["interval"]) == (7, "step")
    assert configured["optimizer"].param_groups[0]["params"]
    assert isinstance(module().configure_optimizers(), (torch.optim.Optimizer, dict))


def test_a_checkpoint_holds_all_settings_as_plain_containers(tmp_path: Path) -> None:
    saved = save_checkpoint(tmp_path / "a.ckpt")
    stored = torch.load(tmp_path / "a.ckpt", weights_only=True)["hyper_parameters"]
    assert stored == {**SETTINGS, **DEFAULTS} == dict(saved.hparams)
