"""NIfTI files: packed ones are unpacked to the byte, and errors name the file that the user gave."""

import gzip
import math
import os
import resource
import tempfile
import warnings
from contextlib import nullcontext
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from helpers.volumes import AFFINES, anatomy
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lits_seg.common.errors import InputError
from lits_seg.data.ct import open_ct
from lits_seg.data.grid import to_slices
from lits_seg.data.nifti import open_nifti, unpack
from lits_seg.data.volumes import Volume, read_labels, read_volume

HU = anatomy(0)[0]


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    nib.save(nib.Nifti1Image(HU, AFFINES["RAS"]), tmp_path / "ct.nii.gz")
    return tmp_path / "ct.nii.gz"


def test_the_unpacked_copy_is_the_file_to_the_byte(packed: Path, tmp_path: Path) -> None:
    unpack(packed, tmp_path / "plain.nii")
    assert (tmp_path / "plain.nii").read_bytes() == gzip.decompress(packed.read_bytes())
    with open_nifti(packed, tmp_path / "plain.nii") as copy, open_nifti(packed) as image:
        np.testing.assert_array_equal(np.asanyarray(copy.dataobj), HU)
        np.testing.assert_array_equal(np.asanyarray(image.dataobj), HU)


def test_damage_that_is_met_late_names_the_users_file(packed: Path, tmp_path: Path) -> None:
    unpack(packed, tmp_path / "plain.nii")
    content = (tmp_path / "plain.nii").read_bytes()
    (tmp_path / "plain.nii").write_bytes(content[:5000])
    with pytest.raises(InputError) as error, open_nifti(packed, tmp_path / "plain.nii") as image:
        np.asanyarray(image.dataobj)
    assert str(error.value).startswith(f"{packed}: expected ")
    assert "plain.nii" not in str(error.value)


def test_a_truncated_file_is_named_and_a_full_disk_is_not_its_fault(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        unpack(packed, tmp_path / "nowhere" / "plain.nii")
    packed.write_bytes(packed.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"ct\.nii\.gz: expected"):
        unpack(packed, tmp_path / "plain.nii")


def test_errors_of_the_reader_stay_as_they_are(packed: Path) -> None:
    with pytest.raises(ZeroDivisionError), open_nifti(packed):
        raise ZeroDivisionError


def doubts(path: Path, sform: int, qform: int, turned: np.ndarray, spacing: float = 1.0) -> tuple[str, ...]:
    """The doubts about a file with both transforms, and these codes."""
    image = nib.Nifti1Image(HU, AFFINES["LPS"])
    image.set_qform(turned, qform)
    image.set_sform(AFFINES["LPS"], sform)
    image.header["pixdim"][1:4] *= spacing
    nib.save(image, path)
    with open_ct(path) as ct:
        assert read_volume(path).doubts == read_labels_of(path).doubts == ct.doubts
        return ct.doubts


def read_labels_of(path: Path) -> Volume:
    image = nib.load(path)
    mask = nib.Nifti1Image(np.zeros(image.shape, np.uint8), None, image.header)
    mask.set_data_dtype(np.uint8)
    nib.save(mask, path.with_name("mask.nii"))
    return read_labels(path.with_name("mask.nii"))


def test_transforms_that_agree_leave_no_doubt(tmp_path: Path) -> None:
    oblique = AFFINES["oblique"] * 1.0
    for sform, qform in ((1, 1), (2, 0), (1, 4)):
        assert doubts(tmp_path / "ct.nii", sform, qform, AFFINES["LPS"]) == ()
    image = nib.Nifti1Image(HU, AFFINES["LPS"])
    image.set_sform(oblique, 0)
    image.set_qform(oblique, 1)  # a quaternion in single precision
    nib.save(image, tmp_path / "ct.nii")
    assert read_volume(tmp_path / "ct.nii").doubts == ()


@pytest.mark.parametrize(
    ("sform", "qform", "turned", "spacing", "told"),
    [
        (1, 1, AFFINES["RAS"], 1, "sform says LPS 1.5×1.5×3 mm at 0, 0, 0, qform says RAS 1.5×1.5×3 mm at 0, 0, 0"),
        (1, 2, AFFINES["permuted"], 1, "the sform is used"),
        (2, 1, AFFINES["LPS"], 2, "qform says LPS 3×3×6 mm"),
        (2, 0, AFFINES["LPS"], 2, "sform says LPS 1.5×1.5×3 mm at 0, 0, 0, pixdim says 3×3×6 mm; the sform is used"),
        (
            0,
            0,
            AFFINES["LPS"],
            1,
            "orientation and position are unknown (the codes of sform and qform are 0); LAS 1.5×",
        ),
    ],
)
def test_orientation_that_is_unknown_or_stated_twice_is_a_doubt(
    sform: int, qform: int, turned: np.ndarray, spacing: float, told: str, tmp_path: Path
) -> None:
    (found,) = doubts(tmp_path / "ct.nii", sform, qform, turned, spacing)
    assert told in found


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("what", ["extension", "big-endian", "NIfTI-2", "slope NaN"])
def test_unusual_headers_are_read(what: str, suffix: str, tmp_path: Path) -> None:
    image = nib.Nifti1Image(HU, AFFINES["LPS"])
    if what == "extension":
        image.header.extensions.append(nib.nifti1.Nifti1Extension(4, b"<xml>" * 1000))
    elif what == "big-endian":
        image = nib.Nifti1Image(HU.astype(">i2"), AFFINES["LPS"], nib.Nifti1Header(endianness=">"))
    elif what == "NIfTI-2":
        image = nib.Nifti2Image(HU, AFFINES["LPS"])
    content = bytearray(image.to_bytes())
    if what == "slope NaN":
        content[112:120] = np.array([np.nan, np.nan], "<f4").tobytes()
    (tmp_path / f"ct{suffix}").write_bytes(gzip.compress(content) if suffix == ".nii.gz" else content)
    expected = to_slices(HU, AFFINES["LPS"])
    np.testing.assert_array_equal(read_volume(tmp_path / f"ct{suffix}").slices, expected)
    np.testing.assert_array_equal(read_by_slices(tmp_path / f"ct{suffix}"), expected)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [np.int16, "scaled"])
