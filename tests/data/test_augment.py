from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from monai.transforms import Compose
from omegaconf import OmegaConf
from scipy import stats

from lits_seg.common.errors import InputError
from lits_seg.data import augment, augment_monai

SIZE, SAMPLES = 64, 400


def per_sample(transform, image: np.ndarray) -> np.ndarray:
    found = []
    for seed in range(SAMPLES):
        transform.set_random_state(seed=seed)
        sample = {"image": torch.from_numpy(image), "label": torch.zeros(1, *image.shape[1:])}
        found.append(np.asarray(transform(sample)["image"]))
    return np.stack(found)


def per_batch(transform, image: np.ndarray) -> np.ndarray:
    images = torch.from_numpy(image).expand(SAMPLES, *image.shape)
    return transform(images, torch.zeros(SAMPLES, *image.shape[1:]), torch.Generator().manual_seed(0))[0].numpy()


def same_distribution(one: np.ndarray, other: np.ndarray) -> bool:
    return stats.ks_2samp(one, other).pvalue > 1e-3


def coordinates() -> np.ndarray:
    """An image that tells each pixel's row and column, so that a moved one tells where each pixel came from."""
    return np.stack(np.mgrid[:SIZE, :SIZE]).astype(np.float32) / SIZE


@pytest.mark.parametrize("geometry", [{}, {"rotate": 30, "zoom": 0.3}, {"rotate": 0, "zoom": 0}])
def test_both_ways_move_pixels_by_the_same_distribution(geometry: dict) -> None:
    ours = per_batch(augment.RotateZoomBend(**geometry), coordinates())
    monai = per_sample(augment_monai.rotate_zoom_bend(SIZE, **geometry), coordinates())
    for row, column in ((32, 32), (20, 40), (44, 25)):  # far from the border, where outside is air
        for axis in (0, 1):
            one, other = ours[:, axis, row, column], monai[:, axis, row, column]
            if geometry:  # MONAI's bicubic grid is off by a third of a pixel where nothing is to move
                assert abs(np.median(one) - np.median(other)) * SIZE < 0.8
                one, other = one - np.median(one), other - np.median(other)
            assert same_distribution(one, other), (one.std(), other.std())
    # Places far from each other move together alike: the bends are as smooth.
    one, other = (moved[:, 1, 32, 40] - moved[:, 1, 32, 32] for moved in (ours, monai))
    assert same_distribution(one - np.median(one), other - np.median(other)), (one.std(), other.std())


def test_both_ways_change_the_grey_values_by_the_same_distribution() -> None:
    image = np.random.default_rng(0).random((1, SIZE, SIZE)).astype(np.float32)
    ours = per_batch(augment.ScannerVariety(probability=0), image)
    monai = per_sample(Compose(augment_monai.scanner_variety(SIZE).transforms[1:]), image)
    for statistic in (np.mean, np.std, np.min, np.max, lambda x, axis: np.diff(x[:, 0]).std((1, 2))):
        one, other = statistic(ours, axis=(1, 2, 3)), statistic(monai, axis=(1, 2, 3))
        assert same_distribution(one, other), (one.mean(), other.mean())


def test_labels_move_with_the_image_and_keep_their_values() -> None:
    label = torch.zeros(8, SIZE, SIZE, dtype=torch.long)
    label[:, 16:48, 20:40] = 1
    label[:, 24:40, 24:32] = 2
    image = (label[:, None] / 2).float()
    moved, labels = augment.RotateZoomBend()(image, label, torch.Generator().manual_seed(3))
    assert labels.dtype == label.dtype
    assert set(labels.unique().tolist()) == {0, 1, 2}
    assert ((moved[:, 0] * 2).round() == labels).float().mean() > 0.95
    assert not torch.equal(labels[0], labels[1])


@pytest.mark.parametrize("transform", [augment.RotateZoomBend(crop=16), augment.ScannerVariety()])
def test_labels_of_several_slices_move_alike(transform: augment.RotateZoomBend) -> None:
    labels = torch.randint(3, (4, 3, SIZE, SIZE))
    together = transform(torch.rand(4, 3, SIZE, SIZE), labels, torch.Generator().manual_seed(3))[1]
    alone = transform(torch.rand(4, 3, SIZE, SIZE), labels[:, 1], torch.Generator().manual_seed(3))[1]
    assert together.shape == (4, 3, *alone.shape[1:])
    assert torch.equal(together[:, 1], alone)


