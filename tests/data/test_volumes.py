from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from helpers.real_data import real_data
from helpers.volumes import AFFINES, ORDERS, SHAPE, anatomy, write_case
from nibabel.orientations import apply_orientation, inv_ornt_aff

from lits_seg.common.errors import InputError
from lits_seg.data.grid import Grid, to_slices
from lits_seg.data.layouts import Case, find_cases
from lits_seg.data.volumes import read_case, read_volume


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_spacing_does_not_depend_on_the_order_of_axes(order: np.ndarray, tmp_path: Path) -> None:
    affine = np.diag([-0.7, -0.8, 5.0, 1.0])
    array = np.zeros((5, 6, 7), np.int16)
    turned = nib.Nifti1Image(apply_orientation(array, order), affine @ inv_ornt_aff(order, array.shape))
    nib.save(turned, tmp_path / "v.nii")
    volume = read_volume(tmp_path / "v.nii")
    assert volume.slices.shape == (7, 6, 5)
    assert volume.spacing == pytest.approx((0.7, 0.8, 5.0))


@pytest.mark.parametrize("name", AFFINES)
def test_rows_run_to_posterior_columns_to_the_left_slices_upwards(name: str, tmp_path: Path) -> None:
    affine = AFFINES[name]
    indices = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1)
    world = nib.affines.apply_affine(affine, indices)  # RAS+: to the right, to anterior, to superior
    for axis, (slice_axis, sign) in enumerate(((2, -1), (1, -1), (0, 1))):
        nib.save(nib.Nifti1Image(world[..., axis].astype(np.float32), affine), tmp_path / "v.nii")
        volume = read_volume(tmp_path / "v.nii")
        steps = sign * np.diff(volume.slices, axis=slice_axis)
        assert (steps > 0).all()
        assert steps.mean() == pytest.approx(volume.spacing[(2, 1, 0)[slice_axis]], rel=0.02)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [np.int16, np.uint16, np.float32, np.float64, "scaled"])
def test_storage_does_not_matter(kind: object, suffix: str, tmp_path: Path) -> None:
    hu = anatomy(0)[0] // 2 * 2
    stored = np.clip(hu, 0, None) if kind is np.uint16 else hu
    if kind == "scaled":
        image = nib.Nifti1Image(((hu + 1024) // 2).astype(np.int16), AFFINES["RAS"])
        image.header.set_slope_inter(2, -1024)
    else:
        image = nib.Nifti1Image(stored.astype(kind), AFFINES["RAS"])
    nib.save(image, tmp_path / f"volume-0{suffix}")
    np.testing.assert_array_equal(
        read_volume(tmp_path / f"volume-0{suffix}").slices, to_slices(stored, AFFINES["RAS"]).astype(np.float32)
    )


def test_labels_stored_in_another_orientation_of_the_same_place_are_turned(tmp_path: Path) -> None:
    hu, labels = anatomy(1)
    write_case(tmp_path, "0", hu, labels)
    order = ORDERS[23]
    turned = nib.Nifti1Image(apply_orientation(labels, order), AFFINES["LPS"] @ inv_ornt_aff(order, labels.shape))
    nib.save(turned, tmp_path / "segmentation-0.nii.gz")
    image, label = read_case(find_cases(tmp_path)[0])
    np.testing.assert_array_equal(label.slices, to_slices(labels, AFFINES["LPS"]))
    assert image.slices[label.slices == 2].mean() == pytest.approx(60, abs=3)


def test_real_ct_is_oriented_right() -> None:
    real = real_data("volume-0.nii.gz", "segmentation-0.nii.gz")
    image, label = read_case(Case("0", real / "volume-0.nii.gz", real / "segmentation-0.nii.gz"))
    assert image.slices[label.slices == 1].mean() == pytest.approx(45, abs=3)
    assert np.argwhere(label.slices == 1)[:, 2].mean() < image.slices.shape[2] / 2  # the patient's right


@pytest.mark.parametrize("what", ["cut in the voxels", "cut in the header", "text"])
def test_bad_files_without_compression_are_named(what: str, tmp_path: Path) -> None:
    file = tmp_path / "volume-0.nii"
    nib.save(nib.Nifti1Image(anatomy(0)[0], AFFINES["LPS"]), file)
    content = file.read_bytes()
    file.write_bytes(
        {"cut in the voxels": content[:5000], "cut in the header": content[:200], "text": b"no " * 500}[what]
    )
    with pytest.raises(InputError) as error:
        read_volume(file)
    assert str(error.value).startswith(f"{file}: expected a readable NIfTI volume; found ")


@pytest.mark.parametrize("what", ["colours", "negative length"])
def test_headers_that_make_no_ct_are_named(what: str, tmp_path: Path) -> None:
    file = tmp_path / "volume-0.nii"
    if what == "colours":
        nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), [("R", "u1"), ("G", "u1"), ("B", "u1")]), np.eye(4)), file)
    else:
        nib.save(nib.Nifti1Image(anatomy(0)[0], AFFINES["LPS"]), file)
        content = bytearray(file.read_bytes())
        content[42:44] = (-5).to_bytes(2, "little", signed=True)
        file.write_bytes(content)
    with pytest.raises(InputError, match=r"volume-0\.nii: expected"):
        read_volume(file)