def test_further_axes_around_a_single_volume_are_left_out(kind: object, suffix: str, tmp_path: Path) -> None:
    names = [tmp_path / f"{name}{suffix}" for name in ("volume", "time", "vector")]
    for path, axes in zip(names, ((), (1,), (1, 1)), strict=True):
        image = nib.Nifti1Image((HU // 2 * 2).reshape(*HU.shape, *axes), AFFINES["LPS"])
        image.set_qform(AFFINES["RAS"], 1)
        if kind == "scaled":
            image = nib.Nifti1Image(np.asarray(image.dataobj) // 2, None, image.header)
            image.header.set_slope_inter(2, 0)
        nib.save(image, path)
        assert nib.load(path).shape == (*HU.shape, *axes)
    expected = read_volume(names[0])
    (told,) = expected.doubts
    assert "qform says RAS" in told
    for path in names[1:]:
        blocks: dict[int, np.ndarray] = {}
        volume = read_volume(path, lambda first, hu, grid, blocks=blocks: blocks.update({first: hu}))
        for found in (volume.slices, np.concatenate([blocks[first] for first in sorted(blocks)])):
            np.testing.assert_array_equal(found, expected.slices)
            assert found.dtype == expected.slices.dtype
        with open_ct(path) as ct:
            assert ct.shape == ct.header.get_data_shape() == HU.shape
            assert volume.doubts == ct.doubts == expected.doubts
            np.testing.assert_array_equal(ct.slices(2, 5), expected.slices[2:5])


def test_content_decides_what_a_file_is(packed: Path, tmp_path: Path) -> None:
    plain = gzip.decompress(packed.read_bytes())
    for name, content in (
        ("CT.NII.GZ", packed.read_bytes()),
        ("CT.NII", plain),
        ("plain.nii.gz", plain),
        ("packed.nii", packed.read_bytes()),
        ("padded.nii", plain + bytes(512)),
    ):
        (tmp_path / name).write_bytes(content)
        with open_ct(tmp_path / name) as ct:
            np.testing.assert_array_equal(ct.slices(0, len(ct)), read_volume(packed).slices)
        np.testing.assert_array_equal(read_volume(tmp_path / name).slices, read_volume(packed).slices)


def refused(path: Path) -> str:
    """The error for a file; all readers must give the same."""
    errors = []
    for read in (read_volume, read_labels, read_by_slices):
        with pytest.raises(InputError) as error:
            read(path)
        errors.append(str(error.value))
    assert len(set(errors)) == 1
    return errors[0].removeprefix(f"{path}: expected ")


def read_by_slices(path: Path) -> np.ndarray:
    with open_ct(path) as ct:
        return ct.slices(0, len(ct))


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("ct.mgz", gzip.compress(b"\0\0\0\1" + bytes(400), mtime=0), "a FreeSurfer volume; convert it to .nii.gz"),
        ("ct.MGH", b"\0\0\0\1" + bytes(400), "a FreeSurfer volume"),
        ("ct.nrrd", b"NRRD0004\n", "an NRRD file"),
        ("ct.mha", b"ObjectType = Image", "a MetaImage"),
        ("ct.zip", b"PK\3\4", "a ZIP archive"),
        ("ct.nii", b"", "an empty file"),
        ("ct.nii.gz", b"\x1f\x8b", "EOFError"),
        ("ct.nii", b"PK\3\4" * 200, "other content, or a damaged header"),
    ],
)
def test_other_formats_are_named(name: str, content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert told in refused(tmp_path / name)


@pytest.mark.hostile
@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.Nifti2Pair, nib.AnalyzeImage])
def test_pairs_of_header_and_voxels_are_named(kind: type, tmp_path: Path) -> None:
    nib.save(kind(HU, AFFINES["LPS"]), tmp_path / "ct.img")
    for name in ("ct.img", "ct.hdr"):
        assert "found an Analyze or NIfTI pair (.hdr with .img); convert it to .nii.gz" in refused(tmp_path / name)
    if kind is not nib.AnalyzeImage:
        (tmp_path / "ct.hdr").rename(tmp_path / "ct.nii")
        assert "found an Analyze or NIfTI pair" in refused(tmp_path / "ct.nii")


