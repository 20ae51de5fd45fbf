"""The browser page in Chromium, opened from a disk, with the packaged network."""

import gzip
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from helpers.browser import open_chromium
from helpers.browser_page import Page
from helpers.commands import run_command
from helpers.dicom_series import write_series
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from pydicom.encaps import encapsulate

from lits_seg.browser.third_party import PARTS
from lits_seg.exporters.onnx_file import in_precision
from lits_seg.packaged.card import FOLDER, ONNX
from lits_seg.phantom.write import write_phantom

NAME = "lits_seg_fp16_research_use_only.html"
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic CT, the page, and the ONNX file inside it."""
    if not PARTS.is_dir():
        pytest.skip("needs the parts of the browser page: make browser-parts")
    folder = tmp_path_factory.mktemp("browser")
    write_phantom(folder / "cts", cases=2, size=96, slices=20, workers=1)
    run_command("export", "format=html", "output=.", cwd=folder)
    in_precision(FOLDER / ONNX, "fp16", folder)
    return folder


@pytest.fixture(scope="module")
def driver(folder: Path) -> Iterator[Any]:
    with open_chromium() as driver:
        yield driver


@pytest.fixture(scope="module")
def page(driver: Any, folder: Path) -> Page:
    return Page(driver, folder / NAME, folder / "saved")


@pytest.fixture(scope="module")
def ct(folder: Path) -> nib.Nifti1Image:
    return nib.load(folder / "cts" / "volume-1.nii.gz")


def predicted(folder: Path, ct: Path) -> tuple[Path, dict]:
    """The mask and the report of ``predict`` with the page's network."""
    run_command("predict", "model=network_fp16.onnx", f"input={ct}", "output=predicted", "page=false", cwd=folder)
    (report,) = (folder / "predicted").glob("*.json")
    found = json.loads(report.read_text())
    report.unlink()
    return folder / "predicted" / found["mask"], found


def same_file(page: Page, folder: Path, ct: Path) -> None:
    """Segment a CT in the page; its mask must equal that of ``predict`` byte by byte, the header included."""
    assert page.choose(ct) == ""
    found, _ = page.save(ct.name.removesuffix(".gz").removesuffix(".nii"))
    expected, _ = predicted(folder, ct)
    mask = np.asarray(nib.load(expected).dataobj)
    assert set(np.unique(mask)) == {0, 1, 2}
    assert int((np.asarray(nib.load(found).dataobj) != mask).sum()) == 0
    assert nib.load(found).affine.tobytes() == nib.load(expected).affine.tobytes()
    assert gzip.decompress(found.read_bytes()) == gzip.decompress(expected.read_bytes())


def test_mask_and_report_are_those_of_predict(page: Page, folder: Path) -> None:
    path = folder / "cts" / "volume-1.nii.gz"
    same_file(page, folder, path)
    _, found = page.save("volume-1")
    _, expected = predicted(folder, path)
    assert found.keys() == expected.keys()
    assert found["lesion_count"] == expected["lesion_count"] > 1
    for name in ("lesion_ml", "liver_ml", "tumour_burden", "largest_diameter_mm"):
        assert found[name] == pytest.approx(expected[name], rel=1e-9)
    for one, other in zip(found["lesions"], expected["lesions"], strict=True):
        assert one == {key: pytest.approx(value, rel=1e-9) for key, value in other.items()}
    own = ("ct", "mask", "synthetic", "settings", "warnings", "lesions", "model")
    approximate = {name: pytest.approx(value) for name, value in expected.items() if name not in own}
    assert {name: value for name, value in found.items() if name not in own} == approximate
    assert found["warnings"] == [text.replace(str(path), path.name) for text in expected["warnings"]]
    assert found["settings"]["rules"] == expected["settings"]["rules"]
    assert "Research use only" in found["research_use_only"]


def series(folder: Path, ct: nib.Nifti1Image, change: Callable[[int, Any], None] = lambda i, dataset: None) -> Path:
    """A DICOM series of a CT, in a new folder."""
    shutil.rmtree(folder / "series", ignore_errors=True)
    write_series(folder / "series", np.asarray(turned(ct, "LPS").dataobj), change)
    return folder / "series"


