"""Read checkpoints of this package without running any code that a file contains."""

import inspect
import logging
import os
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_module_registration_hook

from lits_seg.common.errors import InputError
from lits_seg.common.settings import as_typed
from lits_seg.common.untrusted import require_stored
from lits_seg.models.cascade import learned_part
from lits_seg.models.cost import count_parameters
from lits_seg.runs.naming import decoder_levels, decoder_name
from lits_seg.runs.result import NetworkFacts
from lits_seg.training.allowed_classes import require_allowed
from lits_seg.training.module import AUXILIARY, LesionModule
from lits_seg.training.targets import STRUCTURES

log = logging.getLogger(__name__)

SETTINGS = frozenset(inspect.signature(LesionModule.__init__).parameters) - {"self"}
SINCE_0_2 = {
    "rules": None,
    "temperature": 1.0,
    "foreground": "lesion",
    "loss_region": "all",
    "rates": None,
}  # settings that checkpoints of older versions lack
LARGEST_PICKLE = 2**22  # bytes; the settings and the table of tensors have 100 kB
# ``weights_only`` allows more, such as bytearray and FloatTensor, which take as much memory as a number says.
GLOBALS = re.compile(
    r"collections (OrderedDict|Counter)|builtins set|torch (Size|device|\w+Storage|b?float\d+|u?int\d+|bool)"
    r"|torch\._utils _rebuild_(tensor_v2|parameter)"
)
EXPECTED = "a checkpoint of lits_seg"
# Settings of the images and classes of a network, by their places in the settings of a module.
LEARNED = {
    "data.context": ("model", "in_channels"),
    "model.out_channels": ("model", "out_channels"),
    **{f"data.preprocess.{name}": ("preprocess", name) for name in ("window", "equalize", "spacing")},
}
FITTED = "fitted_on"  # key of a checkpoint: names of the patients that ``lits-seg calibrate`` has fitted its rules on


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a Lightning checkpoint of a ``LesionModule`` onto the CPU.

    Raises:
        InputError: if the file is missing or damaged, was not written by lits_seg, refers to a class outside the
            allowed packages, or unpacks to more than its own size.
    """
    if os.path.isdir(path):
        inside = Path(path, "checkpoints", "best.ckpt")
        raise InputError(path, "a checkpoint", f"a folder{f'; there is {inside}' if inside.exists() else ''}")
    names = require_stored(Path(path), EXPECTED)
    try:
        _require_tensors_only(Path(path), names)
        # A memory map takes no memory for tensors that are larger than the file says.
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except InputError:
        raise
    except Exception as error:  # a damaged file may raise anything
        raise InputError(path, EXPECTED, f"another or damaged file ({type(error).__name__})") from error
    settings = checkpoint.get("hyper_parameters") if isinstance(checkpoint, dict) else None
    if (
        not isinstance(settings, dict)
        or {**SINCE_0_2, **settings}.keys() != SETTINGS
        or not isinstance(state := checkpoint.get("state_dict"), dict)
        or not all(isinstance(name, str) for name in state)
        or not isinstance(checkpoint.get(FITTED, []), list)
    ):
        raise InputError(path, EXPECTED, "a checkpoint of another program or version")
    checkpoint["hyper_parameters"] = require_allowed({**SINCE_0_2, **settings}, path)
    return checkpoint


def load_module(path: str | Path) -> LesionModule:
    """Return the ``LesionModule`` of a checkpoint, in eval mode, on the CPU.

    Raises:
        InputError: if ``read_checkpoint`` rejects the file, the weights do not fit the settings, or a weight is not
            finite.
    """
    checkpoint = read_checkpoint(path)
    settings = checkpoint["hyper_parameters"]
    # Modules for training only, such as those of DeepSupervision, are no part of the network.
    state = {name: value for name, value in checkpoint["state_dict"].items() if not name.startswith(AUXILIARY)}
    _require_fit(path, _sketch(path, settings, len(state)), state)
    module = LesionModule(**settings)
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(path, "weights that fit the settings in the checkpoint", str(error).splitlines()[0]) from error
    for name, tensor in module.network.state_dict().items():
        if not tensor.isfinite().all():
            raise InputError(path, "finite weights", f"NaN or infinity in network.{name}")
    return module.eval()


def fill_weights(module: LesionModule, path: str | Path) -> str:
    """Copy the weights of a checkpoint into the layers of a module that have the same name and shape.

    Of a cascade, only the lesion network is trained: it alone gets weights, and those of a cascade's lesion network.
    If the checkpoint has learned from other images or classes, a warning names the settings.

    Args:
        module: the module to change.
        path: the checkpoint, of any network or cascade.

    Returns:
        A text that names the layers that fit, or those that do not.

    Raises:
        InputError: if ``read_checkpoint`` rejects the file, or if no layer with weights fits.
    """
    checkpoint = read_checkpoint(path)
    stored = checkpoint["state_dict"]
    learned = learned_part(module.network)
    weights = learned.state_dict()
    start = {name: stored.get(f"network.lesion.{name}", stored.get(f"network.{name}")) for name in weights}
    fitting = {name: value for name, value in start.items() if getattr(value, "shape", 0) == weights[name].shape}
    if not any(value.dim() > 1 for value in fitting.values()):  # norms of any two networks may fit by chance
        network, other = (
            str(one["_target_"]) for one in (module.hparams["model"], checkpoint["hyper_parameters"]["model"])
        )
        found = f"{other}, without a convolution of the same name and shape"
        raise InputError(path, f"a checkpoint with layers of this network ({network})", found)
    learned.load_state_dict(fitting, strict=False)
    _warn_of_other_images(path, checkpoint["hyper_parameters"], module.hparams)
    fit, new = (_layers([name for name in weights if (name in fitting) == known]) for known in (True, False))
    text = f"{path}: {len(fitting)} of {len(weights)} weights are the network's start"
    if not new:
        return text
    # The shorter list says it all.
    return f"{text}; new: {new}" if len(new) <= len(fit) else f"{text}: {fit}; all others are new"


def _warn_of_other_images(path: str | Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Warn if the settings of a start and of the new module differ in what the network sees or returns."""
    before, now = ({**one, "model": one["model"].get("lesion", one["model"])} for one in (before, now))  # of a cascade
    values = {
        name: [settings[part][key] for settings in (before, now)]
        for name, (part, key) in LEARNED.items()
        if key in before[part] and key in now[part]
    }
    differing = {name: [as_typed(value) for value in pair] for name, pair in values.items() if pair[0] != pair[1]}
    if differing:
        learned, here = (", ".join(f"{name}={pair[i]}" for name, pair in differing.items()) for i in (0, 1))
        log.warning("%s: learned with %s; this run has %s: the start loses much of its use", path, learned, here)


