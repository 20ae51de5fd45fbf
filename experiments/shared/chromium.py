"""Start Debian's Chromium, and measure the memory of its tab."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lits_seg.common.errors import InputError


@contextmanager
def open_chromium(*arguments: str) -> Iterator[Any]:
    """Start a headless Chromium, driven by selenium.

    Args:
        arguments: further arguments of Chromium.

    Yields:
        The driver.

    Raises:
        InputError: if Chromium, its driver or selenium is not installed.
    """
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (binary and driver):
        raise InputError("Chromium", "a browser (apt-get install chromium chromium-driver)", "none")
    try:
        from selenium import webdriver
    except ModuleNotFoundError as error:
        raise InputError("selenium", "the browser's driver (pip install -e '.[browser-test]')", "none") from error
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    # Root has no sandbox; containers have a small /dev/shm.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", *arguments):
        options.add_argument(argument)
    chromium = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        chromium.set_script_timeout(600)
        yield chromium
    finally:
        chromium.quit()


def tab_memory(chromium: Any) -> tuple[int, int]:
    """Return the resident memory of the largest tab, in bytes: now, and at its peak (Linux).

    The browser's own ``performance.memory`` does not see WebAssembly.

    Args:
        chromium: the driver.
    """
    import psutil

    processes = psutil.Process(chromium.service.process.pid).children(recursive=True)
    tabs = [process for process in processes if "--type=renderer" in process.cmdline()]
    status = [Path(f"/proc/{tab.pid}/status").read_text() for tab in tabs]
    now, peak = (max(int(text.split(key)[1].split()[0]) * 1024 for text in status) for key in ("VmRSS:", "VmHWM:"))
    return now, peak
