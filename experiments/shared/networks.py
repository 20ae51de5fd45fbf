"""Build the networks that experiments compare, ready to run and as ONNX files."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from experiments.shared.checkpoints import untrained
from lits_seg.common.dependencies import install
from lits_seg.common.errors import InputError
from lits_seg.data.preprocess import Preprocess
from lits_seg.exporters.onnx import export_onnx
from lits_seg.exporters.quantize import quantize
from lits_seg.models import for_inference
from lits_seg.models.any_size import AnySize
from lits_seg.models.blocks import SeparableResidualBlock
from lits_seg.models.cost import count_macs, count_parameters
from lits_seg.phantom.write import generate_volume
from lits_seg.training.module import LesionModule

DECODERS = ("subpixel", "bilinear", "nearest", "bicubic", "subpixel_all", "deconv", "espcn", "maxunpool")
OURS = "dsc_unet/subpixel"
BASELINE = "unet/deconv"
# Networks of other papers, with the slices and classes of their originals.
PUBLISHED: dict[str, tuple[str, ...]] = {
    **{model: (f"model={model}",) for model in ("segnet", "driu", "ternausnet", "mobilenet_v1", "vorontsov")},
    **{model: (f"model={model}",) for model in ("drozdzal_2016", "drozdzal_2018")},
    **{model: (f"model={model}", "data.context=3") for model in ("fcn8s", "denseunet_161")},
    "han": ("model=han", "data.context=5"),
    "smp_unet": ("model=smp_unet",),
}
NETWORKS: dict[str, tuple[str, ...]] = {
    **{f"dsc_unet/{decoder}": ("model=dsc_unet", f"decoder={decoder}") for decoder in DECODERS},
    BASELINE: ("model=unet", "decoder=deconv"),
    "unet_bn/deconv": ("model=unet_bn", "decoder=deconv"),
    **{model: (f"model={model}",) for model in ("strided_unet", "strided_resunet", "strided_unet_512")},
    "strided_unet/context5": ("model=strided_unet", "data.context=5"),  # the packaged network
    **PUBLISHED,
    **{model: (f"model={model}",) for model in ("basic_unet", "segresnet", "nnunet_2d", "smp_mobilenet")},
}
# Networks that other experiments name without their decoder.
SHORT = {OURS: "dsc_unet", BASELINE: "unet", "unet_bn/deconv": "unet_bn"}
UNPOOLING = ("segnet", "dsc_unet/maxunpool")
PACKAGES = dict.fromkeys(("smp_unet", "smp_mobilenet"), "segmentation_models_pytorch")  # in the rivals extra
SLICES = 64  # number of slices of the synthetic CT
SETTLING = 4  # slices that suffice for the statistics of batch norms


@dataclass
class Network:
    """An untrained network in eval mode, with a slice and its logits.

    Attributes:
        name: a key of ``NETWORKS``.
        module: the network with its pre-processing.
        image: the slice, as all channels, ``(1, context, size, size)`` in [0, 1].
        logits: PyTorch's logits of the slice, ``(1, K, size, size)``.
        onnx: ONNX file as ``lits_seg.export`` writes it: the network for inference.
        reason: why the file is missing; empty if it exists.
    """

    name: str
    module: LesionModule
    image: Tensor
    logits: Tensor
    onnx: Path
    reason: str = ""

    @property
    def parameters(self) -> int:
        """The number of parameters."""
        return count_parameters(self.module.network)

    @property
    def macs(self) -> int:
        """The multiply-accumulates of the slice."""
        _, channels, size, _ = self.image.shape
        return count_macs(self.module.network, channels, size)

    @cached_property
    def int8(self) -> Path:
        """The path of the network as an ONNX file in 8-bit integers, calibrated on the slice."""
        whole, path = self.onnx.with_suffix(".whole.onnx"), self.onnx.with_suffix(".int8.onnx")
        export_onnx(for_inference(self.module.network, int8=True), {"image": self.image}, ["logits"], whole)
        quantize(whole, self.image.numpy(), path)
        return path

    def write_file(self) -> None:
        """Write the ONNX file, or keep the reason if the export fails."""
        try:
            export_onnx(for_inference(self.module.network), {"image": self.image}, ["logits"], self.onnx)
        except Exception as error:  # of any kind, since the exporter does not wrap exceptions
            self.reason = f"no ONNX file: {str(error).splitlines()[0]}"


def choose(names: Sequence[str] | str | None) -> tuple[list[str], list[str]]:
    """Return the names of the networks to measure, and a note on each network that needs a missing package.

    Args:
        names: some of ``NETWORKS``; None: all.

    Raises:
        InputError: for an unknown name.
    """
    chosen = list(NETWORKS) if names is None else [names] if isinstance(names, str) else list(names)
    for name in chosen:
        if name not in NETWORKS:
            raise InputError("networks", f"some of {', '.join(NETWORKS)}", name)
    return installed(chosen)


def typed(names: Iterable[str]) -> str:
    """Return the override that chooses networks, as it is typed in a shell."""
    return f"'networks=[{','.join(names)}]'"


def installed(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the names of the networks whose packages are installed, each once, and a note on each of the others."""
    missing = [name for name in names if name in PACKAGES and find_spec(PACKAGES[name]) is None]
    notes = [f"`{name}` is left out: {PACKAGES[name]} is missing ({install('rivals')})" for name in missing]
    return [name for name in dict.fromkeys(names) if name not in missing], notes


