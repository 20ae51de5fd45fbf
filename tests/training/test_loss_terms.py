"""Losses for small lesions and hard pixels."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.losses import DiceLoss
from torch.nn import functional

from lits_seg.common.errors import InputError
from lits_seg.data.sampling import LIVER_OR_LESION
from lits_seg.training.loss_terms import ComponentDice, NegativeLog, SideOutputs, Sum, TandemDice, TopKCrossEntropy
from lits_seg.training.losses import WeightedCrossEntropy
from lits_seg.training.targets import Targets


def certain(target: torch.Tensor, classes: int = 3, scale: float = 30.0) -> torch.Tensor:
    """Logits of a network that is certain of a target."""
    return scale * functional.one_hot(target, classes).permute(0, 3, 1, 2).float()


def two_lesions() -> torch.Tensor:
    target = torch.zeros(1, 32, 32, dtype=torch.long)
    target[:, 2:22, 2:22] = 2
    target[:, 27:30, 27:30] = 2
    return target


def test_a_small_lesion_counts_as_much_as_a_large_lesion() -> None:
    target, loss = two_lesions(), ComponentDice(smooth=0.0)
    for lost in ((slice(2, 22),) * 2, (slice(27, 30),) * 2):
        predicted = target.clone()
        predicted[0, lost[0], lost[1]] = 0
        assert loss(certain(predicted), target) == pytest.approx(0.5, abs=1e-4)
    assert loss(certain(target), target) == pytest.approx(0.0, abs=1e-4)


def test_false_pixels_count_for_the_nearest_lesion() -> None:
    target, loss = two_lesions(), ComponentDice(smooth=0.0)
    predicted = target.clone()
    predicted[0, 30:32, 27:30] = 2  # 6 false pixels below the small lesion of 9 pixels
    by_hand = (0 + (1 - 2 * 9 / (9 + 15))) / 2
    assert loss(certain(predicted), target) == pytest.approx(by_hand, abs=1e-4)


def test_without_lesions_the_loss_is_zero_and_has_a_gradient() -> None:
    logits = torch.randn(2, 3, 8, 8, requires_grad=True)
    loss = ComponentDice()(logits, torch.ones(2, 8, 8, dtype=torch.long))
    loss.backward()
    assert float(loss.detach()) == 0
    assert not logits.grad.any()


def test_the_logarithm_of_the_jaccard_index_by_hand() -> None:
    settings = {"include_background": False, "to_onehot_y": True, "softmax": True, "batch": True}
    loss = NegativeLog(DiceLoss(jaccard=True, smooth_nr=1.0, smooth_dr=1.0, **settings))
    target = torch.zeros(1, 8, 8, dtype=torch.long)
    target[:, :4] = 1
    predicted = target.clone()
    predicted[:, 2:6] = 1 - predicted[:, 2:6]  # 16 pixels missed, 16 false
    assert loss(certain(target, 2), target) == pytest.approx(0.0, abs=1e-4)
    assert loss(certain(predicted, 2), target) == pytest.approx(-math.log((2 * 16 + 1) / (2 * 48 + 1)), rel=1e-4)
    assert torch.isfinite(loss(certain(1 - target, 2), torch.zeros_like(target)))


@given(share=st.floats(0.01, 1.0))
def test_the_hardest_pixels_alone_count(share: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 8, 8, generator=generator)
    target = torch.randint(3, (2, 8, 8), generator=generator)
    each = functional.cross_entropy(logits, target, reduction="none").flatten().sort(descending=True).values
    found = TopKCrossEntropy(share)(logits, target)
    assert found == pytest.approx(float(each[: max(1, round(share * 128))].mean()), rel=1e-5)


def test_a_sum_weighs_its_terms_and_sets_their_counts() -> None:
    target = two_lesions()
    logits = certain(target.roll(1, 1), scale=1.0)
    terms = {"ce": WeightedCrossEntropy(balance=1.0), "topk": TopKCrossEntropy(0.5)}
    total = Sum(terms, {"ce": 2.0, "topk": 0.5})
    total.set_counts([90, 9, 1])
    assert total(logits, target) == pytest.approx(
        float(2 * terms["ce"](logits, target) + 0.5 * terms["topk"](logits, target))
    )
    assert terms["ce"].weights.argmax() == 2


def test_losses_within_losses_have_the_weights_of_the_classes() -> None:
    target = two_lesions()
    logits = certain(target.roll(1, 1), scale=1.0)
    alone, within = WeightedCrossEntropy(), WeightedCrossEntropy()
    nested = SideOutputs(Sum({"terms": Sum({"ce": within})}))
    for loss in (alone, nested):
        loss.set_counts([90, 9, 1])
    assert nested(logits, target) == alone(logits, target)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (lambda: Sum({"ce": WeightedCrossEntropy()}, {"dice": 1.0}), "loss.weights: expected a number for each of ce"),
        (lambda: TopKCrossEntropy(0.0), "loss.share: expected above 0"),
        (lambda: TopKCrossEntropy(1.5), "loss.share: expected above 0"),
    ],
)
def test_wrong_settings_are_named(wrong: object, named: str) -> None:
    with pytest.raises(InputError, match=named):
        wrong()


def soft_dice(probability: torch.Tensor, true: torch.Tensor) -> float:
    probability = probability.detach()
    overlap = float((probability * true).sum())
    return 1 - (2 * overlap + 1) / (float(true.sum()) + float(probability.sum()) + 1)


def test_tandem_dice_is_the_loss_of_both_heads() -> None:
    torch.manual_seed(0)
    liver, lesion = torch.randn(2, 2, 8, 8, dtype=torch.double).requires_grad_().unbind()
    target = torch.randint(3, (2, 8, 8))
    logits = torch.stack([torch.zeros_like(liver), liver, lesion + liver.clamp(min=0)], dim=1)
    expected = soft_dice(liver.sigmoid(), target >= 1) + soft_dice(lesion.sigmoid(), target == 2)
    loss = TandemDice()(logits, target)
    assert loss.item() == pytest.approx(expected)
    # The gradient is the one of the heads, although both logits pass through the third class.
    sums = [
        (2 * (head.sigmoid() * true).sum() + 1) / (head.sigmoid().sum() + true.sum() + 1)
        for head, true in ((liver, target >= 1), (lesion, target == 2))
    ]
    found = torch.autograd.grad(loss, (liver, lesion), retain_graph=True)
    torch.testing.assert_close(found, torch.autograd.grad(-sum(sums), (liver, lesion)))


def test_tandem_dice_of_certain_and_of_unknown_pixels() -> None:
    target, loss = two_lesions(), TandemDice()
    target[:, 25:, :10] = 1
    liver, lesion = (60.0 * (target >= label) - 30 for label in (1, 2))
    logits = torch.stack([torch.zeros_like(liver), liver, lesion + liver.clamp(min=0)], dim=1)
    assert loss(logits, target) == pytest.approx(0, abs=1e-4)
    assert loss(-logits, target) > 1
    known, label = Targets(3).known(torch.randn(1, 3, 32, 32), torch.full((1, 32, 32), LIVER_OR_LESION))
    assert loss(known, label) == pytest.approx(0, abs=1e-4)


def test_tandem_dice_needs_three_classes() -> None:
    with pytest.raises(InputError, match=r"model\.out_channels: expected 3"):
        TandemDice()(torch.zeros(1, 2, 8, 8), torch.zeros(1, 8, 8, dtype=torch.long))
