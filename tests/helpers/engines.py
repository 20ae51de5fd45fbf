"""Firefox and WebKitGTK, the engine of Safari, with the interface of selenium's drivers."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

MINI_BROWSER = "webkit2gtk-4.1/MiniBrowser"  # of WebKitGTK, below a folder of libraries
FIREFOX = {
    # Without these, the driver allows what pages from a disk may not do.
    "remote.prefs.recommended": False,
    "security.fileuri.strict_origin_policy": True,
    # The content process may not open files by their paths.
    "dom.file.createInChild": True,
    "browser.download.folderList": 2,
    "browser.download.useDownloadDir": True,
    "browser.download.alwaysOpenPanel": False,
    "browser.helperApps.neverAsk.saveToDisk": "application/gzip,application/json",
}


class Firefox:
    """Marionette's client, which is in Python, with the names of selenium. Debian has no geckodriver.

    Args:
        client: the client.
    """

    name = "firefox"

    def __init__(self, client: Any) -> None:
        self.client = client
        self.get, self.find_element = client.navigate, client.find_element
        self.save_screenshot = lambda path: Path(path).write_bytes(client.screenshot(format="binary"))
        self.set_window_size = lambda width, height: client.set_window_rect(width=width, height=height)

    def execute_script(self, script: str, *arguments: Any) -> Any:
        # Without a sandbox, so that scripts see the constants of the page.
        return self.client.execute_script(script, script_args=arguments, sandbox=None)

    def execute_async_script(self, script: str, *arguments: Any) -> Any:
        return self.client.execute_async_script(script, script_args=arguments, sandbox=None)

    def get_log(self, _: str) -> list[dict[str, str]]:
        return []


@contextmanager
def open_firefox(downloads: Path) -> Iterator[Firefox]:
    """Start a headless Firefox; skip the test if Firefox or Marionette's client is absent.

    Args:
        downloads: folder of saved files.

    Yields:
        The driver.
    """
    driver = pytest.importorskip("marionette_driver.marionette", reason="needs Marionette: pip install -e '.[dev]'")
    binary = shutil.which("firefox-esr") or shutil.which("firefox")
    if not binary:
        pytest.skip("needs Firefox: apt-get install firefox-esr")
    prefs = FIREFOX | {"browser.download.dir": str(downloads)}
    client = driver.Marionette(bin=binary, headless=True, prefs=prefs, gecko_log=os.devnull)
    try:
        client.start_session()
        client.timeout.script = 120
        yield Firefox(client)
    finally:
        client.quit()
        client.cleanup()


@contextmanager
def open_webkit(downloads: Path) -> Iterator[Any]:
    """Start WebKitGTK on a virtual screen, which it needs; skip the test if a program is absent.

    Args:
        downloads: folder of saved files.

    Yields:
        The driver.
    """
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install -e '.[dev]'")
    driver, screen = shutil.which("WebKitWebDriver"), shutil.which("Xvfb")
    browser = next(Path("/usr/lib").glob(f"*/{MINI_BROWSER}"), None)
    if not (driver and screen and browser):
        pytest.skip("needs WebKitGTK: apt-get install webkit2gtk-driver xvfb")
    command = [screen, "-displayfd", "1", "-screen", "0", "1280x1000x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        environment = {
            **os.environ,
            "DISPLAY": f":{server.stdout.readline().strip()}",
            "XDG_CONFIG_HOME": str(downloads),
        }
        (downloads / "user-dirs.dirs").write_text(f'XDG_DOWNLOAD_DIR="{downloads}"\n')
        try:
            options = webdriver.WebKitGTKOptions()
            options.binary_location = str(browser)
            options.add_argument("--automation")
            webkit = webdriver.WebKitGTK(options, webdriver.WebKitGTKService(driver, env=environment))
            try:
                webkit.set_script_timeout(120)
                yield webkit
            finally:
                webkit.quit()
        finally:
            server.terminate()
