"""Losses, called with logits ``(B, K, H, W)`` and target classes ``(B, H, W)`` in 0..K-1."""

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Le, Len
from monai.losses import DiceLoss
from torch import Tensor, nn
from torch.nn import functional

from lits_seg.common.errors import InputError
from lits_seg.common.settings import Probability

Weight = Annotated[float, Ge(0), Le(1_000_000)]
Weights = Annotated[Sequence[Weight], Len(2, 3)]


def set_counts(loss: Any, counts: Sequence[int]) -> None:
    """Set the weights of the classes in a loss that has them, from the training set's pixels per class.

    Args:
        loss: a loss; one without such weights, of any package, stays as it is.
        counts: pixels per class.
    """
    if hasattr(loss, "set_counts"):
        loss.set_counts(counts)


class WeightedCrossEntropy(nn.Module):
    """Weighted cross-entropy, the paper's loss (V.B). The paper does not state the weights.

    Args:
        weights: a weight for each class, or ``"auto"``. With ``"auto"``, a class with n pixels in the training set has
            weight ``n ** -balance``, scaled so that the mean weight of a pixel is 1.
        balance: exponent for ``"auto"``, in [0, 1]. With 1, all classes have the same total weight; with 0, all pixels
            have the same weight. About one CT pixel in 350 is lesion, so 1 increases recall at the cost of many false
            positives.
        per_pixel: divide the sum over pixels by their number, instead of by the sum of their weights, which depends on
            the batch.

    Raises:
        InputError: if ``weights`` or ``balance`` has another form or range.
    """

    weights: Tensor

    def __init__(
        self, weights: Literal["auto"] | Weights = "auto", balance: Probability = 0.5, per_pixel: bool = False
    ) -> None:
        super().__init__()
        self.auto = weights == "auto"
        if isinstance(weights, str) and not self.auto:
            raise InputError("loss.weights", "auto, or a list of numbers", weights)
        if not self.auto and not all(isinstance(weight, (int, float)) and 0 <= weight < math.inf for weight in weights):
            raise InputError("loss.weights", "auto, or a list of numbers that are not negative", list(weights))
        if not 0 <= balance <= 1:
            raise InputError("loss.balance", "between 0 and 1", balance)
        self.given = [] if self.auto else [float(weight) for weight in weights]
        self.balance, self.per_pixel = balance, per_pixel
        # A buffer is saved in the checkpoint, so that a loss computed later is the same.
        self.register_buffer("weights", torch.tensor(self.given))

    def set_counts(self, counts: Sequence[int]) -> None:
        """Set the given weights, or weights from the training set's pixels per class; never those of a checkpoint.

        Raises:
            InputError: if the number of given weights is not the number of classes.
        """
        if not self.auto:
            if len(self.given) != len(counts):
                raise InputError("loss.weights", f"{len(counts)} numbers", self.given)
            self.weights = torch.tensor(self.given).to(self.weights.device)
            return
        pixels = torch.tensor(counts, dtype=torch.double)
        weights = pixels.clamp(min=1) ** -self.balance
        self.weights = (weights * pixels.sum() / (weights * pixels).sum()).float().to(self.weights.device)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the cross-entropy, averaged over pixels with the weights of their classes, see ``per_pixel``.

        Args:
            logits: ``(B, K, H, W)``.
            target: classes ``(B, H, W)``.
        """
        weights = self.weights.to(logits.dtype)
        if self.per_pixel:
            return functional.cross_entropy(logits, target, weight=weights, reduction="sum") / target.numel()
        return functional.cross_entropy(logits, target, weight=weights)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: object) -> None:
        # Before the counts are known, the buffer is empty; a run may also resume with other weights.
        stored = state_dict.get(prefix + "weights")
        if stored is not None:
            self.weights = torch.empty_like(stored)
        super()._load_from_state_dict(state_dict, prefix, *args)


class DiceCrossEntropy(WeightedCrossEntropy):
    """The sum of weighted cross-entropy and the soft Dice loss of the foreground over the whole batch.

    Args:
        dice: weight of the Dice loss (MONAI's ``DiceLoss``).
        weights: see ``WeightedCrossEntropy``.
        balance: see ``WeightedCrossEntropy``; the default leaves the cross-entropy unweighted.
    """

    def __init__(
        self, dice: Weight = 1.0, weights: Literal["auto"] | Weights = "auto", balance: Probability = 0.0
    ) -> None:
        super().__init__(weights, balance)
        self.dice = dice
        self.dice_loss = DiceLoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the cross-entropy plus the weighted Dice loss.

        Args:
            logits: ``(B, K, H, W)``.
            target: classes ``(B, H, W)``.
        """
        return super().forward(logits, target) + self.dice * self.dice_loss(logits, target[:, None])