def damage(root: Path, what: str) -> Path:
    """Spoils the case in ``root`` and returns the file that must be named."""
    volume, segmentation = root / "volume-0.nii.gz", root / "segmentation-0.nii.gz"
    hu, labels = anatomy(0)
    if what == "no segmentation":
        segmentation.unlink()
        return volume
    if what == "no volume":
        volume.unlink()
        return segmentation
    if what == "truncated gzip":
        volume.write_bytes(volume.read_bytes()[:2000])
    elif what == "damaged gzip":
        content = bytearray(volume.read_bytes())
        content[1000:1100] = bytes(100)
        volume.write_bytes(content)
    elif what == "text":
        volume.write_text("not an image")
    elif what == "empty file":
        volume.write_bytes(b"")
    elif what == "2-D":
        nib.save(nib.Nifti1Image(hu[:, :, 0], np.eye(4)), volume)
    elif what == "4-D":
        nib.save(nib.Nifti1Image(hu[..., None].repeat(2, axis=3), np.eye(4)), volume)
    elif what == "NaN":
        hu = hu.astype(np.float32)
        hu[3, 3, 3] = np.nan
        nib.save(nib.Nifti1Image(hu, AFFINES["LPS"]), volume)
    elif what == "infinite":
        hu = hu.astype(np.float32)
        hu[3, 3, 3:5] = np.inf
        nib.save(nib.Nifti1Image(hu, AFFINES["LPS"]), volume)
    elif what == "no affine":
        image = nib.Nifti1Image(hu, None)
        image.header["sform_code"], image.header["srow_x"] = 1, 0
        nib.save(image, volume)
    elif what == "shape":
        nib.save(nib.Nifti1Image(labels[:, :, 1:], AFFINES["LPS"]), segmentation)
        return segmentation
    elif what == "label 7":
        labels[0, 0, 0] = 7
        nib.save(nib.Nifti1Image(labels, AFFINES["LPS"]), segmentation)
        return segmentation
    elif what == "label 1.5":
        labels = labels.astype(np.float32)
        labels[0, 0, 0] = 1.5
        nib.save(nib.Nifti1Image(labels, AFFINES["LPS"]), segmentation)
        return segmentation
    return volume


@pytest.mark.parametrize(
    ("what", "expected", "found"),
    [
        ("no segmentation", "a segmentation", "none"),
        ("no volume", "a volume", "none"),
        ("truncated gzip", "readable NIfTI", ""),
        ("damaged gzip", "readable NIfTI", ""),
        ("text", "readable NIfTI", ""),
        ("empty file", "readable NIfTI", ""),
        ("2-D", "a 3-D volume", "2 dimensions"),
        ("4-D", "a 3-D volume", "4 dimensions"),
        ("NaN", "finite HU", "1 NaN"),
        ("infinite", "finite HU", "2 NaN or infinite"),
        ("label 1.5", "labels 0 (background), 1 (liver), 2 (lesion)", "0, 1, 1.5, 2"),
        ("no affine", "an affine with three distinct axes", ""),
        ("shape", str(SHAPE), str((*SHAPE[:2], SHAPE[2] - 1))),
        ("label 7", "labels 0 (background), 1 (liver), 2 (lesion)", "0, 1, 2, 7"),
    ],
)
def test_bad_input_is_named(what: str, expected: str, found: str, tmp_path: Path) -> None:
    write_case(tmp_path, "0", *anatomy(0))
    file = damage(tmp_path, what)
    with pytest.raises(InputError) as error:
        read_case(find_cases(tmp_path)[0])
    assert str(error.value).startswith(f"{file}: expected ")
    assert expected in str(error.value)
    assert f"found {found}" in str(error.value) or found in str(error.value).split("; found ")[1]


@pytest.mark.parametrize("order", ORDERS[::5], ids=str)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [np.int16, np.float32, "scaled"])
def test_blocks_that_are_seen_while_reading_make_up_the_volume(
    kind: object, suffix: str, order: np.ndarray, tmp_path: Path
) -> None:
    hu = np.random.default_rng(0).integers(-500, 500, (6, 7, 37)).astype(np.int16) * 2
    affine = np.diag([-1.0, -1.0, 2.0, 1.0]) @ inv_ornt_aff(order, hu.shape)
    stored = apply_orientation(hu, order)
    if kind == "scaled":
        image = nib.Nifti1Image(stored // 2, affine)
        image.header.set_slope_inter(2, 0)
    else:
        image = nib.Nifti1Image(stored.astype(kind), affine)
    nib.save(image, tmp_path / f"v{suffix}")
    blocks: dict[int, np.ndarray] = {}
    grids = []

    def watch(first: int, block: np.ndarray, grid: Grid) -> None:
        blocks[first] = block
        grids.append(grid)

    volume = read_volume(tmp_path / f"v{suffix}", watch)
    assert all(grid.pixel_mm == volume.pixel_mm and grid.shape == volume.shape for grid in grids)
    seen = np.concatenate([blocks[first] for first in sorted(blocks)])
    np.testing.assert_array_equal(volume.slices, hu.transpose(2, 1, 0))
    np.testing.assert_array_equal(seen, volume.slices)
    assert seen.dtype == volume.slices.dtype == (np.int16 if kind is np.int16 else np.float32)
    assert all((hu.transpose(2, 1, 0)[first : first + len(block)] == block).all() for first, block in blocks.items())
    by_slices = order[2, 0] == 2 and suffix == ".nii.gz"
    assert len(blocks) == (3 if by_slices else 1)
