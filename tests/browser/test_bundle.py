"""Pages are made from exported models, and contain all that they need."""

import base64
import gzip
import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from helpers.browser import NEEDS_PARTS
from helpers.commands import failed_command, run_command

from lits_seg.browser import bundle, third_party
from lits_seg.browser.after_images import after_images
from lits_seg.exporters.onnx_file import save
from lits_seg.inference.exported import ExportedModel
from lits_seg.packaged.card import FOLDER, ONNX
from lits_seg.postprocess import Rules

HTML, SITE = "lits_seg_fp32_research_use_only.html", "lits_seg_fp32_research_use_only_site"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both pages of an ONNX file that was exported earlier."""
    folder = tmp_path_factory.mktemp("pages")
    shutil.copy(FOLDER / ONNX, folder / "net.onnx")
    run_command("export", "model=net.onnx", "format=[html,site]", "precision=[fp32]", "output=.", cwd=folder)
    return folder


def embedded(page: str, name: str) -> bytes:
    found = re.search(rf'<script type="text/plain" id="{name}">([^<]*)</script>', page)
    assert found
    return gzip.decompress(base64.b64decode(found[1]))


@NEEDS_PARTS
def test_the_page_contains_all_that_it_needs(folder: Path) -> None:
    page = (folder / HTML).read_text()
    network = after_images(folder / "net.onnx")
    assert embedded(page, "model") == network.SerializeToString()
    assert embedded(page, "wasm") == third_party.part("ort-wasm-simd-threaded.wasm")
    notices = embedded(page, "licences").decode()
    for owner in (
        "Microsoft Corporation",
        "Chris Hafey",
        "Copyright (c) 2007, Jan de Vaan \\ Victor Derks\nCopyright (c) Team CharLS.",
        "Universite catholique de Louvain",
        "RII-UTHSCSA",
    ):
        assert owner in notices
    outside = re.sub(r'<script type="text/plain".*?</script>', "", page, flags=re.DOTALL)
    assert not re.search(r"https?:|//cdn|@import|url\(", outside)
    assert "Research use only" in outside
    about = json.loads(re.search(r'id="about">(.*?)</script>', page, re.DOTALL)[1])
    assert (
        about["made"]["model"]["exported"]["sha256"] == hashlib.sha256((folder / "net.onnx").read_bytes()).hexdigest()
    )
    assert (about["context"], about["finds_liver"]) == (5, True)


@NEEDS_PARTS
def test_the_policy_allows_the_pages_own_script_and_no_connection(folder: Path) -> None:
    page = (folder / HTML).read_text()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none';")
    assert "connect-src" not in policy  # as default-src
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}' 'wasm-unsafe-eval';" in policy


def test_no_name_of_the_scripts_is_used_twice() -> None:
    """The scripts share one scope, where a second function would silently replace the first."""
    for scripts in (bundle.SCRIPTS, ("../common/templates/view.js", "page.js")):
        text = "".join((third_party.FOLDER / name).read_text() for name in scripts)
        names = re.findall(r"^(?:async )?(?:function\*?|const|let|class) (\w+)", text, re.MULTILINE)
        assert len(names) > 30
        assert sorted(set(names)) == sorted(names)


@NEEDS_PARTS
def test_a_site_is_a_folder_that_installs(folder: Path) -> None:
    site = folder / SITE
    assert {path.name for path in site.iterdir()} == set(bundle.PAGE_FILES["site"])
    manifest = json.loads((site / "manifest.webmanifest").read_text())
    assert "research use only" in manifest["name"]
    assert all((site / icon["src"]).is_file() for icon in manifest["icons"])
    assert "VERSION" not in (site / "sw.js").read_text()


@NEEDS_PARTS
def test_a_later_export_replaces_its_own_pages_alone(folder: Path, tmp_path: Path) -> None:
    for name in (HTML, SITE):
        source = folder / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    settings = ("model=net.onnx", "precision=[fp32]", f"output={tmp_path}")
    run_command("export", *settings, "format=site", cwd=folder)
    (tmp_path / SITE / "icon.png").write_text("a picture of somebody else")
    assert "expected an unused name for the picture" in failed_command("export", *settings, "format=site", cwd=folder)
    (tmp_path / HTML).write_text("a page of somebody else")
    assert "expected an unused name for the browser page" in failed_command(
        "export", *settings, "format=html", cwd=folder
    )
    assert (tmp_path / HTML).read_text() == "a page of somebody else"
    assert {path.name for path in tmp_path.iterdir()} == {HTML, SITE}


@NEEDS_PARTS
@pytest.mark.hostile
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("model=nowhere.onnx", "format=html"), "nowhere.onnx: expected an exported model"),
        (("model=net.onnx", "format=onnx"), "format: expected html or site with model=…; found onnx"),
        (("model=net.onnx", "ckpt=some.ckpt", "format=html"), "ckpt and model: expected"),
        (("model=net.onnx", "format=html", "precision=[int8]"), "precision: expected fp32, as in net.onnx"),
        (("format=html", "precision=[bf16]"), "format=html precision=fp32, fp16, int8"),
        (("model=words.onnx", "format=html"), "words.onnx: expected"),
        (("model=rules.onnx", "format=html", "precision=[fp32]"), "found lesions_within_liver_mm"),
    ],
)
def test_wrong_settings_are_named(arguments: tuple[str, ...], told: str, tmp_path: Path) -> None:
    (tmp_path / "words.onnx").write_text("no model")
    shutil.copy(FOLDER / ONNX, tmp_path / "net.onnx")
    if "model=rules.onnx" in arguments:
        metadata = replace(ExportedModel(FOLDER / ONNX, 1).metadata, rules=Rules(lesions_within_liver_mm=5.0))
        save(onnx.load(FOLDER / ONNX), tmp_path / "rules.onnx", metadata)
    assert told in failed_command("export", *arguments, cwd=tmp_path)
    assert not (tmp_path / "exported").exists()


@pytest.mark.hostile
@pytest.mark.parametrize("broken", ["missing", "changed"])
def test_without_parts_the_command_that_makes_them_is_named(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "parts").mkdir()
    monkeypatch.setattr(third_party, "PARTS", tmp_path / "parts")
    if broken == "changed":
        for name in third_party.listed():
            (tmp_path / "parts" / name).write_text("something else")
    assert "make browser-parts" in failed_command("export", "format=html", cwd=tmp_path)
    assert not (tmp_path / "exported").exists()
