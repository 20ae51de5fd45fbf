"""Losses at inner layers."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers.checkpoints import SETTINGS, with_model

from experiments.shared.checkpoints import write_checkpoint
from lits_seg.common.errors import InputError
from lits_seg.data.sampling import LIVER_OR_LESION
from lits_seg.training.checkpoints import load_module
from lits_seg.training.deep_supervision import DeepSupervision
from lits_seg.training.module import LesionModule

STRIDED = {
    "_target_": "lits_seg.models.StridedUNet",
    "out_channels": 3,
    "widths": [4, 4, 8],
    "blocks": [1, 1, 1],
    "decoder_widths": [4, 4],
}
IMAGES, LABELS = torch.rand(2, 1, 32, 32), torch.zeros(2, 32, 32, dtype=torch.long)
LABELS[:, 5:6, 5:6] = 2  # a lesion of one pixel


def supervised(settings: dict, **arguments: object) -> LesionModule:
    module = LesionModule(**settings)
    DeepSupervision(**arguments).setup(SimpleNamespace(), module, "fit")
    return module


@pytest.mark.parametrize("settings", [{**SETTINGS, "model": STRIDED}, with_model(out_channels=3)])
def test_inner_layers_of_any_decoder_are_trained_and_leave_no_trace(settings: dict, tmp_path: Path) -> None:
    module = supervised(settings, weights=[0.5])
    loss = module.auxiliary_losses[0]({"image": IMAGES, "label": LABELS}, module(IMAGES))
    loss.backward()
    (head,) = module.auxiliary.values()
    assert head.weight.grad.abs().sum() > 0
    optimizer = module.configure_optimizers()["optimizer"]
    trained = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
    assert id(head.weight) in trained
    write_checkpoint(module, tmp_path / "a.ckpt")
    loaded = load_module(tmp_path / "a.ckpt")
    assert not loaded.auxiliary
    torch.testing.assert_close(loaded.eval()(IMAGES), module.eval()(IMAGES))


def test_a_network_that_cannot_see_small_images_is_supervised() -> None:
    levels = {"kernel_size": [3] * 4, "filters": [4] * 4, "strides": [1, 4, 4, 4], "upsample_kernel_size": [4, 4, 4]}
    channels = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2}
    model = {"_target_": "monai.networks.nets.DynUNet", **channels, **levels}
    images = {**SETTINGS["preprocess"], "size": 128}  # 64 px would be a single pixel at the innermost level
    module = supervised({**SETTINGS, "model": model, "preprocess": images}, weights=[0.5], layers=["bottleneck"])
    assert len(module.auxiliary) == 1


def test_a_lesion_of_one_pixel_remains_in_the_smaller_target() -> None:
    module = supervised({**SETTINGS, "model": STRIDED}, weights=[1.0])
    (head,) = module.auxiliary.values()
    torch.nn.init.zeros_(head.weight)
    seen = []
    module.loss.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[1]))
    module.auxiliary_losses[0]({"image": IMAGES, "label": LABELS}, module(IMAGES))
    assert seen[0].shape[-1] < 32
    assert (seen[0] == 2).flatten(1).sum(1).tolist() == [1, 1]


def test_inner_layers_learn_nothing_from_livers_whose_lesions_are_unknown() -> None:
    module = supervised({**SETTINGS, "model": STRIDED}, weights=[1.0])
    seen = []
    module.loss.register_forward_pre_hook(lambda _, arguments: seen.append(arguments))
    labels = torch.where(LABELS == 2, LABELS, LIVER_OR_LESION)
    labels[:, 16:] = 0
    module.auxiliary_losses[0]({"image": IMAGES, "label": labels}, module(IMAGES))
    (logits, target), side = seen[0], seen[0][1].shape[-1]
    certain = (logits[:, 0] == 100) & (logits[:, 1:] == 0).all(1)
    assert torch.equal(certain, ((torch.arange(side) < side // 2)[:, None] & (target != 2)).expand_as(certain))
    assert (target == 2).flatten(1).sum(1).tolist() == [1, 1]  # a drawn lesion


def test_layers_that_see_an_enlarged_box_are_refused() -> None:
    part = SETTINGS["model"]
    channels = {"liver_channels": 1, "lesion_channels": 1, "in_channels": 1, "out_channels": 3}
    cascade = {"_target_": "lits_seg.models.Cascade", "liver": part, "lesion": part, **channels, "margin": 0}
    layers = {"weights": [0.5], "layers": ["lesion.decoder.2"]}
    supervised({**SETTINGS, "model": cascade}, **layers)
    with pytest.raises(InputError, match="callbacks: expected no deep_supervision with liver_enlarge=true"):
        supervised({**SETTINGS, "model": {**cascade, "enlarge": True}}, **layers)


@pytest.mark.parametrize("layers", [["decoder.9"], []])
def test_layers_that_do_not_exist_are_named(layers: list[str]) -> None:
    with pytest.raises(InputError, match=r"callbacks.deep_supervision.layers: expected 1 layers of the network; found"):
        supervised({**SETTINGS, "model": {"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": 3,
                                          "kernel_size": 1}}, weights=[0.5], layers=layers)  # fmt: skip
