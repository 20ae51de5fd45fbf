"""Find, check and adapt other people's JavaScript and WebAssembly, which ``make browser-parts`` copies into ``parts/``.

npm fetches the packages that ``package.json`` names. ``parts.json`` names the files of theirs that the page contains.
"""

import json
import re
import shutil
from dataclasses import dataclass
from importlib.metadata import files
from pathlib import Path

from lits_seg.common.errors import InputError
from lits_seg.common.files import sha256

FOLDER = Path(__file__).parent
PARTS = FOLDER / "parts"
ORT_NOTICES = "ort_notices.txt"  # notices of the libraries inside ONNX Runtime, which its npm package lacks
EXPORT = re.compile(r"export\{([^{}]*)\};?")
ORT = "ort.wasm.bundle.min.mjs"
IMPORT_META = 11  # mentions of import.meta.url, which plain scripts lack, in ORT
MODULES = {ORT: "ort", "lossless-min.js": "jpegLossless"}  # names of the constants that ES modules become


@dataclass(frozen=True)
class Part:
    """A file of an npm package.

    Args:
        package: name of the package.
        path: path of the file in the package.
        sha256: SHA-256 of the file.
        licence: SPDX identifiers of its licences.
    """

    package: str
    path: str
    sha256: str
    licence: str


def listed() -> dict[str, Part]:
    """Return the parts in ``parts.json`` by the name of their file in ``parts/``."""
    return {name: Part(**plain) for name, plain in json.loads((FOLDER / "parts.json").read_text()).items()}


def part(name: str) -> bytes:
    """Return the content of a part.

    Args:
        name: a name in ``parts.json``.

    Raises:
        InputError: if the part is missing, or is not the file that ``parts.json`` describes.
    """
    path = PARTS / name
    if not path.is_file():
        raise InputError(path, "other people's JavaScript (make browser-parts fetches it by npm)", "no such file")
    if (found := sha256(path)) != (expected := listed()[name].sha256):
        raise InputError(path, f"the file in parts.json, with SHA-256 {expected} (make browser-parts)", found)
    return path.read_bytes()


def require_parts() -> None:
    """Require all parts, so that a command fails before its work; see ``part``."""
    for name in listed():
        part(name)


def script(name: str) -> str:
    """Return a script as a plain one: an ES module becomes a constant with its exports.

    Args:
        name: name of a script in ``parts.json``.
    """
    text = re.sub(r"\n//# sourceMappingURL=\S*\s*$", "\n", part(name).decode())
    if name not in MODULES:
        return text
    if name == ORT:
        text = _replaced(text, "import.meta.url", "self.location.href", IMPORT_META)
    (exports,) = EXPORT.findall(text)
    pairs = (pair.split(" as ") for pair in exports.split(","))
    returned = ", ".join(f"{pair[-1]}: {pair[0]}" for pair in pairs)
    text = _replaced(text, f"export{{{exports}}}", f"return {{ {returned} }}", 1)
    return f"const {MODULES[name]} = (() => {{\n{text}\n}})();\n"


def notices() -> str:
    """Return the licences of all parts in full, and the notices of the libraries inside ONNX Runtime."""
    path = PARTS / ORT_NOTICES
    inside = path.read_text(errors="replace") if path.is_file() else ""
    return (FOLDER / "NOTICES").read_text() + inside


def fetch(modules: Path, parts: Path = PARTS) -> None:
    """Copy the parts from the packages that npm has installed, and check them.

    Args:
        modules: npm's folder ``node_modules``.
        parts: the folder to fill.

    Raises:
        InputError: if a file is missing or has another SHA-256.
    """
    parts.mkdir(exist_ok=True)
    for name, expected in listed().items():
        source = modules / expected.package / expected.path
        found = sha256(source) if source.is_file() else "no such file"
        if found != expected.sha256:
            raise InputError(source, f"the file in parts.json, with SHA-256 {expected.sha256}", found)
        shutil.copyfile(source, parts / name)
    inside = [path for path in files("onnxruntime") or () if path.name == "ThirdPartyNotices.txt"]
    shutil.copyfile(inside[0].locate(), parts / ORT_NOTICES)


def _replaced(text: str, old: str, new: str, count: int) -> str:
    """Replace a text that must occur ``count`` times, so that another version of the script is an error."""
    if text.count(old) != count:
        raise ValueError(f"{old}: expected {count} times, found {text.count(old)}")
    return text.replace(old, new)


if __name__ == "__main__":
    fetch(FOLDER / "node_modules")
