"""Memory of the tab does not grow with the number of slices."""

import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from helpers.browser import open_chromium
from helpers.browser_page import Page
from helpers.commands import run_command
from isal import igzip

from experiments.shared.chromium import tab_memory
from lits_seg.browser.third_party import PARTS
from lits_seg.phantom.write import write_phantom

SLICES, LIVER, MOST_MB = 1000, 300, 600


def write_long_ct(path: Path, ct: nib.Nifti1Image) -> None:
    """A CT of 1,000 slices of 512 x 512 in 64 bits, 2.1 GB when unpacked: 300 of a smaller CT's liver, then none."""
    hu = np.asarray(ct.dataobj)
    index = np.arange(512) * hu.shape[0] // 512
    large = [hu[np.ix_(index, index, [s])].astype(np.float64).tobytes("F") for s in range(hu.shape[2])]
    empty = np.minimum(np.frombuffer(large[0]), 0).tobytes()
    header = nib.Nifti1Header()
    header.set_data_dtype(np.float64)
    header.set_data_shape((512, 512, SLICES))
    affine = ct.affine @ np.diag([hu.shape[0] / 512, hu.shape[1] / 512, 0.1, 1])
    header.set_sform(affine, 1)
    header["pixdim"][1:4] = np.linalg.norm(affine[:3, :3], axis=0)
    header["vox_offset"] = 352
    with igzip.open(path, "wb", compresslevel=1) as file:
        file.write(header.binaryblock + bytes(4))
        for s in range(SLICES):
            file.write(large[s * len(large) // LIVER] if s < LIVER else empty)


@pytest.mark.slow
def test_a_thousand_slices_of_64_bits_take_no_more_than_a_few(tmp_path: Path) -> None:
    pytest.importorskip("psutil")
    if not PARTS.is_dir():
        pytest.skip("needs the parts of the browser page: make browser-parts")
    write_phantom(tmp_path / "cts", cases=2, size=96, slices=20, workers=1)
    write_long_ct(tmp_path / "long.nii.gz", nib.load(tmp_path / "cts" / "volume-1.nii.gz"))
    run_command("export", "format=html", "output=.", cwd=tmp_path)
    with open_chromium() as driver:
        page = Page(driver, tmp_path / "lits_seg_fp16_research_use_only.html", tmp_path / "saved")

        def megabytes() -> float:
            return tab_memory(driver)[0] / 1e6

        ready, seen = megabytes(), {}
        page.choose(tmp_path / "long.nii.gz", wait=False)
        end = time.monotonic() + 900
        while not page.status.startswith("done"):
            assert (page.error, time.monotonic() < end) == ("", True)
            if page.status.startswith("slice"):
                seen[int(page.status.split()[1])] = megabytes()
            time.sleep(0.2)
        page.save("long")
        seen[SLICES + 1] = megabytes()
        print(f"{ready:.0f} MB ready", {number: round(size) for number, size in list(seen.items())[:: len(seen) // 20]})
        first, last = (np.median([seen[n] for n in seen if a <= n < b]) for a, b in ((100, 300), (800, 1000)))
        print(f"{max(seen.values()):.0f} MB at the peak, from {first:.0f} to {last:.0f} MB while slices are segmented")
        assert max(seen.values()) < MOST_MB
        assert last < first + 120  # the page keeps a picture of 66 kB of each slice