def synthetic_slices(size: int, count: int) -> Tensor:
    """Return neighbouring slices through the middle of a synthetic CT, ``(count, 1, size, size)`` in [0, 1].

    Args:
        size: side of the images, pixels.
        count: number of slices.
    """
    volume = generate_volume(0, case=1, size=size, slices=SLICES)
    hu = np.moveaxis(volume.hu, volume.hu.shape.index(SLICES), 0)
    images = torch.from_numpy(Preprocess(size=size).images(hu[(SLICES - count) // 2 :][:count]))
    return images[:, None].float() / 255


def make(name: str, images: Tensor, folder: Path, overrides: Sequence[str] = (), file: bool = True) -> Network:
    """Make an untrained network, and its ONNX file.

    Args:
        name: a key of ``NETWORKS``.
        images: slices ``(B, 1, size, size)`` in [0, 1], for the statistics of batch norms; the first is the slice.
        folder: folder for the ONNX file.
        overrides: further overrides of the network's configuration.
        file: whether to write the ONNX file.

    Raises:
        InputError: if the network does not accept images of this size.
    """
    size = images.shape[-1]
    module = untrained([*NETWORKS[name], f"data.preprocess.size={size}", *overrides])
    images = images.repeat(1, module.context, 1, 1)
    image = images[:1]
    try:
        _settle(module.network, images)
        with torch.inference_mode():
            logits = module.eval()(image)
    except (RuntimeError, ValueError) as error:  # too many halvings
        raise InputError("size", f"a size that {name} accepts", f"{size} ({error})") from error
    onnx = folder / f"{name.replace('/', '_')}.onnx"
    network = Network(name, module, image, logits, onnx, "" if file else "no ONNX file was asked for")
    if file:
        network.write_file()
    return network


def contiguous(network: nn.Module) -> nn.Module:
    """Change weights and maps of a network to contiguous memory order, in place, and return the network."""
    for part in network.modules():
        if isinstance(part, (AnySize, SeparableResidualBlock)):
            part.channels_last = False
    return network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # missing in torch's types


def _settle(network: nn.Module, images: Tensor) -> None:
    """Set the statistics of the batch norms to those of the images.

    With the initial statistics, a deep untrained network computes numbers so small that processors become slow.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None
    with torch.no_grad():
        network.train()(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
