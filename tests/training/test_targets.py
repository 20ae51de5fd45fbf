"""Labels become the classes that a network learns, and its loss sees the pixels that it shall see."""

import pytest
import torch
from helpers.checkpoints import SETTINGS

from lits_seg.common.errors import InputError
from lits_seg.data.sampling import LIVER_OR_LESION
from lits_seg.training.loss_terms import SideOutputs
from lits_seg.training.losses import WeightedCrossEntropy
from lits_seg.training.module import LesionModule
from lits_seg.training.targets import Targets, by_slice, middle

LABEL = torch.tensor([0, 1, 2])
DICE = {
    "_target_": "monai.losses.DiceLoss",
    "include_background": False,
    "to_onehot_y": True,
    "softmax": True,
    "batch": True,
}
LOSSES = {
    "cross_entropy": SETTINGS["loss"],
    "dice": {"_target_": "lits_seg.training.loss_terms.WithChannel", "loss": DICE},
    "dice_ce": {"_target_": "lits_seg.training.losses.DiceCrossEntropy"},
}


@pytest.mark.parametrize(
    ("targets", "classes", "lits", "structures"),
    [
        (Targets(2), [0, 0, 1], [0, 2], ("lesion",)),
        (Targets(2, "liver"), [0, 1, 1], [0, 1], ("liver",)),
        (Targets(3), [0, 1, 2], [0, 1, 2], ("lesion", "liver")),
    ],
)
def test_classes(targets: Targets, classes: list[int], lits: list[int], structures: tuple[str, ...]) -> None:
    assert targets.of(LABEL).tolist() == classes
    assert targets.lits(torch.arange(targets.classes)).tolist() == lits
    assert targets.structures == structures
    assert (
        targets.counts(90, 8, 2)
        == torch.tensor([90, 8, 2])
        .new_zeros(targets.classes)
        .index_add(0, targets.of(LABEL), torch.tensor([90, 8, 2]))
        .tolist()
    )


def test_ignored_pixels() -> None:
    label = torch.tensor([0, 1, 2, LIVER_OR_LESION])
    assert Targets(2).unknown(label).tolist() == [False, False, False, True]
    assert Targets(2, region="liver").unknown(label).tolist() == [True, False, False, True]
    assert not Targets(2, "liver").unknown(label).any()  # a liver, whatever its lesions are


@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_in_the_liver_sees_the_liver_alone(loss: str) -> None:
    module = LesionModule(**{**SETTINGS, "loss": LOSSES[loss], "loss_region": "liver"})
    label = torch.zeros(1, 8, 8, dtype=torch.long)
    label[:, 2:6, 2:6], label[:, 3, 3] = 1, 2
    logits = torch.randn(1, 2, 8, 8, requires_grad=True)
    module.known_loss(logits, label).backward()
    seen = logits.grad.abs().sum(1) > 0
    assert torch.equal(seen, label > 0)
    unknown = torch.zeros_like(label, dtype=torch.bool)
    unknown[:, :, :4] = True
    logits.grad = None
    module.known_loss(logits, label.masked_fill(unknown, LIVER_OR_LESION)).backward()
    assert torch.equal(logits.grad.abs().sum(1) > 0, (label > 0) & ~unknown)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_batch_without_liver_has_a_loss_without_gradient(loss: str) -> None:
    module = LesionModule(**{**SETTINGS, "loss": LOSSES[loss], "loss_region": "liver"})
    logits = torch.randn(2, 2, 8, 8, requires_grad=True)
    value = module.known_loss(logits, torch.zeros(2, 8, 8, dtype=torch.long))
    value.backward()
    assert torch.isfinite(value)
    assert not logits.grad.any()


def test_slices_become_samples() -> None:
    label, logits = torch.arange(24).view(2, 3, 2, 2), torch.arange(48).view(2, 2, 3, 2, 2)
    assert torch.equal(by_slice(label, 3)[4], label[1, 1])
    assert torch.equal(by_slice(logits, 3, True)[4], logits[1, :, 1])
    assert torch.equal(middle(label, 3), label[:, 1])
    assert torch.equal(middle(logits, 3, True), logits[:, :, 1])


def test_the_liver_network_has_no_probability_of_lesions() -> None:
    module = LesionModule(**{**SETTINGS, "foreground": "liver"})
    labels, lesion = module.labels(torch.randn(1, 2, 32, 32), 20, 24)
    assert labels.unique().tolist() == [0, 1]
    assert not lesion.any()


def test_the_sum_over_pixels_divided_by_their_number() -> None:
    logits, target = torch.randn(1, 2, 8, 8), torch.randint(2, (1, 8, 8))
    loss = WeightedCrossEntropy([0.1, 0.9], per_pixel=True)
    positive, score = target.double(), (logits[:, 1] - logits[:, 0]).double()
    each = -0.9 * positive * score.sigmoid().log() - 0.1 * (1 - positive) * (-score).sigmoid().log()
    assert float(loss(logits, target)) == pytest.approx(float(each.mean()), rel=1e-5)


def test_the_weight_of_side_outputs_falls() -> None:
    loss = SideOutputs(WeightedCrossEntropy(), [[0.0, 1.0], [0.3, 0.5], [0.6, 0.0]])
    assert [loss.side_weight(share) for share in (0.0, 0.29, 0.3, 0.6, 1.0)] == [1.0, 1.0, 0.5, 0.0, 0.0]


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"foreground": "liver", "model": {**SETTINGS["model"], "out_channels": 3}},
            "foreground: expected .*; found 3",
        ),
        ({"foreground": "liver", "loss_region": "liver"}, "foreground: expected .*loss_region=all"),
        ({"foreground": "spleen"}, "foreground: expected lesion or liver; found spleen"),
        ({"loss_region": "body"}, "loss_region: expected all, liver or predicted_liver; found body"),
        ({"loss_region": "predicted_liver"}, r"loss_region: expected all or liver, without a liver network"),
    ],
)
def test_settings_that_do_not_fit(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        LesionModule(**{**SETTINGS, **settings})


@pytest.mark.hostile
@pytest.mark.parametrize("stages", [[], [[0.1, 1.0]], [[0.0, 1.0], [0.5, 0.5], [0.2, 0.0]]])
def test_stages_start_at_0_and_ascend(stages: list) -> None:
    with pytest.raises(InputError, match=r"loss\.stages: expected .* ascending"):
        SideOutputs(WeightedCrossEntropy(), stages)
