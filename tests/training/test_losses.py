import pytest
import torch

from lits_seg.common.errors import InputError
from lits_seg.training.losses import DiceCrossEntropy, WeightedCrossEntropy

COUNTS = [900, 90, 10]


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_weights_from_counts(balance: float) -> None:
    loss = WeightedCrossEntropy("auto", balance)
    loss.set_counts(COUNTS)
    total = loss.weights.double() * torch.tensor(COUNTS)
    assert total.sum() == pytest.approx(sum(COUNTS), rel=1e-5)  # a pixel weighs 1 on average
    if balance == 0:
        assert loss.weights.tolist() == pytest.approx([1, 1, 1])
    if balance == 1:
        assert total.tolist() == pytest.approx([total[0].item()] * 3, rel=1e-5)


def test_class_that_never_occurs_has_a_finite_weight() -> None:
    loss = WeightedCrossEntropy("auto", 1.0)
    loss.set_counts([900, 90, 0])
    assert torch.isfinite(loss.weights).all()
    assert (loss.weights > 0).all()


def test_weighted_cross_entropy_by_hand() -> None:
    loss = WeightedCrossEntropy([1.0, 3.0])
    logits = torch.tensor([[[[0.0, 2.0]], [[0.0, 0.0]]]])  # (1, 2, 1, 2)
    target = torch.tensor([[[1, 0]]])
    first, second = torch.log(torch.tensor(2.0)), torch.log(1 + torch.exp(torch.tensor(-2.0)))
    assert loss(logits, target) == pytest.approx(float((3 * first + second) / 4))


def test_weights_stay_in_the_checkpoint() -> None:
    loss, fresh = WeightedCrossEntropy(), WeightedCrossEntropy()
    loss.set_counts(COUNTS)
    fresh.load_state_dict(loss.state_dict())
    assert torch.equal(fresh.weights, loss.weights)


def test_given_weights_are_kept_and_must_fit() -> None:
    loss = WeightedCrossEntropy([1.0, 2.0, 4.0])
    loss.set_counts(COUNTS)
    assert loss.weights.tolist() == [1, 2, 4]
    with pytest.raises(InputError, match="expected 2 numbers"):
        loss.set_counts([9, 1])


@pytest.mark.parametrize(
    "wrong", [{"weights": "heavy"}, {"weights": [1, -1]}, {"weights": [1, "two"]}, {"balance": -1}]
)
def test_bad_settings_are_named(wrong: dict) -> None:
    with pytest.raises(InputError, match=f"loss.{next(iter(wrong))}: expected"):
        WeightedCrossEntropy(**wrong)


@pytest.mark.parametrize("classes", [2, 3])
def test_dice_cross_entropy_falls_with_better_logits(classes: int) -> None:
    target = torch.randint(classes, (2, 16, 16), generator=torch.Generator().manual_seed(0))
    right = torch.nn.functional.one_hot(target, classes).permute(0, 3, 1, 2).float()
    loss = DiceCrossEntropy()
    loss.set_counts([1] * classes)
    losses = [float(loss(scale * right, target)) for scale in (-3, 0, 3, 30)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.01