def _layers(names: Iterable[str]) -> str:
    """Return the layers of some weights, each once."""
    return ", ".join(dict.fromkeys(name.rpartition(".")[0] for name in names))


def network_facts(module: LesionModule) -> NetworkFacts:
    """Return the network's class, decoder and number of parameters."""
    model = module.hparams["model"]
    return NetworkFacts(
        network=model["_target_"].rsplit(".", 1)[-1],
        decoder=decoder_name(model),
        levels=decoder_levels(model),
        parameters=count_parameters(module.network),
    )


def require_same_model(path: str | Path, model: dict[str, Any]) -> dict[str, Any]:
    """Read a checkpoint that must contain the network of a config.

    Args:
        path: the checkpoint.
        model: the network's config in plain containers.

    Raises:
        InputError: if the checkpoint contains another network; lists the settings that differ.
    """
    checkpoint = read_checkpoint(path)
    stored = checkpoint["hyper_parameters"]["model"]
    differing = [key for key in sorted(stored.keys() | model.keys()) if stored.get(key) != model.get(key)]
    if differing:
        expected = ", ".join(f"{key}={model.get(key)}" for key in differing)
        found = ", ".join(f"{key}={stored.get(key)}" for key in differing)
        raise InputError(path, f"a checkpoint of this model ({expected})", found)
    return checkpoint


