"""The browser page in Firefox and in WebKitGTK, the engine of Safari, opened from a disk and from a server."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from helpers.browser_page import Page
from helpers.commands import run_command
from helpers.dicom_series import write_series
from helpers.engines import open_firefox, open_webkit

from lits_seg.browser.third_party import PARTS
from lits_seg.phantom.write import write_phantom

NAME = "lits_seg_fp32_research_use_only"
ENGINES = {"firefox": open_firefox, "webkit": open_webkit}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic CT in several forms, their masks by ``predict``, and the page of the same network."""
    if not PARTS.is_dir():
        pytest.skip("needs the parts of the browser page: make browser-parts")
    folder = tmp_path_factory.mktemp("engines")
    write_phantom(folder / "phantom", cases=2, size=96, slices=20, workers=1)
    ct = nib.load(folder / "phantom" / "volume-1.nii.gz")
    (folder / "cts").mkdir()
    nib.save(ct, folder / "cts" / "plain.nii.gz")
    turned = nib.as_closest_canonical(ct).slicer[:, ::-1, ::-1]
    axes = nib.orientations.axcodes2ornt(("P", "S", "R"))
    turned = turned.as_reoriented(nib.orientations.ornt_transform(nib.orientations.io_orientation(turned.affine), axes))
    image = nib.Nifti1Image(np.asarray(turned.dataobj).astype(">f4"), turned.affine, nib.Nifti1Header(endianness=">"))
    nib.save(image, folder / "cts" / "turned.nii")
    write_series(
        folder / "cts" / "series", np.asarray(ct.as_reoriented([[0, -1], [1, -1], [2, 1]]).dataobj).astype(int)
    )
    run_command("export", "format=[html,site]", "precision=[fp32]", "output=.", cwd=folder)
    run_command("predict", "input=cts", "output=predicted", "page=false", "threads=1", cwd=folder)
    return folder


@pytest.fixture(scope="module", params=ENGINES)
def page(request: pytest.FixtureRequest, folder: Path) -> Iterator[Page]:
    downloads = folder / request.param
    downloads.mkdir()
    start: Callable[[Path], AbstractContextManager[Any]] = ENGINES[request.param]
    with start(downloads) as driver:
        yield Page(driver, folder / f"{NAME}.html", downloads)


@pytest.mark.parametrize("name", ["plain", "turned", "series"])
def test_the_mask_is_that_of_predict(name: str, page: Page, folder: Path) -> None:
    (chosen,) = (folder / "cts").glob(f"{name}*")
    files = sorted(chosen.iterdir(), reverse=True) if chosen.is_dir() else [chosen]
    assert page.choose(*files) == ""
    mask, report = page.save("series" if chosen.is_dir() else name)
    found, expected = nib.load(mask), nib.load(folder / "predicted" / f"{name}.nii.gz")
    labels = np.asarray(expected.dataobj)
    assert set(np.unique(labels)) == {0, 1, 2}
    np.testing.assert_array_equal(np.asarray(found.dataobj), labels)
    assert found.affine.tobytes() == expected.affine.tobytes()
    assert report["lesion_count"] > 1


def test_a_cancelled_ct_stops_and_another_one_follows(page: Page, folder: Path) -> None:
    ct = nib.load(folder / "cts" / "plain.nii.gz")
    nib.save(nib.Nifti1Image(np.tile(np.asarray(ct.dataobj), (1, 1, 10)), ct.affine), page.downloads / "long.nii.gz")
    page.choose(page.downloads / "long.nii.gz", wait=False)
    page.wait(lambda: page.status.startswith("slice"))
    page.press("cancel")
    page.wait(lambda: not page.busy)
    assert (page.status, page.error) == ("cancelled", "")
    assert not page.driver.execute_script("return document.getElementById('save-mask').checkVisibility()")
    assert page.choose(folder / "cts" / "turned.nii") == ""
    assert page.status.startswith("done")


def test_a_wrong_file_is_refused_and_a_ct_follows(page: Page, folder: Path) -> None:
    wrong = page.downloads / "cut.nii.gz"
    wrong.write_bytes((folder / "cts" / "plain.nii.gz").read_bytes()[:20_000])
    error = page.choose(wrong)
    assert error.startswith("cut.nii.gz: expected ")
    assert "truncated" in error
    assert page.choose(folder / "cts" / "plain.nii.gz") == ""