@pytest.mark.hostile
def test_what_is_no_file_is_named_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.nii.gz")
    (tmp_path / "zero.nii").symlink_to("/dev/zero")
    for name in ("pipe.nii.gz", "zero.nii"):
        assert refused(tmp_path / name) == "a file; found a pipe, a device or a socket"
    (tmp_path / "gone.nii").symlink_to("/nowhere")
    assert refused(tmp_path / "gone.nii") == "a NIfTI volume; found a broken link to /nowhere"
    (tmp_path / "self.nii").symlink_to("self.nii")
    assert "Too many levels" in refused(tmp_path / "self.nii")
    (tmp_path / "folder.nii").mkdir()
    assert refused(tmp_path / "folder.nii") == "a DICOM series; found no DICOM file"


@pytest.mark.hostile
def test_no_more_is_unpacked_than_the_header_states(packed: Path, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.nii.gz"
    with gzip.open(bomb, "wb", 1) as file:
        file.write(gzip.decompress(packed.read_bytes()))
        for _ in range(4):
            file.write(bytes(2**22))
    (tmp_path / "scratch").mkdir()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limit[1]))
    try:
        assert refused(bomb).endswith("more bytes than its header states: the header is damaged")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    bomb.write_bytes(gzip.decompress(bomb.read_bytes()))
    assert refused(bomb).endswith("more bytes than its header states: the header is damaged")


@pytest.mark.hostile
def test_a_header_is_not_read_as_voxels(tmp_path: Path) -> None:
    path = tmp_path / "ct.nii"
    nib.save(nib.Nifti1Image(np.zeros((9, 9, 9), np.int16), AFFINES["LPS"]), path)
    content = bytearray(path.read_bytes())
    content[108:112] = bytes(4)  # vox_offset
    path.write_bytes(content)
    assert "vox_offset" in refused(path)


@pytest.mark.hostile
@pytest.mark.parametrize("number", [math.nan, math.inf])
@pytest.mark.parametrize(("field", "place"), [("pixdim", 0), ("pixdim", 2), ("quatern_b", 0), ("qoffset_x", 0)])
def test_a_damaged_qform_is_a_doubt_beside_a_sound_sform(field: str, place: int, number: float, tmp_path: Path) -> None:
    path = tmp_path / "ct.nii"
    for sform in (1, 0):
        image = nib.Nifti1Image(HU, AFFINES["LPS"])
        image.set_qform(AFFINES["LPS"], 1)
        image.set_sform(AFFINES["LPS"], sform)
        content = bytearray(image.to_bytes())
        np.frombuffer(content, image.header.template_dtype, 1)[field].reshape(-1)[place] = number
        path.write_bytes(content)
        if sform:
            volume = read_volume(path)
            np.testing.assert_array_equal(volume.affine, AFFINES["LPS"])
            (found,) = volume.doubts
            assert found.startswith("the qform is unreadable (")
            assert found.endswith("); the sform is used")
        elif (field, place) == ("pixdim", 0):  # the sign of the third axis, which is 1 unless it is -1
            (found,) = read_volume(path).doubts
            assert found.endswith("; LPS 1.5×1.5×3 mm at 0, 0, 0 is used")
        else:
            assert refused(path).startswith(("an affine with three distinct axes", "a readable NIfTI volume"))