def same_voxels(page: Page, folder: Path, dicom: Path, *chosen: Path) -> None:
    assert page.choose(*chosen) == ""
    found, report = page.save(dicom.name)
    expected, _ = predicted(folder, dicom)
    assert report["ct"] == dicom.name
    np.testing.assert_array_equal(np.asarray(nib.load(found).dataobj), np.asarray(nib.load(expected).dataobj))
    assert nib.load(found).affine.tobytes() == nib.load(expected).affine.tobytes()


def test_a_folder_of_a_dicom_series_is_read(page: Page, folder: Path, ct: nib.Nifti1Image) -> None:
    dicom = series(folder, ct)
    (dicom / "notes.txt").write_text("no CT")
    same_voxels(page, folder, dicom, dicom)


@pytest.mark.hostile
def test_a_mask_that_cannot_be_made_is_an_error(page: Page, folder: Path) -> None:
    page.choose(folder / "cts" / "volume-1.nii.gz")
    page.driver.execute_async_script("restart().then(arguments[0])")  # the worker forgets the mask
    page.press("save-mask")
    page.wait(lambda: page.error)
    assert page.error.startswith("this page: expected a browser that runs the network, found: ")


@pytest.mark.hostile
def test_files_of_one_name_are_not_confused(page: Page, folder: Path, ct: nib.Nifti1Image) -> None:
    assert page.choose(series(folder, ct)) == ""
    page.driver.execute_script("segment(files.map(file => new File([file], 'IM.dcm')))")
    page.wait(lambda: not page.busy)
    assert page.error == "series: expected files with different names, or their folder; found several files of one name"


@pytest.mark.slow
def test_sagittal_dicom_files_are_read(page: Page, folder: Path, ct: nib.Nifti1Image) -> None:
    def sagittal(i: int, dataset: Any) -> None:
        dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
        dataset.ImagePositionPatient = [3 * i, 0, 0]

    dicom = series(folder, ct, sagittal)
    assert page.choose(*dicom.iterdir()) == ""
    found, _ = page.save("series")
    expected, _ = predicted(folder, dicom)
    np.testing.assert_array_equal(np.asarray(nib.load(found).dataobj), np.asarray(nib.load(expected).dataobj))


