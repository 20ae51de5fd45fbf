"""Losses for small lesions and hard pixels, and the sum of several losses.

All losses are called with logits ``(B, K, H, W)`` and target classes ``(B, H, W)`` in 0..K-1. The lesion is the last
class.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from lits_seg.common.errors import InputError
from lits_seg.common.stages import Stages, at_stage, require_stages
from lits_seg.training.losses import set_counts


class Sum(nn.Module):
    """The weighted sum of several losses.

    Args:
        terms: the losses, by name.
        weights: the weight of each loss, by name; None: all weights are 1.

    Raises:
        InputError: if the weights have other names than the terms.
    """

    def __init__(self, terms: Mapping[str, nn.Module], weights: Mapping[str, float] | None = None) -> None:
        super().__init__()
        self.terms = nn.ModuleDict(terms)
        self.weights = dict(weights) if weights is not None else dict.fromkeys(terms, 1.0)
        if self.weights.keys() != self.terms.keys():
            raise InputError("loss.weights", f"a number for each of {', '.join(terms)}", ", ".join(self.weights))

    def set_counts(self, counts: Sequence[int]) -> None:
        """Set the weights of classes in all losses that have them, from the training set's pixels per class."""
        for term in self.terms.values():
            set_counts(term, counts)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the weighted sum.

        Args:
            logits: ``(B, K, H, W)``.
            target: classes ``(B, H, W)``.
        """
        losses = [self.weights[name] * term(logits, target) for name, term in self.terms.items()]
        return torch.stack(losses).sum()


class WithChannel(nn.Module):
    """A loss of MONAI, which expects the target as ``(B, 1, H, W)``.

    Args:
        loss: the loss, with ``to_onehot_y`` and ``softmax`` or ``use_softmax``.
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss.

        Args:
            logits: ``(B, K, H, W)``.
            target: classes ``(B, H, W)``.
        """
        return self.loss(logits, target[:, None])


class NegativeLog(WithChannel):
    """The negative logarithm of an overlap, from a loss of MONAI that is 1 minus the overlap (TernausNet).

    Args:
        loss: the loss, with ``smooth_nr`` above 0, as no overlap has no logarithm.
    """

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the logarithm.

        Args:
            logits: ``(B, K, H, W)``.
            target: classes ``(B, H, W)``.
        """
        return -torch.log1p(-super().forward(logits, target))


class TopKCrossEntropy(nn.Module):
    """The mean cross-entropy of the pixels with the highest values in a batch (Wu et al., 2016; nnU-Net's TopK).

    Args:
        share: share of the pixels, in (0, 1].

    Raises:
        InputError: if the share is out of range.
    """

    def __init__(self, share: float = 0.1) -> None:
        super().__init__()
        if not 0 < share <= 1:
            raise InputError("loss.share", "above 0, at most 1", share)
        self.share = share

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean of the highest values.

        Args:
            logits: ``(B, K, H, W)``.
            target: classes ``(B, H, W)``.
        """
        each = functional.cross_entropy(logits, target, reduction="none").flatten()
        return each.topk(max(1, round(self.share * each.numel()))).values.mean()


class ComponentDice(nn.Module):
    """The soft Dice loss of each lesion by itself, so that a small lesion counts as much as a large lesion.

    Each pixel belongs to the nearest connected component of the slice's lesions (8 neighbours). The loss is the mean
    over all components of the batch (CC-Dice; Jaus et al., 2024). Slices without lesion do not contribute: combine
    this loss with another loss.

    Args:
        smooth: number of pixels added to numerator and denominator, against large gradients of tiny lesions.
    """

    def __init__(self, smooth: float = 1.0) -> None:
        super().__init__()
        self.smooth = smooth

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss of the components; 0 if the batch has no lesion.

        Args:
            logits: ``(B, K, H, W)``.
            target: classes ``(B, H, W)``.
        """
        lesion = logits.softmax(1)[:, -1]
        true = target == logits.shape[1] - 1
        regions, count = _nearest_component(true.cpu().numpy())
        if count == 0:
            return lesion.sum() * 0
        index = torch.from_numpy(regions).to(lesion.device).flatten()
        sums = lesion.new_zeros(3, count + 1)
        parts = torch.stack([lesion * true, lesion, true.to(lesion.dtype)]).flatten(1)
        overlap, predicted, reference = sums.index_add(1, index, parts)[:, 1:]
        return 1 - ((2 * overlap + self.smooth) / (predicted + reference + self.smooth)).mean()


def _nearest_component(lesion: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the number of each pixel's nearest component, ``(B, H, W)`` int64, and the number of components.

    Components are numbered from 1 over the whole batch; pixels of slices without lesion have number 0.
    """
    regions, count = np.zeros(lesion.shape, np.int64), 0
    for number, mask in enumerate(lesion):
        components, found = ndimage.label(mask, np.ones((3, 3)))
        if found:
            nearest = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
            regions[number] = components[tuple(nearest)] + count
            count += found
    return regions, count


class TandemDice(nn.Module):
    """The soft Dice losses of two decisions: liver (with its lesions) or not, lesion or not (Vorontsov et al., 2017).

    Class logits ``[0, liver, lesion + max(liver, 0)]``, as ``models.Tandem`` returns, contain the logits of both
    decisions.

    Args:
        smooth: number of pixels added to numerator and denominator, so that a batch without lesion has a loss.
    """

    def __init__(self, smooth: float = 1.0) -> None:
        super().__init__()
        self.smooth = smooth

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the sum of both losses, each over all pixels of the batch, in [0, 2].

        Args:
            logits: ``(B, 3, H, W)``.
            target: classes ``(B, H, W)``.

        Raises:
            InputError: if the logits do not have three classes.
        """
        if logits.shape[1] != 3:
            raise InputError("model.out_channels", "3 with this loss (background, liver, lesion)", logits.shape[1])
        background, liver, lesion = logits.unbind(1)
        heads = (liver - background, target >= 1), (lesion - torch.maximum(background, liver), target == 2)
        return torch.stack([self._dice_loss(logit.sigmoid(), true) for logit, true in heads]).sum()

    def _dice_loss(self, probability: Tensor, true: Tensor) -> Tensor:
        overlap = (probability * true).sum()
        return 1 - (2 * overlap + self.smooth) / (probability.sum() + true.sum() + self.smooth)


class SideOutputs(nn.Module):
    """A loss for networks with side outputs, such as ``models.DRIU``, whose weight changes in the course of a run.

    ``LesionModule`` adds the loss of each side output, with ``side_weight``, to the loss of the network's logits.

    Args:
        loss: the loss of each output.
        stages: from each share of the run on, the weight of the side outputs.

    Raises:
        InputError: if ``stages`` do not ascend from 0.
    """

    def __init__(self, loss: nn.Module, stages: Stages = ((0.0, 1.0),)) -> None:
        super().__init__()
        self.loss, self.stages = loss, require_stages("loss.stages", stages)

    def set_counts(self, counts: Sequence[int]) -> None:
        """Set the weights of the classes, if the loss has them, from the training set's pixels per class."""
        set_counts(self.loss, counts)

    def side_weight(self, progress: float) -> float:
        """Return the weight of the side outputs at a share of the run in [0, 1]."""
        return at_stage(self.stages, progress)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of one output.

        Args:
            logits: ``(B, K, H, W)``.
            target: classes ``(B, H, W)``.
        """
        return self.loss(logits, target)
