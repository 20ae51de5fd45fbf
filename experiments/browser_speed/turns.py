"""Time the network on slices of 512 x 512, in WebAssembly and in native ONNX Runtime, in turns."""

import base64
import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from lits_seg.browser.after_images import after_images
from lits_seg.browser.bundle import own_scripts, worker_script
from lits_seg.browser.third_party import part
from lits_seg.common.timing import seconds
from lits_seg.inference.contract import PIXEL
from lits_seg.inference.exported import ExportedModel

SEGMENTED = 2  # slices of a turn
SCRIPTS = ("geometry.js", "mask.js", "images.js", "network.js")
PIXEL_MM = 0.75
WEB, NATIVE = "WebAssembly", "native"
PAGE = """<!doctype html><title>speed</title><script>
const workers = {};
function call(threads, task) {
  workers[threads] ??= new Worker("worker.js");
  return new Promise((resolve, reject) => {
    workers[threads].onmessage = ({ data }) => data.error ? reject(new Error(data.error)) : resolve(data.value);
    workers[threads].onerror = event => reject(new Error(event.message));
    workers[threads].postMessage({ threads, ...task });
  });
}
</script>"""
CALL = """const done = arguments[arguments.length - 1];
call(arguments[0], arguments[1]).then(value => done({ value }), error => done({ error: error.message }));"""


class _Isolated(SimpleHTTPRequestHandler):
    """Serve a folder so that the browser allows threads."""

    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder to this machine, isolated from other pages, so that threads work.

    Args:
        folder: the folder.

    Yields:
        The address.
    """
    with ThreadingHTTPServer(("localhost", 0), functools.partial(_Isolated, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://localhost:{server.server_port}/"
        finally:
            server.shutdown()


def write_page(folder: Path, tasks: str, scripts: str = "") -> None:
    """Write a page whose workers perform tasks with ONNX Runtime.

    Args:
        folder: folder for the page.
        tasks: file next to this one that defines ``tasks``, functions by name.
        scripts: scripts that the tasks need.
    """
    here = Path(__file__).parent
    own = [scripts, *((here / name).read_text() for name in ("tasks.js", tasks))]
    (folder / "index.html").write_text(PAGE)
    (folder / "worker.js").write_text(worker_script("\n".join(own)))
    (folder / "runtime.wasm").write_bytes(part("ort-wasm-simd-threaded.wasm"))


def call(driver: Any, threads: int, **task: Any) -> Any:
    """Let a worker with a number of threads perform a task, and return its answer.

    Args:
        driver: Chromium, in which ``PAGE`` is open.
        threads: number of threads.
        task: the task's name as ``task``, and its arguments.

    Raises:
        RuntimeError: if the task fails.
    """
    answer = driver.execute_async_script(CALL, threads, task)
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return answer["value"]


def slice_times(
    driver: Any, model: Path, hu: np.ndarray, threads: Sequence[int], rounds: int, folder: Path
) -> tuple[dict[tuple[str, int], float], int]:
    """Time both engines on the same slices in turns, so that other work on the machine affects both alike.

    Args:
        driver: Chromium.
        model: the ONNX file.
        hu: neighbouring slices in HU, ``(slices, height, width)``.
        threads: numbers of threads.
        rounds: number of timed calls.
        folder: an empty folder for the page.

    Returns:
        Milliseconds a slice by engine and number of threads, of the fastest call, and the number of labels that differ.
    """
    exported = ExportedModel(model, threads=1)
    hu = _middle(hu, SEGMENTED + exported.context - 1)
    inputs = _inputs(exported, hu)
    sessions = {count: _session(model, count) for count in threads}
    write_page(folder, "speed.js", own_scripts(SCRIPTS))
    onnx.save(after_images(model), folder / "network.onnx")
    hu.tofile(folder / "hu.bin")
    grid = {"height": hu.shape[1], "width": hu.shape[2], "pixelMm": [PIXEL_MM] * 2}
    preprocess = exported.metadata.preprocess
    about = {"context": exported.context, "finds_liver": exported.finds_liver, "preprocess": preprocess}
    with served(folder) as address:
        driver.get(address)
        for count in threads:
            call(driver, count, task="start", grid=grid, about=about)
        tasks: dict[tuple[str, int], Callable[[], float]] = {}
        for count in threads:
            tasks[WEB, count] = functools.partial(call, driver, count, task="time")
            tasks[NATIVE, count] = functools.partial(_native, sessions[count], inputs)
        turns = [{key: task() for key, task in tasks.items()} for _ in range(1 + rounds)][1:]  # the first warms up
        found = b"".join(map(base64.b64decode, call(driver, threads[-1], task="labels")))
    expected = sessions[threads[-1]].run(["labels"], dict(inputs))[0]
    differing = int((np.frombuffer(found, np.uint8) != expected.ravel()).sum())
    return {key: min(turn[key] for turn in turns) for key in tasks}, differing


def _middle(hu: np.ndarray, count: int) -> np.ndarray:
    """Return neighbouring slices from the middle of a CT, in 32 bits."""
    first = (len(hu) - count) // 2
    return np.ascontiguousarray(hu[first : first + count], np.float32)


def _inputs(exported: ExportedModel, hu: np.ndarray) -> dict[str, np.ndarray]:
    """Return the inputs of a native call, which segments ``SEGMENTED`` slices."""
    near = [hu[first : first + exported.context] for first in range(SEGMENTED)]
    inputs = {"hu": hu[:, None] if exported.takes_runs else np.stack(near)}
    if PIXEL in exported.metadata.inputs:
        inputs[PIXEL] = np.full((SEGMENTED, 2), PIXEL_MM, np.float32)
    return inputs


def _session(model: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _native(session: onnxruntime.InferenceSession, inputs: Mapping[str, np.ndarray]) -> float:
    return 1000 * seconds(lambda: session.run(None, dict(inputs))) / SEGMENTED
