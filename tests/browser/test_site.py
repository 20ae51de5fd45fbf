"""The page on a server: it isolates itself, so that threads work, and segments after the server has stopped."""

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from helpers.browser import open_chromium
from helpers.browser_page import Page
from helpers.commands import run_command
from helpers.engines import open_firefox

from lits_seg.browser.third_party import PARTS
from lits_seg.phantom.write import write_phantom

NAME = "lits_seg_fp32_research_use_only_site"
OTHER = "another page of the server"


class Quiet(SimpleHTTPRequestHandler):
    """A server without special headers, as static hosts are."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    if not PARTS.is_dir():
        pytest.skip("needs the parts of the browser page: make browser-parts")
    write_phantom(tmp_path / "cts", cases=2, size=96, slices=20, workers=1)
    run_command("export", "format=site", "precision=[fp32]", "output=.", cwd=tmp_path)
    settings = ("input=cts/volume-1.nii.gz", "output=.", "page=false", "threads=1")
    run_command("predict", *settings, cwd=tmp_path)
    return tmp_path


@pytest.fixture
def server(folder: Path) -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("localhost", 0), functools.partial(Quiet, directory=folder / NAME))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_it_works_offline_with_threads_after_one_visit(folder: Path, server: ThreadingHTTPServer) -> None:
    (folder / NAME / "other").mkdir()
    (folder / NAME / "other" / "index.html").write_text(f"<title>{OTHER}</title>")
    with open_chromium() as driver:
        driver.execute_cdp_cmd("Emulation.setHardwareConcurrencyOverride", {"hardwareConcurrency": 3})
        address = f"http://localhost:{server.server_port}/"
        page = Page(driver, address, folder / "saved")
        assert driver.execute_script("return [self.crossOriginIsolated, threads]") == [False, 1]
        page.wait(lambda: driver.execute_script("return navigator.serviceWorker.controller !== null"))
        driver.get(f"{address}other/")
        assert driver.execute_script("return [document.title, self.crossOriginIsolated]") == [OTHER, False]
        server.shutdown()
        server.server_close()
        page = Page(driver, f"{address}index.html?again", folder / "saved")
        assert driver.execute_script("return [self.crossOriginIsolated, threads]") == [True, 2]
        assert page.choose(folder / "cts" / "volume-1.nii.gz") == ""
        mask, _ = page.save("volume-1")
        expected = np.asarray(nib.load(folder / "segmentation-1.nii.gz").dataobj)
        np.testing.assert_array_equal(np.asarray(nib.load(mask).dataobj), expected)
        manifest = driver.execute_cdp_cmd("Page.getAppManifest", {})
        assert manifest["errors"] == []
        assert driver.execute_cdp_cmd("Page.getInstallabilityErrors", {})["installabilityErrors"] == []


@pytest.mark.slow
def test_it_works_offline_in_firefox(folder: Path, server: ThreadingHTTPServer) -> None:
    (folder / "saved").mkdir()
    with open_firefox(folder / "saved") as driver:
        address = f"http://localhost:{server.server_port}/"
        page = Page(driver, address, folder / "saved")
        assert not driver.execute_script("return window.crossOriginIsolated")
        page.wait(lambda: driver.execute_script("return navigator.serviceWorker.controller !== null"))
        server.shutdown()
        server.server_close()
        page = Page(driver, address, folder / "saved")
        assert driver.execute_script("return window.crossOriginIsolated")
        assert page.choose(folder / "cts" / "volume-1.nii.gz") == ""
        mask, _ = page.save("volume-1")
        expected = np.asarray(nib.load(folder / "segmentation-1.nii.gz").dataobj)
        np.testing.assert_array_equal(np.asarray(nib.load(mask).dataobj), expected)
