"""Sphinx: Markdown pages and the API reference, built without the network."""

import os
import re
import shutil
import sys
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<to>[^)#]+)\)")
sys.path.insert(0, str(HERE.parent))

import lits_seg  # noqa: E402

project = "lits_seg"
author = "lits_seg contributors"
copyright = f"{author}. {lits_seg.RESEARCH_USE} This is not a medical device."  # the footer of every page
version = release = lits_seg.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinx.ext.apidoc"]
exclude_patterns = ["_build", "api/modules.rst"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # tables that programs write may start with a small heading

# One page a room in docs/api, with all modules of the room.
apidoc_modules = [
    {"path": "../lits_seg", "destination": "api", "exclude_patterns": ["../lits_seg/conf"], "module_first": True}
]
autodoc_default_options = {"members": True, "show-inheritance": True, "ignore-module-all": True}
autodoc_typehints_format = "short"
maximum_signature_line_length = 80
autodoc_mock_imports = ["executorch", "segmentation_models_pytorch"]  # extras that dev leaves out
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes of a docstring that the class also annotates are listed once
# PyTorch Lightning's and PyTorch's own docstrings are written for their own sites.
autodoc_inherit_docstrings = False

html_theme = "furo"
html_title = f"lits_seg {version}"
html_theme_options = {"footer_icons": []}


def publish_experiments(app: Sphinx) -> None:
    """Copy the pages and pictures of ``experiments/`` into the site; links to what is not copied become text."""
    source, target = HERE.parent / "experiments", HERE / "experiments"
    shutil.rmtree(target, ignore_errors=True)
    files = [path for path in sorted(source.glob("*/*")) if path.suffix in (".md", ".png", ".html")]
    copies = {path.resolve(): target / path.relative_to(source) for path in files}
    copies |= {path.resolve(): path for path in HERE.glob("*.md")}

    def link(found: re.Match[str], page: Path) -> str:
        place = (page.parent / found["to"]).resolve()
        place = place / "README.md" if place.is_dir() else place
        if "://" in found["to"]:
            return found[0]
        if place not in copies:
            return found["text"]
        return f"[{found['text']}]({os.path.relpath(copies[place], copies[page].parent)})"

    for path in files:
        copies[path].parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            text = LINK.sub(lambda found, path=path: link(found, path), path.read_text())
            copies[path].write_text(text if path.stem == "README" else f"---\norphan: true\n---\n{text}")
        else:
            shutil.copyfile(path, copies[path])


def adapt_sources(app: Sphinx, name: str, source: list[str]) -> None:
    """Let pages link to the copies of ``experiments/``, and title the API's pages by the names of rooms and modules."""
    source[0] = source[0].replace("](../experiments/", "](experiments/")
    if name.startswith("api/"):
        source[0] = re.sub(r"^(Subpackages|Submodules)\n-+\n", "", source[0], flags=re.MULTILINE)
        source[0] = re.sub(r"^(\S+) (package|module)$", r"\1", source[0], flags=re.MULTILINE)


def escape_sizes(app: Sphinx, kind: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Let docstrings write |A∩B| for a size, which reStructuredText would take for a substitution."""
    lines[:] = [re.sub(r"(``.*?``)|\|", lambda found: found[1] or r"\|", line) for line in lines]


def setup(app: Sphinx) -> None:
    """Connect the functions above."""
    app.connect("builder-inited", publish_experiments)
    app.connect("source-read", adapt_sources)
    app.connect("autodoc-process-docstring", escape_sizes)
