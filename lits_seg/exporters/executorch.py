"""Write and run ExecuTorch programs for apps on phones, with XNNPACK kernels, in fp32, for slices of a fixed size."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
from executorch.runtime import Runtime

from lits_seg.common.errors import InputError
from lits_seg.common.untrusted import require_file
from lits_seg.exporters.graph import Contract
from lits_seg.inference.contract import METADATA, ExportMetadata, read_metadata
from lits_seg.inference.exported import ExportedSegmenter
from lits_seg.inference.runtimes import first_line
from lits_seg.models import for_inference
from lits_seg.training.module import LesionModule


def write_executorch(module: LesionModule, path: Path, metadata: ExportMetadata) -> None:
    """Write a program that segments one slice of ``metadata.plane`` pixels per call.

    Its method ``lits_seg`` returns the metadata. Height and width are fixed, since ExecuTorch plans its memory ahead.
    Moreover, it has no kernels for tensors whose shape depends on other shapes, such as the weights for resizing.

    Args:
        module: the trained network, on the CPU.
        path: the file to write.
        metadata: metadata to store in the file.

    Raises:
        InputError: if the metadata has no ``plane``.
    """
    # Some kernels require the default memory format. The format does not change the results.
    network = for_inference(module.network).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    settings = (module.preprocess, module.classes, module.temperature, module.targets.foreground)
    contract = Contract(network, *settings).eval()
    inputs = (torch.zeros(1, module.context, *_plane(metadata)), torch.ones(1, 2))[: len(metadata.inputs)]
    program = to_edge_transform_and_lower(
        torch.export.export(contract, inputs),
        partitioner=[XnnpackPartitioner()],
        constant_methods={METADATA: metadata.to_json()},
    ).to_executorch()
    path.write_bytes(program.buffer)


class ExecuTorchProgram(ExportedSegmenter):
    """A file written by ``write_executorch``, run slice by slice with ExecuTorch's Python runtime."""

    def __init__(self, path: Path) -> None:
        expected = "an ExecuTorch program of lits_seg"
        require_file(path, expected)
        try:
            program = Runtime.get().load_program(path)
            text = program.load_method(METADATA).execute([])[0]
            self.method = program.load_method("forward")
        except Exception as error:  # a damaged file may raise anything
            raise InputError(path, expected, first_line(error)) from error
        super().__init__(path, read_metadata(text, path), "ExecuTorch")

    def __call__(
        self, hu: np.ndarray, around: np.ndarray, pixel_mm: tuple[float, float] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See ``Segmenter``."""
        outputs = self._run(hu[around], pixel_mm)
        labels, probability, _ = self.checked(len(around), hu.shape, *outputs)
        return labels, np.rint(255 * probability).astype(np.uint8)

    def logits(self, hu: np.ndarray, pixel_mm: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """See ``ExportedSegmenter``."""
        labels, _, logits = self._run(hu, pixel_mm)
        return labels, logits

    def _run(self, hu: np.ndarray, pixel_mm: Sequence[float] | np.ndarray | None) -> list[np.ndarray]:
        plane = _plane(self.metadata)
        if list(hu.shape[2:]) != plane:
            raise InputError("plane", f"slices of {plane} pixels", list(hu.shape[2:]))
        inputs = self.inputs(hu, pixel_mm).values()
        slices = zip(*(torch.from_numpy(np.ascontiguousarray(value)).split(1) for value in inputs), strict=True)
        # Clone, since the outputs of the next slice overwrite these tensors.
        outputs = [[output.clone().numpy() for output in self.method.execute(list(part))] for part in slices]
        return [np.concatenate(parts) for parts in zip(*outputs, strict=True)]


def _plane(metadata: ExportMetadata) -> list[int]:
    if metadata.plane is None:
        raise InputError(METADATA, "plane: height and width of the slices", "none")
    return metadata.plane