def test_the_page_contains_the_licences(page: Page) -> None:
    page.driver.execute_script("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    page.wait(lambda: "Team CharLS" in page.text("notices"))
    page.driver.execute_script("document.querySelectorAll('details').forEach(part => { part.open = false; })")


COLOURS = """
    const { width, height } = document.getElementById('slice'), found = { grey: 0, red: 0, blue: 0 };
    const values = document.getElementById('slice').getContext('2d').getImageData(0, 0, width, height).data;
    for (let i = 0; i < values.length; i += 4) {
      const [red, green, blue] = values.slice(i, i + 3);
      found[red > blue + 40 ? 'red' : blue > red + 40 ? 'blue' : 'grey']++;
    }
    return found;"""


def test_both_pages_show_the_same_mask(page: Page, driver: Any, folder: Path) -> None:
    path = folder / "cts" / "volume-1.nii.gz"
    page.choose(path)
    page.wait(lambda: driver.execute_script(COLOURS)["red"] > 0)
    place, colours = page.text("place"), driver.execute_script(COLOURS)
    assert colours["blue"] > 100
    run_command("predict", "model=network_fp16.onnx", f"input={path}", "output=paged", cwd=folder)
    driver.switch_to.new_window("tab")
    driver.get((folder / "paged" / "segmentation-1.html").as_uri())
    try:
        page.wait(lambda: driver.execute_script(COLOURS)["red"] > 0)
        assert page.text("place") == place
        found = driver.execute_script(COLOURS)
        assert all(found[name] == pytest.approx(colours[name], rel=0.02) for name in colours)
    finally:
        driver.close()
        driver.switch_to.window(driver.window_handles[0])


@pytest.mark.parametrize(
    "way",
    [
        "fetch('https://example.invalid/')",
        "navigator.sendBeacon('https://example.invalid/', 'x')",
        "new WebSocket('wss://example.invalid/')",
        "new Image().src = 'https://example.invalid/x.png'",
        "document.body.appendChild(document.createElement('script')).src = 'https://example.invalid/x.js'",
        "document.body.appendChild(document.createElement('iframe')).src = 'https://example.invalid/'",
    ],
)
def test_the_policy_refuses_every_way_out(way: str, page: Page) -> None:
    seen = """
        const done = arguments[arguments.length - 1];
        document.addEventListener('securitypolicyviolation', event => done(event.effectiveDirective), { once: true });
        setTimeout(() => done('not refused'), 5000);
        WAY;"""
    assert page.driver.execute_async_script(seen.replace("WAY", way)).endswith("-src" + "-elem" * ("script" in way))


def test_the_policy_binds_the_worker(page: Page) -> None:
    inside = """
        self.addEventListener('securitypolicyviolation', event => postMessage(event.effectiveDirective));
        fetch('https://example.invalid').catch(() => {});
        setTimeout(() => postMessage('not refused'), 5000);"""
    seen = """
        const done = arguments[arguments.length - 1];
        const worker = new Worker(URL.createObjectURL(new Blob([arguments[0]])));
        worker.onmessage = event => done(event.data);"""
    assert page.driver.execute_async_script(seen, inside) == "connect-src"


@pytest.mark.slow
def test_nothing_leaves_the_device(folder: Path) -> None:
    log = folder / "net.json"
    with open_chromium(f"--log-net-log={log}") as driver:
        page = Page(driver, folder / NAME, folder / "saved")
        assert page.choose(folder / "cts" / "volume-1.nii.gz") == ""
        page.save("volume-1")
        driver.get("data:text/html,a page without a policy, whose request the log must name")
        driver.execute_script("fetch('http://localhost:9/control')")
        time.sleep(1)
    # Chromium's own requests, such as for updates, have no origin.
    asked = re.findall(r'"initiator":"([^"]*)".*?"url":"([^"]*)"', log.read_text())
    assert {url for initiator, url in asked if initiator != "not an origin"} == {"http://localhost:9/control"}


def test_a_phone_shows_it_without_scrolling_sideways(page: Page, folder: Path) -> None:
    driver = page.driver
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    try:
        page.choose(folder / "cts" / "volume-1.nii.gz")
        width, sizes = driver.execute_script("""
            const shown = [...document.querySelectorAll('button, .button, select, input[type=range]')]
                .map(element => [element.id || element.textContent, element.getBoundingClientRect().height])
            return [document.documentElement.scrollWidth, shown.filter(([, height]) => height > 0)]""")
        assert width <= PHONE["width"]
        assert len(sizes) >= 6
        assert [size for size in sizes if size[1] < 44] == []
        before = driver.execute_script("return Number(document.getElementById('number').value)")
        view = driver.execute_script("return document.getElementById('slice').getBoundingClientRect().toJSON()")
        x, y = view["x"] + view["width"] / 2, view["y"] + view["height"] / 2
        for kind, points in (
            ("touchStart", [{"x": x, "y": y}]),
            ("touchMove", [{"x": x, "y": y - view["height"] / 5}]),
            ("touchEnd", []),
        ):
            driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        assert driver.execute_script("return Number(document.getElementById('number').value)") > before
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


SLOWLY = """
    const read = Blob.prototype.arrayBuffer, wait = () => new Promise(resolve => setTimeout(resolve, 1000));
    Blob.prototype.arrayBuffer = async function () { await wait(); return read.call(this); };
    window.undo = () => { Blob.prototype.arrayBuffer = read; };"""


def test_the_result_of_an_earlier_ct_is_hidden_while_another_one_is_read(page: Page, folder: Path) -> None:
    assert page.choose(folder / "cts" / "volume-1.nii.gz") == ""
    page.driver.execute_script(SLOWLY)
    page.choose(folder / "cts" / "volume-0.nii.gz", wait=False)
    page.wait(lambda: page.status == "reading …")
    assert not page.driver.find_element("id", "result").is_displayed()
    page.driver.execute_script("byId('cancel').click(); undo()")
    page.wait(lambda: not page.busy)
    assert page.driver.execute_script("return view") is None  # keys scroll the page again


LEFT, ENTER = "\ue012", "\ue007"  # keys, as WebDriver names them


def test_keys_reach_every_control(page: Page, folder: Path) -> None:
    assert page.choose(folder / "cts" / "volume-1.nii.gz") == ""
    assert page.driver.execute_script("return byId('status').ariaBusy") == "false"
    places = "return [byId('opacity'), byId('number')].map(({ value }) => Number(value))"
    opacity, number = page.driver.execute_script(places)
    page.driver.find_element("id", "opacity").send_keys(LEFT)
    assert page.driver.execute_script(places) == [opacity - 1, number]
    page.driver.find_element("id", "number").send_keys(LEFT)
    assert page.driver.execute_script(places) == [opacity - 1, number - 1]
    page.driver.find_element("css selector", "#lesions tbody tr").send_keys(ENTER)
    assert page.driver.execute_script(places) == [opacity - 1, number]


def test_slices_that_are_asked_for_at_once_are_not_confused(page: Page, folder: Path) -> None:
    assert page.choose(folder / "cts" / "volume-1.nii.gz") == ""
    asked = """
        const done = arguments[arguments.length - 1], calls = [9, 3, 12].map(slice => call('draw', { slice }));
        Promise.all(calls).then(found => done(found.map(({ slice }) => slice)));"""
    assert page.driver.execute_async_script(asked) == [9, 3, 12]


def test_a_cancelled_ct_stops_and_another_one_follows(page: Page, folder: Path, ct: nib.Nifti1Image) -> None:
    long = np.tile(np.asarray(ct.dataobj), (1, 1, 10))
    nib.save(nib.Nifti1Image(long, ct.affine), folder / "long.nii.gz")
    page.choose(folder / "long.nii.gz", wait=False)
    page.wait(lambda: page.status.startswith("slice") and not page.status.startswith("slice 1 "))
    assert not page.driver.find_element("id", "name").is_displayed()  # of the CT before
    before = page.driver.execute_script("byId('cancel').click(); return shown.pictures.length")
    page.wait(lambda: not page.busy)
    assert page.status == "cancelled"
    assert page.error == ""
    last = page.driver.execute_script("return shown.pictures.length")
    assert last <= before + 4  # two slices in work, and two whose messages were on their way
    assert page.choose(folder / "cts" / "volume-1.nii.gz") == ""
    assert page.status.startswith("done")


DROPS = """
    const [name, ...kinds] = arguments, done = kinds.pop();
    const entry = kind => ({ isFile: true, fullPath: `/${kind}.nii.gz`, file: (resolve, reject) => {
      if (kind === "gone") reject(new DOMException("a file is gone"));
      setTimeout(() => resolve(new File([files[0]], `${kind}.nii.gz`)), kind === "slow" ? 100 : 0);
    } });
    const drop = kind => document.body.ondrop({
      preventDefault() {}, dataTransfer: { items: [{ webkitGetAsEntry: () => entry(kind) }] },
    });
    for (const kind of kinds) kind === "cancel" ? byId("cancel").click() : drop(kind);
    const texts = () => [name, "error"].map(id => byId(id).textContent);
    const ended = () => byId("files").disabled ? setTimeout(ended, 20) : done(texts());
    ended();"""


def test_drops_are_read_one_at_a_time(page: Page, folder: Path) -> None:
    assert page.choose(folder / "cts" / "volume-1.nii.gz") == ""
    drop = page.driver.execute_async_script
    assert drop(DROPS, "name", "slow", "other") == ["slow", ""]
    assert drop(DROPS, "status", "slow", "cancel") == ["cancelled ", ""]
    told = "the dropped files: expected files and folders that can be read; found: a file is gone"
    assert drop(DROPS, "status", "gone") == ["ready ", told]


def test_a_mask_is_saved_under_the_name_of_its_ct(page: Page, folder: Path) -> None:
    assert page.choose(folder / "cts" / "volume-1.nii.gz") == ""
    shutil.rmtree(page.downloads)
    page.driver.execute_script("byId('save-mask').click(); segment([new File([files[0]], 'other.nii.gz')]);")
    page.wait(lambda: list(page.downloads.glob("*.nii.gz")) and not page.busy)
    assert [path.name for path in page.downloads.iterdir()] == ["volume-1_mask_research_use_only.nii.gz"]


def changed(kind: str, ct: nib.Nifti1Image, path: Path) -> None:
    """Write a broken variant of a CT."""
    content = bytearray(gzip.decompress(ct.to_bytes()) if ct.to_bytes()[:2] == b"\x1f\x8b" else ct.to_bytes())
    if kind == "cut off":
        del content[len(content) // 2 :]
    elif kind == "picture":
        content = bytearray(b"\x89PNG\r\n\x1a\n" + bytes(1000))
    elif kind == "8 bits":
        image = nib.Nifti1Image((np.asarray(ct.dataobj) > 0).astype(np.uint8) * 200, ct.affine)
        content = bytearray(image.to_bytes())
    elif kind == "complex":
        content[70:74] = np.array([32, 64], "<i2").tobytes()
    elif kind == "4-D":
        content[40:50] = np.array([4, 96, 96, 10, 2], "<i2").tobytes()
    elif kind == "empty":
        content = bytearray()
    elif kind == "NaN":
        data = np.asarray(ct.dataobj, np.float32).copy()
        data[3, 4, 5] = np.nan
        content = bytearray(nib.Nifti1Image(data, ct.affine).to_bytes())
    path.write_bytes(content)


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("cut off", "the file is truncated"),
        ("picture", "expected a readable NIfTI volume"),
        ("8 bits", "as in an 8-bit image"),
        ("complex", "expected"),
        ("4-D", "4 dimensions"),
        ("empty", "an empty file"),
        ("NaN", "1 NaN or infinite, the first in slice"),
    ],
)
def test_a_wrong_file_is_refused_in_one_sentence(
    kind: str, told: str, page: Page, folder: Path, ct: nib.Nifti1Image
) -> None:
    changed(kind, ct, folder / "wrong.nii")
    error = page.choose(folder / "wrong.nii")
    assert told in error
    assert error.startswith("wrong.nii: expected ")
    assert "\n" not in error
    assert not page.driver.find_element("id", "result").is_displayed()


