"""Read the weights of a classifier, trained on ImageNet, into the part of a network that the original took from it."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from lits_seg.common.errors import InputError

EXPECTED = "a file of torch.save(classifier.state_dict(), FILE)"


def load_pretrained(network: nn.Module, path: str | Path) -> str:
    """Copy the weights of a classifier into a network.

    The names of the layers may differ: the order and the shapes of the tensors must be the same. If the images do not
    have 3 channels, each channel gets the mean of the first convolution's weights, so that a grey image gives the same
    maps. Fully connected layers become convolutions. If the file has no batch norms, only convolutions are copied.

    Args:
        network: a network with a tuple of layers, ``pretrained``.
        path: a state dict, as torchvision and timm distribute for VGG11, VGG16, DenseNet-161 and MobileNet V1.

    Returns:
        A text that names the layers.

    Raises:
        InputError: if the network has no such layers, or the file is missing, damaged, or of another classifier.
    """
    names = getattr(network, "pretrained", ())
    if not names:
        raise InputError("weights", "a network whose original began from ImageNet", type(network).__name__)
    state = _read(path)
    layers = nn.ModuleList(getattr(network, name) for name in names)
    targets = _tensors(layers.state_dict())
    if not any(name.endswith("running_mean") for name in state):
        convolutions = {name for name, module in layers.named_modules() if isinstance(module, nn.Conv2d)}
        targets = {name: value for name, value in targets.items() if name.rpartition(".")[0] in convolutions}
    if len(state) < len(targets):
        raise InputError(path, f"{len(targets)} tensors for {', '.join(names)}", len(state))
    fitting = {
        name: _fitted(path, source, value, target, first=number == 0)
        for number, ((name, target), (source, value)) in enumerate(zip(targets.items(), state.items(), strict=False))
    }
    layers.load_state_dict(fitting, strict=False)
    return f"{path}: {len(fitting)} tensors are the start of {', '.join(names)}"


def _read(path: str | Path) -> dict[str, Tensor]:
    if not Path(path).is_file():
        raise InputError(path, EXPECTED, "a folder" if Path(path).is_dir() else "no such file")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file may raise anything
        raise InputError(path, EXPECTED, f"another or damaged file ({type(error).__name__})") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(path, EXPECTED, "another content")
    return _tensors(state)


def _tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {str(name): value for name, value in state.items() if not str(name).endswith("num_batches_tracked")}


def _fitted(path: str | Path, name: str, value: Tensor, target: Tensor, first: bool) -> Tensor:
    """Return the tensor ``name`` of a file in the shape of the network's tensor."""
    found = f"{value.dtype} {tuple(value.shape)}"
    if first and value.dim() == 4 and value.shape[1] == 3 != target.shape[1]:
        channels = target.shape[1]
        value = (value.sum(1, keepdim=True).expand(-1, channels, -1, -1) / channels).to(value.dtype)
    if value.dim() == 2 and target.dim() == 4 and value.numel() == target.numel():
        value = value.reshape(target.shape)
    if value.shape != target.shape or not value.is_floating_point():
        raise InputError(path, f"floats of shape {tuple(target.shape)} ({name})", found)
    if not value.isfinite().all():
        raise InputError(path, "finite weights", f"NaN or infinity in {name}")
    return value
