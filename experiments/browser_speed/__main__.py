"""``python -m experiments.browser_speed``: measure the browser page, by slices and by a whole CT."""

import io
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import nibabel as nib
from annotated_types import Ge, Le, Len
from PIL import Image

from experiments.browser_speed.turns import NATIVE, WEB, served, slice_times
from experiments.shared.chromium import open_chromium, tab_memory
from experiments.shared.command import PUBLISHED, command, publish
from lits_seg.browser.bundle import write_page
from lits_seg.common.errors import InputError
from lits_seg.common.ownership import PICTURE, png_mark
from lits_seg.common.settings import Place, Rounds
from lits_seg.common.tables import markdown
from lits_seg.data.grid import to_slices
from lits_seg.exporters.onnx_file import in_precision
from lits_seg.models.cost import processor
from lits_seg.packaged.card import ONNX, packaged_file
from lits_seg.phantom.write import generate_volume

SIDE = 512  # pixels
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
NAMES = {"html": "page.html", "site": "site"}
MOST_THREADS = 4  # of the page
LONGEST = 3600  # seconds that a CT may take


@dataclass(frozen=True)
class Settings:
    """The settings in ``settings.yaml``."""

    output: Place
    model: Place
    slices: Annotated[int, Ge(8), Le(10_000)]
    rounds: Rounds
    threads: Annotated[list[Annotated[int, Ge(1), Le(MOST_THREADS)]], Len(1, MOST_THREADS)]


@command("browser_speed/settings", Settings, {"browser.md": PUBLISHED, "phone.png": PICTURE})
def main(cfg: Settings) -> None:
    """Measure, print the tables, and write the tables and a picture of the page on a phone into ``output``."""
    with tempfile.TemporaryDirectory() as folder:
        text, picture = browser_speed(cfg, Path(folder))
    publish(text, Path(cfg.output) / "browser.md")
    picture.save(Path(cfg.output) / "phone.png", pnginfo=png_mark(), optimize=True)


def browser_speed(cfg: Settings, folder: Path) -> tuple[str, Image.Image]:
    """Measure slices in turns, then a CT in the page.

    Args:
        cfg: the settings.
        folder: an empty folder.

    Returns:
        The tables in Markdown, and a picture of the page on a phone.
    """
    source = Path(packaged_file(cfg.model, ONNX))
    model = in_precision(source, "fp16", folder)
    pages = {format: write_page(format, model, folder / name, source) for format, name in NAMES.items()}
    volume = generate_volume(0, case=1, size=SIDE, slices=cfg.slices)
    nib.save(nib.Nifti1Image(volume.hu, volume.affine), folder / "ct.nii.gz")
    (folder / "slices").mkdir()
    with open_chromium() as driver:
        hu = to_slices(volume.hu, volume.affine)
        times, differing = slice_times(driver, model, hu, cfg.threads, cfg.rounds, folder / "slices")
    with served(pages["site"]) as address:
        ways = [("one file, from a disk", pages["html"].as_uri(), 1)]
        ways += [("site, from a server", address, count) for count in cfg.threads]
        found = [_segment(*way, folder / "ct.nii.gz") for way in ways]
    rows = [row for row, _ in found]
    slices = [
        [str(count), *(f"{times[engine, count]:.1f}" for engine in (NATIVE, WEB)), _ratio(times, count)]
        for count in cfg.threads
    ]
    threads = f"'threads={cfg.threads}'".replace(" ", "")
    size = pages["html"].stat().st_size
    text = "\n".join(
        [
            "# The browser page",
            "",
            f"A slice of {SIDE} x {SIDE}, HU in, labels out, ms:",
            "",
            markdown(["threads", "native", "WebAssembly", "ratio"], slices, right=True),
            "",
            f"A CT of {SIDE} x {SIDE} x {cfg.slices} (.nii.gz) in Chromium, to mask and report:",
            "",
            markdown(["page", "threads", "start, s", "CT, s", "memory at start, MB", "peak, MB"], rows, right=True),
            "",
            f"Network: `{cfg.model}`, fp16 weights, {model.stat().st_size / 1e6:.1f} MB; page {size / 1e6:.1f} MB.",
            f"Labels of the page that differ from native ones: {differing}. Both take turns, with two slices each;",
            f"the fastest of {cfg.rounds} calls counts. Memory: the tab's process, resident. Synthetic CT.",
            f"{processor()}.",
            f"Written by `python -m experiments.browser_speed slices={cfg.slices} rounds={cfg.rounds} {threads}`.",
            "",
        ]
    )
    return text, found[0][1]


def _ratio(times: dict[tuple[str, int], float], threads: int) -> str:
    return f"{times[WEB, threads] / times[NATIVE, threads]:.1f} x"


def _segment(title: str, address: str, threads: int, ct: Path) -> tuple[list[str], Image.Image]:
    """Segment a CT in a fresh browser; return the row of the table, and a picture of the page on a phone."""
    with open_chromium() as driver:
        # The page leaves a processor to the system.
        concurrency = {"hardwareConcurrency": threads + 1}
        driver.execute_cdp_cmd("Emulation.setHardwareConcurrencyOverride", concurrency)
        started = time.perf_counter()
        driver.get(address)
        _wait(driver, "ready")
        ready = time.perf_counter()
        found = driver.execute_script("return threads")
        if found != threads:
            raise InputError("threads", f"{threads} threads in the page", str(found))
        before, _ = tab_memory(driver)
        chosen = time.perf_counter()
        driver.find_element("id", "files").send_keys(str(ct))
        _wait(driver, "done")
        done = time.perf_counter()
        driver.execute_async_script("const done = arguments[0]; call('save').then(() => done());")
        _, peak = tab_memory(driver)
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
        picture = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB").quantize(128)
    row = [
        title,
        str(threads),
        f"{ready - started:.1f}",
        f"{done - chosen:.1f}",
        f"{before / 1e6:.0f}",
        f"{peak / 1e6:.0f}",
    ]
    return row, picture


def _wait(driver: Any, state: str) -> None:
    """Wait until the page has reached a state.

    Raises:
        InputError: if the page shows an error instead.
    """
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        texts = "return ['status', 'error'].map(id => document.getElementById(id).textContent.trim())"
        status, error = driver.execute_script(texts)
        if error:
            raise InputError("the browser page", state, error)
        if status.startswith(state):
            return
        time.sleep(0.1)
    raise InputError("the browser page", f"{state} within {LONGEST} s", status)


if __name__ == "__main__":
    main()
