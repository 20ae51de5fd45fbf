"""Drive the browser page as a user does: open it from a disk, choose files, wait, save."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

LONGEST = 120  # seconds; a loaded machine may take a second a slice
ENDS = ("done", "ready", "cancelled")


class Page:
    """The page in a browser.

    Args:
        driver: the browser's driver.
        page: the page's file, or its address.
        downloads: folder of saved files.
    """

    def __init__(self, driver: Any, page: Path | str, downloads: Path) -> None:
        self.driver, self.downloads = driver, downloads
        downloads.mkdir(exist_ok=True)
        if driver.name == "chrome":  # the others are started with this folder
            driver.execute_cdp_cmd("Page.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)})
        driver.get(page if isinstance(page, str) else page.as_uri())
        self.wait(lambda: self.status.startswith("ready") or self.error)

    @property
    def status(self) -> str:
        return self.text("status")

    @property
    def error(self) -> str:
        return self.text("error")

    def text(self, name: str) -> str:
        return self.driver.execute_script("return document.getElementById(arguments[0]).textContent", name).strip()

    def choose(self, *files: Path, wait: bool = True) -> str:
        """Choose files, or a folder; return the error, an empty text if there is none."""
        name = "folder" if files[0].is_dir() else "files"
        # a browser lists a folder before it tells the page: until then, the status is that of the CT before
        self.driver.execute_script("document.getElementById('status').textContent = 'choosing'")
        self.driver.find_element("id", name).send_keys("\n".join(map(str, files)))
        if wait:
            self.wait(lambda: self.status.startswith(ENDS) and not self.busy)
        return self.error

    @property
    def busy(self) -> bool:
        return self.driver.execute_script("return document.getElementById('files').disabled")

    def press(self, name: str) -> None:
        self.driver.find_element("id", name).click()

    def save(self, name: str) -> tuple[Path, dict]:
        """Save mask and report of a CT; return the mask's file, and the report."""
        mask, report = (self.downloads / f"{name}_mask_research_use_only{ending}" for ending in (".nii.gz", ".json"))
        for path, button in ((mask, "save-mask"), (report, "save-report")):
            path.unlink(missing_ok=True)
            self.press(button)
            self.wait(path.exists)
        return mask, json.loads(report.read_text())

    def wait(self, until: Callable[[], Any]) -> None:
        end = time.monotonic() + LONGEST
        while not until():
            assert time.monotonic() < end, (self.status, self.error, self.log())
            time.sleep(0.05)

    def log(self) -> Sequence[str]:
        """Return what the browser's console says."""
        return [entry["message"] for entry in self.driver.get_log("browser")]
