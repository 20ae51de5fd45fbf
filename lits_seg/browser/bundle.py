"""Bundle an exported ONNX file, its runtime and the scripts of the page to one HTML file, or to a folder for a server.

Concatenating plain scripts is the whole build: neither Node nor a bundler takes part in it.
"""

import base64
import gzip
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image, ImageDraw

from lits_seg.browser.third_party import FOLDER, ORT, notices, part, script
from lits_seg.common.errors import InputError
from lits_seg.common.files import write_text
from lits_seg.common.html import TEMPLATES, render
from lits_seg.common.ownership import PICTURE, png_mark, text_file
from lits_seg.common.records import as_plain
from lits_seg.inference.ct_report import made_by
from lits_seg.inference.exported import ExportedModel
from lits_seg.packaged.card import is_packaged, read_card
from lits_seg.runs.provenance import PERMITTED_USE

GENERATOR = '<meta name="generator" content="lits-seg export">'  # by which a later export recognises the page
CODECS = ("dicomParser.min.js", "openjpegwasm_decode.js", "charlswasm_decode.js", "lossless-min.js")
GEOMETRY = ("geometry.js", "header.js", "dicom.js", "pixels.js", "nifti.js")
MASK = ("mask.js", "mask_file.js", "rules.js", "lesions.js", "report.js")
SCRIPTS = (*GEOMETRY, *MASK, "images.js", "pictures.js", "network.js", "worker.js")
REFUSED = ("crf", "lesions_within_liver_mm")  # rules that rules.js does not apply
DEVICE = "browser, ONNX Runtime Web (WebAssembly)"
TITLE = "lits_seg, research use only"
ICON = 512  # pixels
PAGE = text_file("browser page", GENERATOR)
# Files of each format, and what a later export recognises them by.
PAGE_FILES = {
    "html": {"": PAGE},
    "site": {
        "index.html": PAGE,
        "sw.js": text_file("service worker", "service worker of lits_seg"),
        "manifest.webmanifest": text_file("manifest", TITLE),
        "icon.png": PICTURE,
    },
}


def write_page(format: str, model: Path, path: Path, source: Path | None = None) -> Path:
    """Write the page as one file, which opens from a disk, or as a folder for a web server.

    A site is installable, and works offline after one visit.

    Args:
        format: ``html`` or ``site``.
        model: an exported ``.onnx`` file.
        path: the file or the folder to write.
        source: the file from which ``model`` was converted; None: ``model`` itself.

    Returns:
        ``path``.
    """
    page = _page(model, source or model, site=format == "site")
    if format == "html":
        write_text(path, page)
        return path
    path.mkdir()
    version = hashlib.sha256(page.encode()).hexdigest()[:16]
    icon = {"src": "icon.png", "sizes": f"{ICON}x{ICON}", "type": "image/png"}
    manifest = {"name": TITLE, "short_name": "lits_seg", "description": PERMITTED_USE, "start_url": "./"}
    manifest |= {"display": "standalone", "background_color": "#16191c", "theme_color": "#16191c"}
    write_text(path / "index.html", page)
    write_text(path / "sw.js", (FOLDER / "sw.js").read_text().replace("VERSION", version))
    write_text(path / "manifest.webmanifest", json.dumps({**manifest, "icons": [icon]}, indent=2))
    _icon().save(path / "icon.png", pnginfo=png_mark())
    return path


def _page(model: Path, source: Path, site: bool) -> str:
    """Render the page with all that it needs, see ``write_page``."""
    text = "".join([(TEMPLATES / "view.js").read_text(), (FOLDER / "page.js").read_text()])
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    policy = [
        "default-src 'none'",  # no connection, no frame, no font, no form
        f"script-src 'sha256-{digest}' 'wasm-unsafe-eval'",
        "worker-src blob:" + " 'self'" * site,
        "style-src 'unsafe-inline'",
        "form-action 'none'",
        "base-uri 'none'",
        *(["img-src 'self'", "manifest-src 'self'"] if site else []),
    ]
    from lits_seg.browser.after_images import after_images  # imports onnx, which only pages need

    worker = worker_script(own_scripts(SCRIPTS), "\n".join(script(name) for name in CODECS))
    packed = {
        "worker": _packed(worker.encode()),
        "wasm": _packed_part("ort-wasm-simd-threaded.wasm"),
        "model": _packed(after_images(model).SerializeToString()),
        "openjpeg": _packed_part("openjpegwasm_decode.wasm"),
        "charls": _packed_part("charlswasm_decode.wasm"),
        "licences": _packed(notices().encode()),
    }
    return render(
        "browser.html.j2",
        about=_about(model, source) | {"site": site},
        policy=Markup("; ".join(policy)),
        packed={name: Markup(text) for name, text in packed.items()},
        script=Markup(text),
        site=site,
    )


def _about(model: Path, source: Path) -> dict[str, Any]:
    """Return what the page must know about the network.

    Args:
        model: an exported ``.onnx`` file.
        source: the file from which it was converted.

    Raises:
        InputError: if the network has rules that the page cannot apply.
    """
    exported = ExportedModel(model, threads=1)
    refused = [name for name in REFUSED if name in exported.rules.plain()]
    if refused:
        raise InputError(model, f"rules that the page applies (all but {', '.join(REFUSED)})", ", ".join(refused))
    made = as_plain(made_by(exported, exported.rules, None))
    made["research_use_only"] = PERMITTED_USE
    made["settings"]["device"] = DEVICE
    made["model"]["exported"]["path"] = model.name
    if is_packaged(source):
        made["model"]["card"] = read_card().facts()
    else:
        del made["model"]["card"]
    return {
        "made": made,
        "preprocess": exported.metadata.preprocess,
        "window": exported.metadata.window_hu,
        "context": exported.context,
        "finds_liver": exported.finds_liver,
    }


def worker_script(own: str, others: str = "") -> str:
    """Return the script of a worker, with ONNX Runtime.

    A thread of the runtime runs the script again, as a module, and needs the runtime alone.

    Args:
        own: a script in strict mode.
        others: scripts of other people.
    """
    rest = f'{others}\n(() => {{\n"use strict";\n{own}\n}})();'
    return f'{script(ORT)}\nif (!self.name?.startsWith("em-pthread")) {{\n{rest}\n}}\n'


def own_scripts(names: Sequence[str]) -> str:
    """Return scripts of this folder as one."""
    return "\n".join((FOLDER / name).read_text().removeprefix('"use strict";\n') for name in names)


@cache
def _packed_part(name: str) -> str:
    return _packed(part(name))


def _packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()


def _icon() -> Image.Image:
    """Draw the page's icon: a liver with a lesion, in the colours of the viewer."""
    icon = Image.new("RGB", (ICON, ICON), "#16191c")
    pen = ImageDraw.Draw(icon)
    pen.polygon([(90, 210), (190, 130), (420, 160), (300, 290), (190, 400), (110, 330)], "#4fd3de")
    pen.ellipse((190, 200, 270, 280), "#ff3c3c")
    return icon