def _require_tensors_only(path: Path, names: list[str]) -> None:
    """Require that the pickle in a checkpoint names nothing but tensors and containers."""
    pickles = [name for name in names if name.endswith("/data.pkl")]
    with zipfile.ZipFile(path) as file:
        if len(pickles) != 1 or file.getinfo(pickles[0]).file_size > LARGEST_PICKLE:
            raise InputError(path, EXPECTED, "a ZIP file of another program")
        content = file.read(pickles[0])
        if damaged := file.testzip():  # torch.load does not compare the checksums of mapped tensors
            raise InputError(path, EXPECTED, f"a damaged file (the checksum of {damaged})")
    for code, argument, _ in pickletools.genops(content):
        if code.name in ("GLOBAL", "STACK_GLOBAL", "INST") and not GLOBALS.fullmatch(str(argument)):
            raise InputError(path, EXPECTED, f"another file, which names {argument}")


def _sketch(path: str | Path, settings: dict[str, Any], tensors: int) -> LesionModule:
    """Build the module of a checkpoint and run its network, on the meta device, which takes no memory.

    Args:
        path: the checkpoint, which errors name.
        settings: the settings in the checkpoint.
        tensors: number of tensors in the checkpoint.
    """
    try:
        with (
            torch.device("meta"),
            torch.inference_mode(),
            warnings.catch_warnings(action="ignore"),
            _at_most(10 * tensors + 100),
        ):
            module = LesionModule(**settings).eval()
            # Deep networks cannot halve a small image often enough, and on this device no size takes memory.
            size = max(256, module.preprocess.size)
            logits = tuple(module(torch.empty(1, module.context, size, size)).shape)
    except Exception as error:  # any constructor with any arguments may raise anything
        cause = error.__cause__ if error.__cause__ is not None else error
        raise InputError(path, "settings of a network", f"{type(cause).__name__}: {cause}"[:300]) from error
    if logits != (1, module.classes, size, size) or not any(True for _ in module.network.parameters()):
        raise InputError(path, f"a network with {module.classes} maps of {size} x {size} logits", logits)
    return module


@contextmanager
def _at_most(layers: int) -> Iterator[None]:
    """Stop a constructor that makes many more layers than a checkpoint has tensors."""
    made = 0

    def count(module: nn.Module, name: str, layer: nn.Module | None) -> None:
        nonlocal made
        made += 1
        if made > layers:
            raise InputError("the settings", f"at most {layers} layers", "more")

    hook = register_module_module_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def _require_fit(path: str | Path, sketch: LesionModule, state: Mapping[Any, Any]) -> None:
    """Require the names, shapes and types of a module's tensors, before memory is taken for the tensors."""
    expected = sketch.state_dict()
    for name in sorted(expected.keys() ^ state.keys(), key=str):
        found = f"{name}, which is {'missing' if name in expected else 'unknown'}"
        raise InputError(path, "weights that fit the settings in the checkpoint", found)
    for name, tensor in expected.items():
        found = state[name]
        # The loss's class weights are empty before training.
        same = isinstance(found, Tensor) and (
            found.shape == tensor.shape or (not name.startswith("network.") and found.numel() <= max(STRUCTURES))
        )
        if not same or found.layout != torch.strided or found.is_floating_point() != tensor.is_floating_point():
            shape = f"{found.dtype} {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            wanted = f"weights that fit the settings in the checkpoint ({name}: {tensor.dtype} {tuple(tensor.shape)})"
            raise InputError(path, wanted, shape)
