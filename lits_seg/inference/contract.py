"""Define the contract of exported models: the names in their graphs, and the metadata in their files.

The writers (``exporters``) and the readers (``inference.exported``) of the files share these definitions.
"""

import json
import math
from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Ge, Len

from lits_seg.common.errors import InputError
from lits_seg.common.records import as_plain, from_plain
from lits_seg.postprocess import Rules
from lits_seg.runs.provenance import Provenance
from lits_seg.runs.result import NetworkFacts

# Names of the graph's input and outputs, the same in every format.
HU = "hu"  # (B, context, H, W) float32, or a run of slices (B + context - 1, 1, H, W), which resizes each only once
PIXEL = "pixel_mm"  # (B, 2) float32, pixel size along H and W; only if pre-processing resamples to a spacing
LABELS = "labels"  # (B, H, W) uint8
PROBABILITY = "probability"  # (B, H, W) float32
LOGITS = "logits"  # (B, K, size, size) float32
OUTPUTS = (LABELS, PROBABILITY, LOGITS)
IMAGE = "image"  # (B, context, size, size) uint8, within ONNX files: the network's input
CONTRACT = 1  # version of the meaning of input and outputs

CHOICES = {
    "format": ("onnx", "openvino", "executorch"),
    "precision": ("fp32", "fp16", "bf16", "int8"),
    "classes": (2, 3),
    "foreground": ("lesion", "liver"),
    "context": (1, 3, 5),
}

METADATA = "lits_seg"  # key of the metadata in ONNX and ExecuTorch files


@dataclass(frozen=True, kw_only=True)
class ExportMetadata(Provenance, NetworkFacts):
    """The facts that an exported file holds about itself.

    Args:
        contract: version of the meaning of input and outputs.
        format: ``onnx``, ``openvino`` or ``executorch``.
        precision: ``fp32``, ``fp16``, ``bf16`` or ``int8``.
        classes: 2 (``foreground`` or not) or 3 (background, liver, lesion).
        context: number of input slices for the labels of one slice.
        labels: meaning of each label in the mask.
        window_hu: lower and upper end of the HU window.
        preprocess: the arguments of ``Preprocess``.
        rules: rules for the labels of a whole CT, which the graph does not apply.
        foreground: the structure of two classes, ``lesion`` or ``liver``.
        plane: height and width in pixels, if the graph takes slices of one size only (ExecuTorch).

    Raises:
        InputError: if a value is none of ``CHOICES``.
    """

    contract: int
    format: str
    precision: str
    classes: int
    context: int
    labels: dict[int, str]
    window_hu: Annotated[list[float], Len(2, 2)]
    preprocess: dict[str, bool | int | float | list[float]]
    rules: Rules = field(default_factory=Rules)
    foreground: str = "lesion"
    plane: Annotated[list[Annotated[int, Ge(1)]], Len(2, 2)] | None = None

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise InputError(name, f"one of {', '.join(map(str, allowed))}", getattr(self, name))
        spacing, size = self.preprocess.get("spacing", 1.0), self.preprocess.get("size", 1)
        if not (type(spacing) is float and 0 < spacing < math.inf and type(size) is int and size > 0):
            raise InputError("preprocess", "spacing in mm, and size in pixels", f"{spacing} and {size}")

    def to_json(self) -> str:
        """Return the metadata as JSON; ``plane`` is omitted if the size is not fixed."""
        plain = as_plain(self)
        plain["rules"] = self.rules.plain()
        if self.plane is None:
            del plain["plane"]
        return json.dumps(plain, indent=2)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Return the names of the graph's inputs."""
        return (HU, PIXEL) if "spacing" in self.preprocess else (HU,)


def read_metadata(text: object, path: object) -> ExportMetadata:
    """Validate the metadata of an exported file.

    Args:
        text: JSON from the file; anything but a text if the file has no metadata.
        path: the file, which errors name.

    Raises:
        InputError: if the metadata is missing, invalid, or of another contract.
    """
    if not isinstance(text, str):
        raise InputError(path, "a model exported by lits_seg", "a model of another program")
    try:
        plain = json.loads(text)
        contract = plain["contract"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(path, f"valid metadata ({METADATA})", f"{type(error).__name__}: {error}") from error
    if contract != CONTRACT:
        raise InputError(path, f"a model with contract {CONTRACT}", f"contract {contract} (export it again)")
    return from_plain(ExportMetadata, plain, path)
