"""Losses: called with logits ``(B, K, H, W)`` and targets ``(B, H, W)`` in 0..K-1."""

import math
from collections.abc import Sequence

import torch
from monai.losses import DiceLoss
from torch import Tensor, nn
from torch.nn import functional

from lits_seg.common.errors import InputError


class WeightedCrossEntropy(nn.Module):
    """Weighted cross-entropy, the paper's loss (V.B); the paper does not state the weights.

    Args:
        weights: a weight for each class, or ``"auto"``: a class with n pixels in the training set weighs
            ``n ** -balance``, scaled so that the mean weight of a pixel is 1.
        balance: for ``"auto"``: 1 gives every class the same total weight; 0 every pixel the same weight. About one CT
            pixel in 350 is lesion: 1 then increases recall at the cost of many false positives.
    """

    weights: Tensor

    def __init__(self, weights: str | Sequence[float] = "auto", balance: float = 0.5) -> None:
        super().__init__()
        self.auto = weights == "auto"
        if isinstance(weights, str) and not self.auto:
            raise InputError("loss.weights", "auto, or a list of numbers", weights)
        if not self.auto and not all(isinstance(weight, (int, float)) and 0 <= weight < math.inf for weight in weights):
            raise InputError("loss.weights", "auto, or a list of numbers, none negative", list(weights))
        if not 0 <= balance <= 1:
            raise InputError("loss.balance", "between 0 and 1", balance)
        self.balance = balance
        # In the checkpoint, so that a loss computed later is the same.
        self.register_buffer("weights", torch.empty(0) if self.auto else torch.tensor(list(weights)).float())

    def set_counts(self, counts: Sequence[int]) -> None:
        """Set the weights from the training set's pixels per class, unless weights were given."""
        if not self.auto:
            if len(self.weights) != len(counts):
                raise InputError("loss.weights", f"{len(counts)} numbers", self.weights.tolist())
            return
        pixels = torch.tensor(counts, dtype=torch.double)
        weights = pixels.clamp(min=1) ** -self.balance
        self.weights = (weights * pixels.sum() / (weights * pixels).sum()).float().to(self.weights.device)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean over pixels, each weighted by its class.

        Args:
            logits: ``(B, K, H, W)``.
            target: classes ``(B, H, W)``.
        """
        return functional.cross_entropy(logits, target, weight=self.weights.to(logits.dtype))

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: object) -> None:
        # Weights from counts have no size before the counts are known.
        stored = state_dict.get(prefix + "weights")
        if self.auto and stored is not None:
            self.weights = torch.empty_like(stored)
        super()._load_from_state_dict(state_dict, prefix, *args)


class DiceCrossEntropy(WeightedCrossEntropy):
    """Soft Dice of the foreground over the whole batch, plus weighted cross-entropy.

    Args:
        dice: weight of the Dice term (MONAI's ``DiceLoss``).
        weights: see ``WeightedCrossEntropy``.
        balance: see ``WeightedCrossEntropy``; the default leaves the cross-entropy unweighted.
    """

    def __init__(self, dice: float = 1.0, weights: str | Sequence[float] = "auto", balance: float = 0.0) -> None:
        super().__init__(weights, balance)
        self.dice = dice
        self.dice_loss = DiceLoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean over classes and pixels.

        Args:
            logits: ``(B, K, H, W)``.
            target: classes ``(B, H, W)``.
        """
        return super().forward(logits, target) + self.dice * self.dice_loss(logits, target[:, None])
