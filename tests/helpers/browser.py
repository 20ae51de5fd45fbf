"""A headless Chromium, and a page with the scripts beneath the browser page."""

import base64
import gzip
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lits_seg
from experiments.shared.chromium import open_chromium as start_chromium
from lits_seg.common.errors import InputError

SCRIPTS = Path(lits_seg.__file__).parent / "browser"
PARTS = SCRIPTS / "parts"
NEEDS_PARTS = pytest.mark.skipif(not PARTS.is_dir(), reason="needs make browser-parts")
NAMES = (
    *("geometry.js", "header.js", "dicom.js", "pixels.js"),
    *("mask.js", "rules.js", "lesions.js", "report.js", "images.js", "nifti.js", "mask_file.js"),
)


@contextmanager
def open_chromium(*arguments: str) -> Iterator[Any]:
    """Start Debian's Chromium, driven by selenium; skip the test if one of them is absent.

    Args:
        arguments: further arguments of Chromium.

    Yields:
        The driver.
    """
    with ExitStack() as stack:
        try:
            driver = stack.enter_context(start_chromium(*arguments))
        except InputError as error:
            pytest.skip(str(error))
        yield driver


def open_scripts(chromium: Any, folder: Path, parts: bool = False) -> None:
    """Open a blank page with the scripts of ``lits_seg/browser``.

    Args:
        chromium: the driver.
        folder: where to write the page.
        parts: also load the decoders of other people; skip the test if they are absent.
    """
    html = "".join(f"<script>{text}</script>" for text in (part_scripts() if parts else []))
    html += "".join(f'<script src="{(SCRIPTS / name).as_uri()}"></script>' for name in NAMES)
    (folder / "scripts.html").write_text(f"<!doctype html><meta charset=utf-8><title>scripts</title>{html}")
    chromium.get((folder / "scripts.html").as_uri())


def part_scripts() -> list[str]:
    """Return the decoders of other people as classic scripts, and a script that defines ``codecsOfTests``."""
    names = ("dicomParser.min.js", "openjpegwasm_decode.js", "charlswasm_decode.js", "lossless-min.js")
    if not all((PARTS / name).exists() for name in names):
        pytest.skip("needs the parts of the browser page: make browser-parts")
    *plain, lossless = ((PARTS / name).read_text() for name in names)
    match = re.fullmatch(r"(.*)export\{(.*)\};.*", lossless, re.S)
    assert match is not None
    exported = re.sub(r"(\w+) as (\w+)", r"\2:\1", match[2])
    wasm = {name: base64.b64encode(_wasm(f"{name}wasm_decode.wasm")).decode() for name in ("openjpeg", "charls")}
    unpack = "Object.fromEntries(Object.entries(wasm).map(([name, text]) => [name, Uint8Array.fromBase64(text)]))"
    return [
        *plain,
        f"const jpegLossless = (() => {{{match[1]}return {{{exported}}};}})();",
        f"const wasm = {json.dumps(wasm)}; const codecsOfTests = () => newCodecs({unpack});",
    ]


def _wasm(name: str) -> bytes:
    packed = PARTS / f"{name}.gz"
    return gzip.decompress(packed.read_bytes()) if packed.exists() else (PARTS / name).read_bytes()


def call(chromium: Any, script: str, *arguments: Any) -> Any:
    """Run the body of an asynchronous function in the page; errors of the page are raised.

    Args:
        chromium: the driver.
        script: the body, which reads its arguments as ``a``, ``b``, ``c``, and returns JSON-like values.
        arguments: JSON-like values; arrays and bytes become typed arrays of their type.
    """
    names = "abcdefgh"[: len(arguments)]
    wrapped = f"""
    const types = {{u1: Uint8Array, f4: Float32Array, f8: Float64Array, i2: Int16Array, i4: Int32Array}};
    const plain = (value) => value && value.typed
        ? new types[value.typed](Uint8Array.fromBase64(value.bytes).buffer)
        : Array.isArray(value) ? value.map(plain)
        : value && typeof value === 'object' ? Object.fromEntries(Object.entries(value).map(([k, v]) => [k, plain(v)]))
        : value;
    const done = arguments[arguments.length - 1];
    (async ({", ".join(names)}) => {{ {script} }})(...[...arguments].slice(0, -1).map(plain))
        .then((value) => done({{value}}), (error) => done({{error: String(error), stack: error && error.stack}}));"""
    answer = chromium.execute_async_script(wrapped, *map(_typed, arguments))
    if "error" in answer:
        raise AssertionError(answer["stack"] or answer["error"])
    return answer["value"]


def _typed(value: Any) -> Any:
    if isinstance(value, bytes):
        value = np.frombuffer(value, np.uint8)
    if isinstance(value, np.ndarray):
        return {"typed": value.dtype.str[1:], "bytes": base64.b64encode(value.tobytes()).decode()}
    if isinstance(value, list | tuple):
        return [_typed(part) for part in value]
    if isinstance(value, dict):
        return {name: _typed(part) for name, part in value.items()}
    return value


def typed_array(text: str, dtype: str) -> np.ndarray:
    """Return the array that a script returned by ``array.toBase64()`` of its bytes."""
    return np.frombuffer(base64.b64decode(text), dtype)