@pytest.mark.hostile
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_small_file_that_claims_terabytes_takes_no_memory(suffix: str, tmp_path: Path) -> None:
    header = nib.Nifti1Header()
    header.set_data_shape((32767, 32767, 3000))
    header.set_data_dtype(np.float64)
    header.set_sform(AFFINES["LPS"], 1)
    header["vox_offset"] = 352
    content = header.binaryblock + bytes(10_000)
    path = tmp_path / f"ct{suffix}"
    path.write_bytes(gzip.compress(content) if suffix == ".nii.gz" else content)
    assert "bytes that its header states: the file is truncated" in refused(path)
    if suffix == ".nii":
        header.set_data_shape((32767, 32767, 5))
        header.set_data_dtype(np.uint8)
        path.write_bytes(header.binaryblock + bytes(4))
        os.truncate(path, 352 + 32767 * 32767 * 5)  # a sparse file has any size
        assert refused(path).startswith("at most 4294967296 voxels; found shape (32767, 32767, 5)")


@pytest.mark.hostile
def test_a_packed_file_cut_at_any_byte_is_named(packed: Path) -> None:
    content = packed.read_bytes()
    for size in (*range(0, 40), *range(40, len(content) - 40, 997), *range(len(content) - 40, len(content))):
        packed.write_bytes(content[:size])
        refused(packed)


FIELDS = sorted(set(nib.Nifti1Header().keys()) & set(nib.Nifti2Header().keys()))
NUMBERS = st.one_of(
    st.sampled_from([0.0, -1.0, math.nan, math.inf, -math.inf, 1e30, -1e30, 1e-30, 32767, -32768, 352, 5]),
    st.floats(width=32),
    st.integers(-(2**31), 2**31 - 1),
)


@pytest.mark.hostile
@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from([nib.Nifti1Image, nib.Nifti2Image]),
    codes=st.tuples(st.integers(0, 1), st.integers(0, 1)),
    changes=st.lists(
        st.tuples(
            st.sampled_from(FIELDS),
            st.integers(0, 7),
            NUMBERS,
        ),
        min_size=1,
        max_size=3,
    ),
    packed=st.booleans(),
)
@example(kind=nib.Nifti1Image, codes=(1, 1), changes=[("dim", 3, 1)], packed=True)
@example(kind=nib.Nifti1Image, codes=(1, 1), changes=[("dim", 0, 4)], packed=True)
@example(kind=nib.Nifti1Image, codes=(0, 1), changes=[("dim", 0, 4), ("srow_x", 0, math.nan)], packed=True)
@example(kind=nib.Nifti2Image, codes=(0, 1), changes=[("dim", 1, 1)], packed=False)
@example(kind=nib.Nifti1Image, codes=(1, 0), changes=[("scl_slope", 0, 1e38), ("datatype", 0, 64)], packed=True)
def test_any_header_is_read_or_refused(kind: type, codes: tuple[int, int], changes: list, packed: bool) -> None:
    image = kind(HU[::2], AFFINES["LPS"])
    image.set_qform(AFFINES["LPS"], codes[0])
    image.set_sform(AFFINES["LPS"], codes[1])
    content = bytearray(image.to_bytes())
    fields = np.frombuffer(content, image.header.template_dtype, 1)
    for name, place, number in changes:
        values = fields[name].reshape(-1)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            number = np.array(number).astype(values.dtype) if values.dtype.kind in "iuf" else b"\xff" * 80
        values[place % values.size] = number
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")  # NumPy's warnings would appear on the user's screen
        path = Path(folder) / "ct.nii"
        path.write_bytes(gzip.compress(content, 1) if packed else content)
        read = []
        for reader in (read_volume, read_by_slices):
            try:
                volume = reader(path)
                read.append(getattr(volume, "slices", volume).shape)
            except InputError as error:
                read.append(str(error).split(": expected ")[0])
        assert read[0] == read[1]
        # No part of the voxels is left out: they have at most 16 bytes each, and 4096 bytes may follow.
        assert read[0] == str(path) or math.prod(read[0]) * 16 + 4096 >= HU[::2].nbytes


@pytest.mark.hostile
@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("extra", [b"garbage", b"x" * 9000])
def test_bytes_behind_a_compressed_volume_are_named(extra: bytes, blocks: bool, tmp_path: Path) -> None:
    def reader(path: Path) -> None:
        with open_ct(path) if blocks else nullcontext(read_volume(path)):
            pass

    path = tmp_path / "ct.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((8, 8, 9), np.int16), np.diag([-1, -1, 2, 1])), path)
    path.write_bytes(path.read_bytes() + extra)
    with pytest.raises(InputError, match=r"ct\.nii\.gz: .*; found .*other bytes behind the compressed volume"):
        reader(path)
    path.write_bytes(path.read_bytes()[: -len(extra)] + bytes(50))  # zeros fill up a block
    reader(path)
