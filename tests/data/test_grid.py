import numpy as np
import pytest
from helpers.volumes import AFFINES, ORDERS, SHAPE
from nibabel.orientations import apply_orientation, inv_ornt_aff

from lits_seg.data.grid import Grid, from_slices, same_place, to_slices, view_slices


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_slices_do_not_depend_on_the_order_of_axes(order: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    array = rng.integers(-1000, 1000, SHAPE).astype(np.int16)
    affine = AFFINES["oblique"]
    turned, turned_affine = apply_orientation(array, order), affine @ inv_ornt_aff(order, array.shape)
    np.testing.assert_array_equal(to_slices(turned, turned_affine), to_slices(array, affine))
    np.testing.assert_array_equal(from_slices(to_slices(turned, turned_affine), turned_affine), turned)


@pytest.mark.parametrize("name", AFFINES)
def test_what_is_written_into_the_view_is_written_into_the_array(name: str) -> None:
    array = np.zeros(SHAPE, np.uint8, order="F")
    slices = np.arange(array.size, dtype=np.uint8).reshape(to_slices(array, AFFINES[name]).shape)
    view_slices(array, AFFINES[name])[:] = slices
    np.testing.assert_array_equal(array, from_slices(slices, AFFINES[name]))


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_a_turned_file_is_at_the_same_place(order: np.ndarray) -> None:
    affine = AFFINES["oblique"]
    turned = Grid(affine @ inv_ornt_aff(order, SHAPE), apply_orientation(np.zeros(SHAPE), order).shape)
    assert same_place(Grid(affine, SHAPE), turned)
    assert turned.spacing == pytest.approx(Grid(affine, SHAPE).spacing)
    np.testing.assert_allclose(turned.slices_affine, Grid(affine, SHAPE).slices_affine, atol=1e-9)


def test_a_tenth_of_a_voxel_is_the_same_place_and_a_fifth_is_not() -> None:
    affine = AFFINES["LPS"]
    for offset, same in ((0.14, True), (0.3, False)):
        moved = affine.copy()
        moved[0, 3] += offset  # voxels of 1.5 mm
        assert same_place(Grid(affine, SHAPE), Grid(moved, SHAPE)) is same
    stretched = affine @ np.diag([1, 1, 1.02, 1])  # a fiftieth of 3 mm, nine slices up
    assert not same_place(Grid(affine, SHAPE), Grid(stretched, SHAPE))
    assert not same_place(Grid(affine, SHAPE), Grid(affine, (*SHAPE[:2], SHAPE[2] + 1)))


@pytest.mark.parametrize("order", ORDERS[::7], ids=str)
def test_a_voxels_volume_is_its_parallelepipeds(order: np.ndarray) -> None:
    sheared = np.diag([-0.5, 0.8, 2.5, 1.0])
    sheared[1, 2] = 0.4  # a gantry tilt: the volume stays, the product of the spacings does not
    assert Grid(sheared @ inv_ornt_aff(order, SHAPE), SHAPE).voxel_ml == pytest.approx(0.5 * 0.8 * 2.5 / 1000)
