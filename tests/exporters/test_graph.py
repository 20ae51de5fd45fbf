import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lits_seg.data.preprocess import Preprocess
from lits_seg.exporters.graph import Prepare, Restore


def slices(height: int, width: int, seed: int, kind: type) -> np.ndarray:
    hu = np.random.default_rng(seed).normal(50, 80, (2, height, width))
    hu[:, : height // 3] = -1000
    return hu.astype(kind)


def prepared(preprocess: Preprocess, hu: np.ndarray) -> np.ndarray:
    return Prepare(preprocess)(torch.from_numpy(hu)[:, None].float())[:, 0].numpy()


@given(
    st.integers(16, 150),
    st.integers(16, 150),
    st.integers(0, 9),
    st.sampled_from([16, 32, 64]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([7, 64, 256]),
    st.sampled_from([np.int16, np.float32]),
)
@example(70, 64, 3, 32, True, False, 64, np.int16)  # one such pixel among 1,024
@settings(max_examples=40, deadline=None)
def test_the_graph_prepares_the_images_that_training_saw(
    height: int, width: int, seed: int, size: int, equalize: bool, first: bool, bins: int, kind: type
) -> None:
    preprocess = Preprocess(size=size, equalize=equalize, equalize_first=first, bins=bins)
    hu = slices(height, width, seed, kind)
    expected, found = preprocess.images(hu), prepared(preprocess, hu)
    assert found.dtype == np.uint8
    # Sums in another order can take a pixel over the edge of a grey level, and equalization spreads the levels: this
    # pixel changes by several levels, and those of the grey level that it leaves or enters change by one.
    difference = np.abs(expected.astype(int) - found)
    assert (difference > equalize).mean() < 0.002


@given(
    st.integers(16, 120),
    st.integers(16, 120),
    st.tuples(st.floats(0.3, 3), st.floats(0.3, 3)),
    st.sampled_from([(32, 0.8), (33, 1.7), (64, 0.5)]),
    st.booleans(),
)
@settings(max_examples=20, deadline=None)
def test_the_graph_resamples_to_a_spacing_and_back_as_training_does(
    height: int, width: int, pixel_mm: tuple[float, float], image: tuple[int, float], first: bool
) -> None:
    preprocess = Preprocess(size=image[0], spacing=image[1], equalize_first=first)
    hu, sizes = slices(height, width, 0, np.int16), torch.tensor([pixel_mm, (1.0, 1.0)])
    expected = [preprocess.images(part[None], mm)[0] for part, mm in zip(hu, sizes, strict=True)]
    found = Prepare(preprocess)(torch.from_numpy(hu)[:, None].float(), sizes)[:, 0].numpy()
    assert (np.stack(expected) != found).mean() < 0.002
    logits = 9 * torch.randn(2, 3, image[0], image[0], generator=torch.Generator().manual_seed(height))
    labels, probability = Restore(3, preprocess)(logits, torch.zeros(2, 1, height, width), sizes)
    restored = preprocess.restore(logits, height, width, sizes)
    best = restored.topk(2, dim=1).values
    clear = best[:, 0] - best[:, 1] > 1e-4
    assert (labels == restored.argmax(dim=1))[clear].all()
    torch.testing.assert_close(probability, restored.softmax(dim=1)[:, -1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("window", [(-100, 200), (-150, 250), (0, 255)])
@pytest.mark.parametrize("shrink", [1, 2, 4])
def test_whole_hu_give_exactly_the_same_images(window: tuple[int, int], shrink: int) -> None:
    preprocess = Preprocess(window=window, size=64)
    hu = slices(64 * shrink, 64 * shrink, 0, np.int16)
    np.testing.assert_array_equal(prepared(preprocess, hu), preprocess.images(hu))


@pytest.mark.parametrize("value", [-1000, 50, 300])
def test_a_constant_slice_stays_as_it_is(value: int) -> None:
    hu = np.full((1, 40, 40), value, np.int16)
    np.testing.assert_array_equal(prepared(Preprocess(size=32), hu), Preprocess(size=32).images(hu))


@given(st.integers(17, 90), st.integers(17, 90), st.sampled_from([2, 3]))
@settings(max_examples=25, deadline=None)
def test_labels_come_back_on_the_slices_own_grid(height: int, width: int, classes: int) -> None:
    logits = 9 * torch.randn(2, classes, 32, 32, generator=torch.Generator().manual_seed(height))
    labels, probability = Restore(classes)(logits, torch.zeros(2, 1, height, width))
    expected = Preprocess(size=32).restore(logits, height, width)
    best = expected.topk(2, dim=1).values
    clear = best[:, 0] - best[:, 1] > 1e-4  # of equal classes, rounding decides
    assert labels.dtype == torch.uint8
    assert (labels == expected.argmax(dim=1) * (2 if classes == 2 else 1))[clear].all()
    torch.testing.assert_close(probability, expected.softmax(dim=1)[:, -1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("classes", [2, 3])
def test_of_equal_classes_the_first_wins(classes: int) -> None:
    labels, probability = Restore(classes)(torch.zeros(1, classes, 32, 32), torch.zeros(1, 1, 40, 40))
    assert labels.max() == 0
    torch.testing.assert_close(probability, torch.full((1, 40, 40), 1 / classes))


@pytest.mark.parametrize("logit", [-1000.0, 1000.0])
def test_sure_networks_give_probabilities_from_0_to_1(logit: float) -> None:
    for classes in (2, 3):
        logits = torch.zeros(1, classes, 32, 32)
        logits[:, -1] = logit
        assert (Restore(classes)(logits, torch.zeros(1, 1, 40, 40))[1] == (logit > 0)).all()
