"""Supervise inner layers of a network, as nnU-Net does."""

from collections.abc import Callable, Mapping, Sequence

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn
from torch.nn import functional

from lits_seg.common.errors import InputError
from lits_seg.data.sampling import LIVER_OR_LESION
from lits_seg.training.module import AuxiliaryLoss, LesionModule

RANK = torch.tensor([0, 1, 3, 2])  # of background, liver, lesion and LIVER_OR_LESION; also the way back


class DeepSupervision(Callback):
    """A callback that adds a 1x1 convolution to inner layers and their loss to the training loss.

    The target of a layer is the highest label below each of its pixels: the lesion wins over the liver, so that small
    lesions remain. Pixels that the loss ignores win over the liver: livers whose lesions are unknown, and what is
    outside of the predicted liver. The convolutions are in no export: they are trained in ``LesionModule.auxiliary``.

    Args:
        weights: weight of the loss of each layer, innermost last: 0.5 for the layer before the output, 0.25 for the
            layer before that, and so on.
        layers: names of the layers within the network, outermost first, such as ``decoder.2``; None: the levels of
            ``network.decoder``, except the last level.

    Raises:
        InputError: if the network has no such layers, or enlarges a part of the image.
    """

    def __init__(self, weights: Sequence[float] = (0.5, 0.25), layers: Sequence[str] | None = None) -> None:
        self.weights, self.layers = list(weights), None if layers is None else list(layers)
        self._features: dict[str, Tensor] = {}

    def setup(self, trainer: pl.Trainer, pl_module: LesionModule, stage: str) -> None:
        """Add the convolutions before the optimizer is made."""
        if stage != "fit":
            return
        if getattr(pl_module.network, "enlarge", False):
            raise InputError("callbacks", "no deep_supervision with liver_enlarge=true, whose layers see a box", "both")
        named = dict(pl_module.network.named_modules())
        layers = self.layers or _decoder_levels(named)[: len(self.weights)]
        missing = [name for name in layers if name not in named]
        if missing or not layers or len(layers) != len(self.weights):
            expected = f"{len(self.weights)} layers of the network"
            raise InputError("callbacks.deep_supervision.layers", expected, ", ".join(missing or layers) or "none")
        for name in layers:
            named[name].register_forward_hook(self._keep(name))
        pl_module.eval()
        with torch.no_grad():
            pl_module(torch.zeros(1, pl_module.context, *2 * [pl_module.preprocess.size]))
        pl_module.train()
        for name in layers:
            head = nn.Conv2d(self._features[name].shape[1], pl_module.learned.classes, 1)
            pl_module.auxiliary[name.replace(".", "_")] = head
        pl_module.auxiliary_losses.append(self._loss(pl_module, dict(zip(layers, self.weights, strict=True))))

    def _keep(self, name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self._features[name] = output

        return hook

    def _loss(self, module: LesionModule, weights: dict[str, float]) -> AuxiliaryLoss:
        def loss(batch: Mapping[str, Tensor], logits: Tensor) -> Tensor:
            total, rank = logits.new_zeros(()), RANK.to(logits.device)
            ranked = rank[batch["label"].clamp(0, LIVER_OR_LESION)][:, None].float()
            for name, weight in weights.items():
                inner = module.auxiliary[name.replace(".", "_")](self._features.pop(name)).float()
                smaller = rank[functional.adaptive_max_pool2d(ranked, inner.shape[-2:])[:, 0].long()]
                total = total + weight * module.known_loss(inner, smaller)
            return total

        return loss


def _decoder_levels(named: dict[str, nn.Module]) -> list[str]:
    """Return the names of the decoder's levels before the last level, outermost first."""
    decoder = named.get("decoder")
    count = len(decoder) if isinstance(decoder, nn.ModuleList) else 0
    return [f"decoder.{number}" for number in range(count - 2, -1, -1)]
