"""The networks whose inference is measured side by side, each as a config, ready to run and as an ONNX file."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from hydra import compose
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor, nn

from lits_seg.benchmark.parameters import DECODERS
from lits_seg.common.errors import InputError
from lits_seg.data.preprocess import Preprocess
from lits_seg.exporters.onnx import export_onnx
from lits_seg.exporters.quantize import quantize
from lits_seg.models.unet import split_decoder
from lits_seg.phantom.write import generate_volume
from lits_seg.training.module import LesionModule

BASELINE = "unet/deconv"
NETWORKS: dict[str, tuple[str, ...]] = {
    **{f"dsc_unet/{decoder}": ("model=dsc_unet", f"decoder={decoder}") for decoder in DECODERS},
    BASELINE: ("model=unet", "decoder=deconv"),
    **{model: (f"model={model}",) for model in ("basic_unet", "segresnet", "nnunet_2d", "smp_mobilenet")},
}
PACKAGES = {"smp_mobilenet": "segmentation_models_pytorch"}  # of the rivals extra
SLICES = 64  # of the synthetic CT


@dataclass
class Network:
    """A network that was never trained, in eval mode, with a slice ``(1, 1, size, size)`` and its logits.

    ``onnx``: the file with the network as it is exported, ``whole``: the one that int8 is made from.
    """

    name: str
    cfg: DictConfig
    module: LesionModule
    image: Tensor
    logits: Tensor
    onnx: Path
    whole: Path
    reason: str = ""  # why there are no such files

    @cached_property
    def int8(self) -> Path:
        """The network in 8-bit integers as an ONNX file, calibrated on the slice."""
        path = self.whole.with_suffix(".int8.onnx")
        quantize(self.whole, self.image.numpy(), path)
        return path


def choose(names: Sequence[str] | str | None) -> tuple[list[str], list[str]]:
    """Names of the networks to measure (None: all), and what to tell of those that are left out.

    Raises ``InputError`` for a name that is none of ``NETWORKS``.
    """
    chosen = list(NETWORKS) if names is None else [names] if isinstance(names, str) else list(names)
    for name in chosen:
        if name not in NETWORKS:
            raise InputError("networks", f"some of {', '.join(NETWORKS)}", name)
    missing = [name for name in chosen if name in PACKAGES and find_spec(PACKAGES[name]) is None]
    notes = [
        f"`{name}` is left out: {PACKAGES[name]} is missing (`pip install 'lits_seg[rivals]'`)" for name in missing
    ]
    return [name for name in dict.fromkeys(chosen) if name not in missing], notes


def synthetic_slices(size: int, count: int) -> Tensor:
    """Neighbouring slices through the middle of a synthetic CT, ``(count, 1, size, size)`` in [0, 1]."""
    volume = generate_volume(0, case=1, size=size, slices=SLICES)
    hu = np.moveaxis(volume.hu, volume.hu.shape.index(SLICES), 0)
    images = torch.from_numpy(Preprocess(size=size).images(hu[(SLICES - count) // 2 :][:count]))
    return images[:, None].float() / 255


def make(name: str, images: Tensor, folder: Path) -> Network:
    """A network by its name, for the first of ``images``, its ONNX file in ``folder``.

    Raises ``InputError`` for images of a size that it does not take.
    """
    torch.manual_seed(0)
    size, image = images.shape[-1], images[:1]
    cfg = compose("train", [*NETWORKS[name], f"data.preprocess.size={size}"])
    module: LesionModule = instantiate(cfg.module)
    try:
        _settle(module.network, images)
        with torch.inference_mode():
            logits = module.eval()(image)
    except (RuntimeError, ValueError) as error:  # too many halvings
        raise InputError("size", f"one that {name} takes", f"{size} ({error})") from error
    onnx, whole = (folder / f"{name.replace('/', '_')}{part}.onnx" for part in ("", "_whole"))
    network = Network(name, cfg, module, image, logits, onnx, whole)
    try:
        export_onnx(split_decoder(module.network), {"image": image}, ["logits"], onnx)
        export_onnx(module.network, {"image": image}, ["logits"], whole)
    except Exception as error:  # of any kind: the exporter passes on what it meets
        network.reason = f"no ONNX file: {str(error).splitlines()[0]}"
    return network


@contextmanager
def contiguous_maps() -> Iterator[None]:
    """Within, our networks leave maps of one channel in the memory order that they have, as other networks do."""
    with patch("lits_seg.models.blocks.channels_last", _same), patch("lits_seg.models.unet.channels_last", _same):
        yield


def _same(features: Tensor) -> Tensor:
    return features


def _settle(network: nn.Module, images: Tensor) -> None:
    """Gives the batch norms the statistics of the images. With those that they start from, a deep network that was
    never trained would end in numbers so small that processors are slow on them."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None
    with torch.no_grad():
        network.train()(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