def test_the_same_generator_gives_the_same_batch_and_another_gives_another() -> None:
    images, labels = torch.rand(4, 1, SIZE, SIZE), torch.zeros(4, SIZE, SIZE)
    transform = augment.ScannerVariety()
    one, again, other = (transform(images, labels, torch.Generator().manual_seed(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_a_sample_that_is_not_chosen_stays_as_it_is() -> None:
    images, labels = torch.rand(4, 3, SIZE, SIZE), torch.randint(3, (4, SIZE, SIZE))
    transform = augment.ScannerVariety(probability=0, intensity_probability=0)
    same, kept = transform(images, labels, torch.Generator().manual_seed(0))
    assert torch.allclose(same, images, atol=1e-5)
    assert torch.equal(kept, labels)


def test_slices_that_are_not_square_keep_their_shapes_right_angles() -> None:
    """A square in the image stays a square when it is turned, whatever the image's sides."""
    label = torch.zeros(1, 64, 128, dtype=torch.long)
    label[:, 22:42, 54:74] = 1
    turn = augment.RotateZoomBend(rotate=45, zoom=0, bend_magnitude=(0, 0))
    for seed in range(5):
        _, moved = turn(torch.zeros(1, 1, 64, 128), label, torch.Generator().manual_seed(seed))
        assert abs(int(moved.sum()) - 400) < 30
        rows, columns = np.nonzero(moved[0].numpy())
        assert abs(np.ptp(rows) - np.ptp(columns)) <= 2


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_pieces_lie_about_the_class_that_they_are_drawn_for(kind: int) -> None:
    label = torch.zeros(64, 96, 96, dtype=torch.long)
    label[:, 10:60, 10:60], label[:, 40:44, 40:44] = 1, 2
    crop_on = tuple(float(kind == i) for i in range(3))
    transform = augment.RotateZoomBend(rotate=10, zoom=0.1, crop=32, crop_on=crop_on)
    images, pieces = transform(label[:, None] / 2.0, label, torch.Generator().manual_seed(0))
    assert images.shape == (64, 1, 32, 32)
    assert pieces.shape == (64, 32, 32)
    share = (pieces >= kind).flatten(1).any(1).float().mean()
    assert share == 1
    if kind == 0:
        assert (pieces == 0).flatten(1).all(1).any()  # some pieces lie beside the liver
    lesion_first = (pieces == 2).flatten(1).any(1).float().mean()
    assert lesion_first == 1 if kind == 2 else lesion_first < 0.9


def test_a_piece_of_a_slice_without_lesion_shows_the_liver_and_of_one_without_liver_anything() -> None:
    label = torch.zeros(16, 96, 96, dtype=torch.long)
    label[:8, 70:80, 70:80] = 1
    transform = augment.RotateZoomBend(rotate=0, zoom=0, bend_magnitude=(0, 0), crop=32, crop_on=(0, 0, 1))
    _, pieces = transform(torch.rand(16, 1, 96, 96), label, torch.Generator().manual_seed(0))
    assert (pieces[:8] == 1).flatten(1).any(1).all()
    assert (pieces[8:] == 0).all()


def test_a_still_piece_is_cut_from_the_slice_as_it_is() -> None:
    ramp = torch.from_numpy(coordinates())[None].expand(6, 2, SIZE, SIZE)
    still = augment.RotateZoomBend(rotate=0, zoom=0, bend_magnitude=(0, 0), crop=16, crop_on=(1, 0, 0))
    piece, _ = still(ramp, torch.zeros(6, SIZE, SIZE), torch.Generator().manual_seed(0))
    inner = piece[..., 1:-1, 1:-1] * SIZE  # the slice's outermost half pixel blends into the air outside
    assert torch.allclose(inner.diff(dim=-2)[:, 0], torch.ones(()), atol=1e-3)
    assert torch.allclose(inner.diff(dim=-1)[:, 1], torch.ones(()), atol=1e-3)
    assert inner.min() >= 0
    assert inner.max() <= SIZE


def test_a_piece_larger_than_the_slice_is_refused() -> None:
    images, labels = torch.rand(2, 1, SIZE, SIZE), torch.zeros(2, SIZE, SIZE)
    with pytest.raises(InputError, match=r"augment.crop: expected at most the images' side, 64 px; found 80"):
        augment.RotateZoomBend(crop=80)(images, labels, torch.Generator().manual_seed(0))


def test_the_configurations_of_both_ways_share_their_values() -> None:
    with initialize_config_dir(str(Path(__file__).parents[2] / "conf"), version_base="1.3"):
        for name, reference in (("paper", "paper_one_by_one"), ("scanner", "scanner_one_by_one")):
            ours, monai = (
                OmegaConf.to_container(compose("train", [f"augment={part}"]).augment, resolve=False)
                for part in (name, reference)
            )
            changed = {key: value for key, value in monai.items() if ours.get(key) != value}
            assert set(changed) == {"_target_", "size"}
            assert ours.keys() | {"size"} == monai.keys()
    with pytest.raises(InputError, match=r"augment\.crop"):
        augment_monai.scanner_variety(SIZE, crop=32)


def test_the_configuration_of_the_paper_holds_the_defaults() -> None:
    with initialize_config_dir(str(Path(__file__).parents[2] / "conf"), version_base="1.3"):
        wanted = instantiate(compose("train", ["augment=paper"]).augment, _convert_="all")
    assert replace(wanted, bend_magnitude=tuple(wanted.bend_magnitude)) == augment.RotateZoomBend()


def test_crops_grow_with_the_progress_of_the_run() -> None:
    growing = augment.RotateZoomBend(stages=[(0, 16), (0.5, 32)])
    images, labels = torch.rand(2, 1, SIZE, SIZE), torch.zeros(2, SIZE, SIZE)
    for progress, side in ((0.0, 16), (0.49, 16), (0.5, 32), (1.0, 32)):
        cropped, _ = growing.at(progress)(images, labels, torch.Generator().manual_seed(0))
        assert cropped.shape[-2:] == (side, side)
    with pytest.raises(InputError, match=r"augment\.stages: expected"):
        augment.RotateZoomBend(stages=[(0.5, 16), (0.2, 32)])
