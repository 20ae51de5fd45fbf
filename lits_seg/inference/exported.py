"""Run exported models (``lits-seg export``) with ONNX Runtime or OpenVINO, without PyTorch."""

import os
import zipfile
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from lits_seg.common.errors import InputError
from lits_seg.common.files import sha256
from lits_seg.common.untrusted import require_file, require_stored
from lits_seg.data.volumes import LABELS as LITS_LABELS
from lits_seg.inference.contract import HU, IMAGE, METADATA, OUTPUTS, PIXEL, ExportMetadata, read_metadata
from lits_seg.inference.runtimes import first_line, onnx_session, openvino_request, require_runtime
from lits_seg.inference.segmenter import ExportedFile, ModelFacts, NotFiniteError, RunSettings, Segmenter

# Names of the files in an .openvino.zip, models without extension.
OPENVINO_METADATA = "lits_seg.json"
OPENVINO_MODEL = "model"
OPENVINO_PREPARE = "prepare"  # only in files with precision bf16

# From the inputs by name, and the names of outputs, to the outputs.
Run = Callable[[Mapping[str, np.ndarray], Sequence[str]], list[np.ndarray]]


class ExportedSegmenter(Segmenter):
    """An exported file that segments slices on the CPU, with any runtime.

    Args:
        path: the file.
        metadata: metadata in the file.
        runtime: name of the runtime, for reports.
    """

    def __init__(self, path: Path, metadata: ExportMetadata, runtime: str) -> None:
        self.path, self.metadata, self.runtime = path, metadata, runtime
        self.foreground = metadata.foreground
        self.classes, self.context, self.rules = metadata.classes, metadata.context, metadata.rules

    @abstractmethod
    def logits(self, hu: np.ndarray, pixel_mm: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the labels and the logits of slices.

        Args:
            hu: HU ``(B, context, H, W)``.
            pixel_mm: size of the pixels in mm, along H and W, ``(B, 2)``; see ``Segmenter``.

        Returns:
            Labels ``(B, H, W)`` and logits ``(B, K, size, size)``.
        """

    def inputs(self, hu: np.ndarray, pixel_mm: Sequence[float] | np.ndarray | None) -> dict[str, np.ndarray]:
        """Return the inputs of the file's graph by name.

        Args:
            hu: HU ``(B, context, H, W)``.
            pixel_mm: size of the pixels in mm, along H and W, for all slices ``(2,)`` or each ``(B, 2)``.

        Raises:
            InputError: if the graph needs the pixel size, and the size is unknown.
        """
        inputs = {HU: hu.astype(np.float32)}
        if PIXEL in self.metadata.inputs:
            if pixel_mm is None:
                raise InputError(self.path, f"slices whose pixel size is known ({PIXEL})", "slices without it")
            inputs[PIXEL] = np.ascontiguousarray(np.broadcast_to(np.asarray(pixel_mm, np.float32), (len(hu), 2)))
        return inputs

    def checked(
        self, count: int, shape: Sequence[int], labels: np.ndarray, probability: np.ndarray, logits: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the outputs of the file's graph if they follow the contract.

        Args:
            count: number of segmented slices B.
            shape: shape of the input, which ends with H and W.
            labels: ``(B, H, W)`` uint8.
            probability: ``(B, H, W)`` float32.
            logits: ``(B, K, size, size)`` float32.

        Raises:
            NotFiniteError: if a logit is NaN or infinite.
            InputError: if an output has another shape or type, or if a label is not a LiTS label.
        """
        slices = (count, *shape[-2:])
        expected = [(slices, "uint8"), (slices, "float32"), ((count, self.classes), "float32")]
        outputs = (labels, probability, logits)
        found = [(output.shape[:2] if output is logits else output.shape, str(output.dtype)) for output in outputs]
        if found != expected or logits.ndim != 4:
            raise InputError(self.path, f"{', '.join(OUTPUTS)} of {expected}", found)
        finite = np.isfinite(logits).reshape(len(logits), -1).all(1) & np.isfinite(probability).all((1, 2))
        if not finite.all():
            raise NotFiniteError(int(finite.argmin()))
        if labels.max() > max(LITS_LABELS):
            raise InputError(self.path, f"labels {', '.join(map(str, LITS_LABELS))}", int(labels.max()))
        return labels, probability, logits

    def model(self) -> ModelFacts:
        """See ``Segmenter``."""
        facts = self.metadata
        return ModelFacts(
            network=facts.network,
            decoder=facts.decoder,
            levels=facts.levels,
            parameters=facts.parameters,
            classes=facts.classes,
            preprocess=facts.preprocess,
            checkpoints=[facts.checkpoint] if facts.checkpoint else [],
            exported=ExportedFile(str(self.path), sha256(self.path), facts.format),
        )

    def settings(self) -> RunSettings:
        """See ``Segmenter``."""
        return RunSettings("none", self.metadata.precision, f"cpu, {self.runtime}")


class ExportedModel(ExportedSegmenter):
    """A file for ONNX Runtime or OpenVINO, whose graph includes pre-processing: it takes HU and returns labels.

    Args:
        path: ``.onnx`` or ``.openvino.zip``; the format is detected from the file's content.
        threads: largest number of CPU threads; None: one per core.
        at_once: largest number of batches that share these threads, see ``Segmenter.pool``; 0: no pool. Two batches
            with a thread each take less time than one after the other with two threads. OpenVINO takes one at a time.

    Raises:
        InputError: if the file was not exported by lits_seg, or if its runtime is not installed.
    """

    def __init__(self, path: str | Path, threads: int | None = None, at_once: int = 0) -> None:
        path = Path(path)
        if _kind(path) == "onnx":
            cores = threads or len(os.sched_getaffinity(0))
            at_once = min(at_once, cores)
            self.run, metadata, self.takes_runs = _onnx(path, cores // at_once if at_once else threads)
            super().__init__(path, metadata, "ONNX Runtime")
        else:
            at_once = min(at_once, 1)
            self.run, metadata, self.takes_runs = _openvino(path, threads)
            super().__init__(path, metadata, "OpenVINO")
        self.pool = ThreadPoolExecutor(at_once) if at_once else None

    def __call__(
        self, hu: np.ndarray, around: np.ndarray, pixel_mm: tuple[float, float] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See ``Segmenter``."""
        if self.takes_runs and (around[1:, :-1] == around[:-1, 1:]).all():
            slices = hu[np.concatenate([around[:, 0], around[-1, 1:]])][:, None]
        else:
            slices = hu[around]
        labels, probability, _ = self._outputs(len(around), slices, pixel_mm)
        np.multiply(probability, 255, out=probability)
        return labels, np.rint(probability, out=probability).astype(np.uint8)

    def logits(self, hu: np.ndarray, pixel_mm: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """See ``ExportedSegmenter``."""
        labels, _, logits = self._outputs(len(hu), hu, pixel_mm)
        return labels, logits

    def _outputs(
        self, count: int, hu: np.ndarray, pixel_mm: Sequence[float] | np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return labels, probability and logits of ``count`` slices; ``hu`` is the graph's input."""
        inputs = self.inputs(hu, pixel_mm)
        try:
            outputs = self.run(inputs, OUTPUTS)
        except Exception as error:  # the graph may be any other, and the runtimes have many exception types
            raise InputError(self.path, "a model that runs on HU slices", first_line(error)) from error
        return self.checked(count, hu.shape, *outputs)


def _kind(path: Path) -> str:
    """Return the format, ``onnx`` or ``openvino``, detected from the file's content."""
    expected = "an exported model: .onnx (ONNX Runtime) or .openvino.zip (OpenVINO)"
    if os.path.exists(path):
        require_file(path, expected)
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise InputError(path, expected, getattr(error, "strerror", None) or error) from None
    if head[4:8] == b"ET12":
        raise InputError(path, expected, "an ExecuTorch program, which needs an app or executorch.runtime")
    if zipfile.is_zipfile(path):
        names = require_stored(path, expected)
        if OPENVINO_METADATA in names:
            return "openvino"
        checkpoint = any(name.endswith("/data.pkl") for name in names)
        raise InputError(path, expected, "a checkpoint (ckpt=…)" if checkpoint else "a ZIP file of another program")
    if head.startswith(b"PK"):
        raise InputError(path, expected, "a damaged or truncated ZIP file")
    if path.suffix != ".onnx":
        raise InputError(path, expected, "a file of another kind")
    return "onnx"


def _onnx(path: Path, threads: int | None) -> tuple[Run, ExportMetadata, bool]:
    """Open the graph; return also its metadata, and whether it takes runs of slices (``contract.HU``)."""
    session = onnx_session(path, threads)
    try:
        text = session.get_modelmeta().custom_metadata_map.get(METADATA)
        names = {value.name for value in (*session.get_inputs(), *session.get_outputs())}
    except UnicodeDecodeError as error:
        raise InputError(path, "a readable ONNX file", first_line(error)) from error
    metadata = read_metadata(text, path)
    expected = (*metadata.inputs, *OUTPUTS)
    if not names.issuperset(expected):
        raise InputError(path, f"a graph with {', '.join(expected)}", ", ".join(sorted(names)))

    def run(inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> list[np.ndarray]:
        return session.run(list(outputs), dict(inputs))

    shapes = {value.name: value.shape for value in session.get_inputs()}
    return run, metadata, not isinstance(shapes[HU][1], int)


def _openvino(path: Path, threads: int | None) -> tuple[Run, ExportMetadata, bool]:
    """Open the model as ``_onnx`` does, and the separate model for pre-processing if the file has one."""
    with zipfile.ZipFile(path) as file:
        metadata = read_metadata(_member(path, file, OPENVINO_METADATA).decode(errors="replace"), path)
        require_runtime("openvino", path)
        precisions = {OPENVINO_MODEL: "bf16" if metadata.precision == "bf16" else "f32"}
        if f"{OPENVINO_PREPARE}.xml" in file.namelist():
            precisions = {OPENVINO_PREPARE: "f32", **precisions}
        requests = []
        for name, precision in precisions.items():
            weights, xml = _member(path, file, f"{name}.bin"), _member(path, file, f"{name}.xml")
            requests.append(openvino_request(path, xml, weights, precision, threads))

    def run(inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> list[np.ndarray]:
        for request in requests[:-1]:
            request.infer(dict(inputs), share_inputs=True)
            inputs = {**inputs, IMAGE: request.get_tensor(IMAGE).data}
        request = requests[-1]
        request.infer(dict(inputs), share_inputs=True)
        return [np.array(request.get_tensor(name).data) for name in outputs]

    return run, metadata, requests[0].get_compiled_model().input(HU).get_partial_shape()[1].is_dynamic


def _member(path: Path, file: zipfile.ZipFile, name: str) -> bytes:
    try:
        return file.read(name)
    except (KeyError, EOFError, OSError, RuntimeError, zipfile.BadZipFile) as error:  # RuntimeError: encrypted
        raise InputError(path, f"an intact file {name} inside", first_line(error)) from error