def other_series(i: int, dataset: Any) -> None:
    dataset.SeriesInstanceUID = f"1.2.{i % 2}"


def other_compression(i: int, dataset: Any) -> None:
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.50"
    dataset["PixelData"].VR = "OB"
    dataset.PixelData = encapsulate([dataset.PixelData])


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("missing", "slices 3 mm apart, none missing"),
        (other_series, "expected one series; found SeriesInstanceUID"),
        (other_compression, "JPEG Baseline (8 bits)); found a compression that the page does not read"),
        ("cut off", "IM"),
    ],
)
def test_a_wrong_series_is_refused_in_one_sentence(
    change: Any, told: str, page: Page, folder: Path, ct: nib.Nifti1Image
) -> None:
    dicom = series(folder, ct, change) if callable(change) else series(folder, ct)
    files = sorted(dicom.iterdir())
    if change == "missing":
        next(file for file in files if b"1.2.3.8\0" in file.read_bytes()[:400]).unlink()
    if change == "cut off":
        files[0].write_bytes(files[0].read_bytes()[:3000])
    error = page.choose(dicom)
    assert told in error
    assert "expected" in error
    assert "\n" not in error


@pytest.mark.hostile
def test_two_files_are_no_ct(page: Page, folder: Path) -> None:
    one, two = (folder / "cts" / f"volume-{number}.nii.gz" for number in range(2))
    assert "a single NIfTI file" in page.choose(one, two)


