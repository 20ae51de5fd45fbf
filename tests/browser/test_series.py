"""The browser page finds the series, the grid and the reasons for a refusal that Python finds."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from helpers.browser import call, open_scripts
from helpers.dicom_series import set_raw, write_series
from helpers.volumes import anatomy
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from nibabel.quaternions import angle_axis2mat
from pydicom import uid

from lits_seg.common.errors import InputError
from lits_seg.data.dicom import find_series

HU = anatomy(0)[0][:12, :10, :6]
READ = """
return Promise.all(a.map(async ([folder, files, part]) => {
  try {
    const headers = await Promise.all(Object.entries(files).map(async ([name, bytes]) => {
      const header = await dicomHeader(name, bytes.subarray(0, part), part >= bytes.length);
      return header === "more" ? dicomHeader(name, bytes, true) : header;
    }));
    return findSeries(folder, headers);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return { error: error.message };
  }
}));"""


@pytest.fixture(scope="module", autouse=True)
def page(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    open_scripts(chromium, tmp_path_factory.mktemp("page"), parts=True)


def python_says(folder: Path) -> Any:
    try:
        return find_series(folder)
    except InputError as error:
        return str(error).replace(f"{folder}/", "")


def both(chromium: Any, folders: list[Path], parts: list[int] | None = None) -> list[tuple[Any, dict[str, Any]]]:
    """What Python and the page say about folders, of whose files the page sees the first bytes first."""
    cases = [
        [str(folder), {path.name: path.read_bytes() for path in folder.iterdir()}, part]
        for folder, part in zip(folders, parts or [65536] * len(folders), strict=True)
    ]
    return list(zip(map(python_says, folders), call(chromium, READ, cases), strict=True))


def decimals(values: np.ndarray) -> bytes:
    return "\\".join(f"{value:.7f}" for value in values).encode()


@pytest.mark.parametrize(("examples", "batch"), [(1, 12), pytest.param(4, 40, marks=pytest.mark.slow)])
def test_stacks_in_any_direction_have_pythons_grid(examples: int, batch: int, chromium: Any, tmp_path: Path) -> None:
    @settings(max_examples=examples, deadline=None, database=None, phases=[Phase.generate])
    @given(st.integers(0, 2**32 - 1))
    def check(seed: int) -> None:
        rng = np.random.default_rng(seed)
        folders = [random_series(rng, tmp_path / str(seed) / str(number)) for number in range(batch)]
        sizes = rng.choice([200, 700, 65536], batch).tolist()
        for series, found in both(chromium, folders, sizes):
            assert not isinstance(series, str), series
            grid = found["grid"]
            assert found["names"] == [path.name for path in series.paths]
            assert np.array(grid["affine"], float).tobytes() == series.affine.tobytes()
            assert (tuple(grid["shape"]), tuple(grid["doubts"])) == (series.shape, series.doubts)
            np.testing.assert_allclose(grid["spacing"], series.spacing, rtol=1e-14)
            np.testing.assert_allclose(grid["slicesAffine"], series.slices_affine, rtol=1e-12, atol=1e-10)

    check()


def random_series(rng: np.random.Generator, folder: Path) -> Path:
    """A stack in a random direction, near the axes or not, in a random syntax."""
    turn = angle_axis2mat(rng.uniform(0, 0.5) * rng.integers(2), rng.normal(size=3))
    axes = turn[:, rng.permutation(3)] * rng.choice([-1, 1], 3)
    origin, gap, spacing = rng.uniform(-300, 300, 3), rng.uniform(0.5, 5), rng.uniform(0.4, 2, 2)
    normal = np.cross(axes[:, 0], axes[:, 1])
    syntax = [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian][
        rng.integers(3)
    ]
    unit = rng.choice([None, "HU", "US"])

    def change(i: int, dataset: Any) -> None:
        set_raw(dataset, "ImageOrientationPatient", decimals(axes[:, :2].T.ravel()))
        set_raw(dataset, "ImagePositionPatient", decimals(origin + i * gap * normal))
        set_raw(dataset, "PixelSpacing", decimals(spacing))
        dataset.file_meta.TransferSyntaxUID = syntax
        if unit:
            dataset.RescaleType = unit

    write_series(folder, HU[:, :, : rng.integers(2, 7)], change)
    return folder


def on(index: int, **values: Any) -> Callable[[int, Any], None]:
    """Set or, by None, delete attributes of a slice; bytes are set as they are."""

    def change(i: int, dataset: Any) -> None:
        for keyword, value in values.items() if i == index else ():
            if value is None:
                delattr(dataset, keyword)
            elif isinstance(value, bytes):
                set_raw(dataset, keyword, value)
            else:
                setattr(dataset, keyword, value)

    return change


def tilted(i: int, dataset: Any) -> None:
    dataset.ImagePositionPatient = [10, 20 + 0.3 * i, 3 * i - 50]


REFUSED = {
    "two series": on(4, SeriesInstanceUID="1.2.4"),
    "no series": on(4, SeriesInstanceUID=None),
    "MR": on(4, Modality="MR"),
    "MR alone": lambda i, dataset: setattr(dataset, "Modality", "MR"),
    "no modality": on(2, Modality=None),
    "reports alone": lambda i, dataset: setattr(dataset, "Modality", "SR" if i else "SEG"),
    "spacing": on(4, PixelSpacing=[1, 1]),
    "rows": on(4, Rows=11),
    "orientation": on(4, ImageOrientationPatient=[0, 1, 0, 1, 0, 0]),
    "same position": on(4, ImagePositionPatient=[10, 20, -41]),
    "off the line": on(2, ImagePositionPatient=[13, 20, -44]),
    "gap": on(4, ImagePositionPatient=[10, 20, 400]),
    "frames": on(4, NumberOfFrames=3),
    "tilt": tilted,
    "enhanced": on(1, SOPClassUID="1.2.840.10008.5.1.4.1.1.2.1"),
    "functional groups": on(1, SharedFunctionalGroupsSequence=[pydicom.Dataset()]),
    "localizer": on(1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
    "localizer in other words": on(1, ImageType=b"LOCALIZER\\\xe4\n"),
    "odd series": on(4, SeriesInstanceUID=b"1.2\x07"),
    "no place": on(2, ImagePositionPatient=None),
    "empty place": on(2, ImagePositionPatient=b""),
    "no spacing": on(2, PixelSpacing=None),
    **{
        f"{keyword} {value!r}": on(2, **{keyword: value})
        for keyword, values in {
            "PixelSpacing": [
                b"1.2 ",
                b"1,2\\1,5 ",
                b"0\\0 ",
                b"-1.2\\1.5 ",
                b"nan\\1.5 ",
                b"1.2\\1.5\\3 ",
                b"\\",
                b"abc ",
                b"\xff\xfe\x00\x1b[31m\n",
                b"\xff" * 40,
            ],
            "ImageOrientationPatient": [
                b"1\\0\\0\\0\\1 ",
                b"0\\0\\0\\0\\0\\0 ",
                b"1\\0\\0\\1\\0\\0 ",
                b"1\\0\\0\\0\\inf\\0",
            ],
            "ImagePositionPatient": [b"1\\2 ", b"1\\2\\1e400 ", b"1,0\\2\\3 "],
            "Rows": [b"\x00\x00", b"\xff\xff"],
            "NumberOfFrames": [b"many", b"1.5 "],
        }.items()
        for value in values
    },
}
SOUND = {
    "reports beside": on(0, Modality="SR", ImagePositionPatient=None),
    "presentation state beside": on(5, Modality="PR", PixelData=None),
    "decimals": on(2, PixelSpacing=b"1.2000\\15.0E-1 "),
    "nearly axial": on(2, ImageOrientationPatient=[1, 1e-7, 0, -1e-7, 1, 0]),
    "empty frames": on(2, NumberOfFrames=b""),
    "padded series": on(2, SeriesInstanceUID=b"1.2.3\0"),
}


@pytest.mark.hostile
@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, of what the test writes
def test_refusals_are_pythons_word_for_word(chromium: Any, tmp_path: Path) -> None:
    for name, change in {**REFUSED, **SOUND}.items():
        write_series(tmp_path / name.replace("/", " "), HU, change)
    folders = sorted(tmp_path.iterdir())
    refused = 0
    for folder, (series, found) in zip(folders, both(chromium, folders), strict=True):
        if isinstance(series, str):
            refused += 1
            assert found.get("error") == series
        else:
            assert folder.name in SOUND
            assert found.get("names") == [path.name for path in series.paths], (folder.name, found)
    assert refused == len(REFUSED)


@pytest.mark.hostile
def test_files_that_are_no_slices_are_left_out_or_named(chromium: Any, tmp_path: Path) -> None:
    beside = {
        "plain": {"README.txt": b"no DICOM", ".hidden": b"x", "empty.txt": b"", "DICOMDIR": bytes(128) + b"DICMxyz"},
        "no mark": {"IM.dcm": b"cut" * 100},
        "empty": {"IM0009": b""},
    }
    for name, files in beside.items():
        write_series(tmp_path / name, HU)
        for file, content in files.items():
            (tmp_path / name / file).write_bytes(content)
    (tmp_path / "nothing").mkdir()
    write_series(tmp_path / "one", HU[:, :, :1])
    folders = sorted(tmp_path.iterdir())
    for folder, (series, found) in zip(folders, both(chromium, folders), strict=True):
        if folder.name == "plain":
            assert found["names"] == [path.name for path in series.paths]
        else:
            assert found.get("error") == series, folder.name


@pytest.mark.hostile
def test_headers_cut_at_any_byte_are_one_error_that_names_the_file(chromium: Any, tmp_path: Path) -> None:
    write_series(tmp_path, HU)
    data = (tmp_path / "IM0003").read_bytes()
    start = data.index(b"\xe0\x7f\x10\x00")
    script = """
    return Promise.all(a.map(async length => {
      try {
        const header = await dicomHeader("IM", b.slice(0, length), true);
        return header === null ? "none" : header.error ? header.error.message : "sound";
      } catch (error) { return error instanceof InputError ? error.message : `wrong: ${error}`; }
    }));"""
    lengths = list(range(140, start + 12))
    told = dict(zip(lengths, call(chromium, script, lengths, data), strict=True))
    assert {text for text in told.values() if not text.startswith("IM: expected ")} <= {"sound"}, json.dumps(told)[:500]
    assert sum(text == "sound" for text in told.values()) < len(told) / 2
