"""Learning rates of single layers, as factors of the optimizer's rate."""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from annotated_types import Gt, Le
from hydra.utils import instantiate
from torch import nn
from torch.optim import Optimizer

from lits_seg.common.errors import InputError

Factor = Annotated[float, Gt(0), Le(1000)]
Rates = Annotated[dict[str, Factor], "a mapping from parts of names to factors above 0"]


def factors(network: nn.Module, rates: Mapping[str, float]) -> list[float]:
    """Return the factor of the learning rate of each weight of a network, in the order of ``parameters()``.

    Args:
        network: the network.
        rates: factors by a part of the weights' names, such as ``{"bias": 2}``. A weight whose name has several parts
            gets the product.

    Raises:
        InputError: if no weight has such a name.
    """
    names = [name for name, _ in network.named_parameters()]
    for part in rates:
        if not any(part in name for name in names):
            raise InputError("rates", f"parts of the names of weights, such as bias or {names[-1]}", part)
    return [math.prod(rate for part, rate in rates.items() if part in name) for name in names]


def optimizer_of(
    config: Mapping[str, Any], network: nn.Module, added: nn.Module, rates: Mapping[str, float]
) -> Optimizer:
    """Return an optimizer.

    Args:
        config: the optimizer's config.
        network: the network, whose weights are trained.
        added: further modules, whose weights are trained with the optimizer's own rate.
        rates: see ``factors``.
    """
    weights, make = [*network.parameters(), *added.parameters()], instantiate(config, _partial_=True)
    if not rates:
        return make(weights)
    each = factors(network, rates) + [1.0] * len(list(added.parameters()))
    # A group for each weight keeps the order of the weights, by which checkpoints store moments.
    return make([{"params": [weight], "lr": config["lr"] * one} for weight, one in zip(weights, each, strict=True)])