def test_hidden_files_are_left_out(page: Page, folder: Path) -> None:
    (folder / ".DS_Store").write_bytes(bytes(100))
    assert page.choose(folder / ".DS_Store", folder / "cts" / "volume-1.nii.gz") == ""
    assert page.text("name") == "volume-1"


@pytest.mark.hostile
def test_hidden_files_alone_are_refused_in_one_sentence(page: Page, folder: Path) -> None:
    (folder / ".DS_Store").write_bytes(bytes(100))
    (folder / "bare").mkdir()
    (folder / "bare" / "._CT").touch()
    expected = "the chosen files: expected a NIfTI file, or the files of one DICOM series; found hidden files only"
    assert page.choose(folder / ".DS_Store").startswith(expected)
    assert not page.driver.find_element("id", "save-mask").is_displayed()
    assert page.choose(folder / "bare").startswith(expected)
    assert page.choose(folder / "cts" / "volume-1.nii.gz") == ""


@pytest.mark.hostile
def test_a_damaged_gzip_file_is_refused(page: Page, folder: Path) -> None:
    content = (folder / "cts" / "volume-1.nii.gz").read_bytes()
    (folder / "cut.nii.gz").write_bytes(content[: len(content) // 2])
    assert "a damaged or truncated gzip file" in page.choose(folder / "cut.nii.gz")


LITTLE_MEMORY = """
    const Usual = Float32Array;
    self.Float32Array = class extends Usual {
      constructor(...given) {
        if (given[0] > 96 * 96 - 1) throw new RangeError("Array buffer allocation failed");
        super(...given);
      }
    };"""
RESTART = """
    const [before, done] = arguments;
    gunzip(packed.worker).then(text => {
      packed.url = URL.createObjectURL(new Blob([before, text], { type: "text/javascript" }));
      return restart();
    }).then(done);"""


@pytest.mark.hostile
def test_too_little_memory_is_named_and_another_try_is_possible(page: Page, folder: Path) -> None:
    page.driver.execute_async_script(RESTART, LITTLE_MEMORY)
    error = page.choose(folder / "cts" / "volume-1.nii.gz")
    page.driver.execute_async_script(RESTART, "")
    assert error.startswith("this device: expected memory for a slice and the network, found too little")
    assert page.choose(folder / "cts" / "volume-1.nii.gz") == ""


@pytest.mark.hostile
def test_without_web_assembly_the_page_says_so(driver: Any, folder: Path) -> None:
    threads = (
        "define(self, 'crossOriginIsolated', { value: true }); define(navigator, 'hardwareConcurrency', { value: 4 });"
    )
    script = {"source": f"delete globalThis.WebAssembly; const define = Object.defineProperty; {threads}"}
    added = driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", script)
    try:
        assert "expected WebAssembly" in Page(driver, folder / NAME, folder / "saved").error
    finally:
        driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
        Page(driver, folder / NAME, folder / "saved")


def turned(ct: nib.Nifti1Image, codes: str) -> nib.Nifti1Image:
    """The same CT, its axes in another order and direction."""
    turn = ornt_transform(io_orientation(ct.affine), axcodes2ornt(tuple(codes)))
    return nib.Nifti1Image(
        nib.orientations.apply_orientation(np.asarray(ct.dataobj), turn), ct.affine @ inv_ornt_aff(turn, ct.shape)
    )


@pytest.mark.slow
@pytest.mark.parametrize("codes", ["LPS", "LAS", "RAS", "RPI", "LAI", "SPL", "PSR", "IRA", "ASL", "PRI"])
def test_every_orientation(codes: str, page: Page, folder: Path, ct: nib.Nifti1Image) -> None:
    nib.save(turned(ct, codes), folder / "turned.nii.gz")
    same_file(page, folder, folder / "turned.nii.gz")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "order"), list(product(("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"), "<>"))
)
def test_every_type_and_byte_order(kind: str, order: str, page: Page, folder: Path, ct: nib.Nifti1Image) -> None:
    hu = np.asarray(ct.dataobj)
    slope, inter = {"u": (1, -1024), "1": (16, 0)}.get(kind[0], (1, 0))
    if kind[1] == "1":  # 8 bits hold the HU in steps
        slope, inter = 16, -1024 if kind[0] == "u" else 0
    limits = np.iinfo(kind) if kind[0] in "iu" else np.finfo(kind)
    stored = np.clip(np.round((hu - inter) / slope), limits.min, limits.max).astype(order + kind)
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(stored.dtype)
    image = nib.Nifti1Image(stored, ct.affine, header)
    image.header.set_data_dtype(stored.dtype)
    image.header.set_slope_inter(slope, inter)
    path = folder / f"typed_{kind}{'big' if order == '>' else ''}.nii"
    with path.open("wb") as file:
        image.header["vox_offset"] = 352
        file.write(image.header.binaryblock + bytes(4) + stored.tobytes("F"))
    assert nib.load(path).header.endianness == order
    same_file(page, folder, path)


@pytest.mark.slow
@pytest.mark.parametrize("change", ["qform", "slope", "nifti2", "no codes"])
def test_every_header(change: str, page: Page, folder: Path, ct: nib.Nifti1Image) -> None:
    kind = nib.Nifti2Image if change == "nifti2" else nib.Nifti1Image
    image = kind(np.asarray(ct.dataobj), ct.affine)
    if change in ("qform", "no codes"):
        image.set_qform(ct.affine, 1 if change == "qform" else 0)
        image.set_sform(None if change == "qform" else ct.affine, 0)
    if change == "slope":
        image = kind(np.asarray(ct.dataobj) * 2.0 + 20, ct.affine)
        image.header.set_data_dtype(np.int16)
        image.header.set_slope_inter(0.5, -10)
    path = folder / f"{change.replace(' ', '_')}.nii.gz"
    nib.save(image, path)
    same_file(page, folder, path)
