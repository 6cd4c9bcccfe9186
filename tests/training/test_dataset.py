from __future__ import annotations

import numpy as np

from umlite.training.dataset import ImageSource, Mixture, WindowStream
from umlite.training.image import TrainingImage, make_image
from umlite.training.windows import WindowSampler


def stream_of(source: ImageSource, sampler: WindowSampler) -> WindowStream:
    return WindowStream(source, sampler, seed=3, pool=3, windows_per_image=4, workers=0)


def test_windows_depend_on_seed_and_number_only(source: ImageSource, sampler: WindowSampler) -> None:
    with stream_of(source, sampler) as first, stream_of(source, sampler) as second:
        for i in range(14):
            first.batch(i, 1)
        one, other = first.batch(14, 2), second.batch(14, 2)
    assert np.array_equal(one.voxels.numpy(), other.voxels.numpy())
    assert np.array_equal(one.present, other.present)
    assert np.array_equal(one.known, other.known)
    assert not np.array_equal(one.voxels[0].numpy(), one.voxels[1].numpy())


def test_windows_are_scaled_and_shaped(stream: WindowStream) -> None:
    batch = stream.batch(0, 3)
    assert batch.voxels.shape == (3, 1, 24, 24, 24)
    assert 0 <= float(batch.voxels.min()) <= float(batch.voxels.max()) <= 1
    assert batch.present.shape == batch.known.shape == (3, 24, 24, 24)


def test_pool_is_bounded(stream: WindowStream) -> None:
    for i in range(40):
        stream.batch(i, 1)
        assert len(stream._images) <= 3


def test_padding_is_unknown(sampler: WindowSampler, classes: tuple[str, ...]) -> None:
    ones = np.ones((18, 24, 24), np.uint32)
    image = make_image(np.zeros(ones.shape, np.float32), ones, ones, len(classes))
    window = sampler.draw(image, np.random.default_rng(0))
    assert not window.known[:3].any()
    assert not window.known[21:].any()
    assert window.known[3:21].all()
    assert not window.voxels[:3].any()


def test_thin_windows_are_filled_up_with_zeros_above_and_below(classes: tuple[str, ...]) -> None:
    ones = np.ones((40, 40, 40), np.uint32)
    image = make_image(np.zeros(ones.shape, np.float32), ones, ones, len(classes))
    sampler = WindowSampler((16, 16, 24), (-175, 250), thin_share=1, augment=False)
    rng = np.random.default_rng(0)
    for _ in range(20):
        window = sampler.draw(image, rng)
        slices = np.flatnonzero(window.known.any(axis=(0, 1)))
        below, above = slices[0], 23 - slices[-1]
        assert 8 <= len(slices) == slices[-1] - slices[0] + 1 < 24
        assert above - below in (0, 1)
        assert not window.voxels[..., :below].any()


def test_thin_windows_show_any_class_and_keep_below_a_number_of_slices(classes: tuple[str, ...]) -> None:
    present = np.zeros((40, 40, 80), np.uint32)
    present[:, :, :8], present[:, :, 72:] = 1 << 4, 1 << 0
    image = make_image(np.zeros(present.shape, np.float32), present, np.ones_like(present), len(classes))
    sampler = WindowSampler((16, 16, 24), (-175, 250), {4: 1.0}, 1.0, 0.0, thin_share=1, thin_slices=12, augment=False)
    rng = np.random.default_rng(0)
    windows = [sampler.draw(image, rng) for _ in range(40)]
    assert max(int(w.known.any(axis=(0, 1)).sum()) for w in windows) < 12
    assert all(5 < sum(bool((w.present & bit).any()) for w in windows) < 35 for bit in (1 << 4, 1 << 0))


def test_lesions_are_sought_out(classes: tuple[str, ...]) -> None:
    present = np.zeros((40, 40, 40), np.uint32)
    present[30:32, 30:32, 30:32] = 1 << 4
    image = make_image(np.zeros(present.shape, np.float32), present, present, len(classes))
    sampler = WindowSampler((8, 8, 8), (-175, 250), rare={4: 1.0}, rare_share=1, augment=False)
    rng = np.random.default_rng(0)
    assert all(sampler.draw(image, rng).present.any() for _ in range(20))


def test_windows_show_rare_classes_as_often_as_asked(classes: tuple[str, ...]) -> None:
    present = np.zeros((40, 40, 40), np.uint32)
    present[4:6, 4:6, 4:6] = 1 << 3
    present[34:36, 34:36, 34:36] = 1 << 4
    image = make_image(np.zeros(present.shape, np.float32), present, present, len(classes))
    sampler = WindowSampler((8, 8, 8), (-175, 250), rare={3: 1.0, 4: 3.0}, rare_share=1, augment=False)
    rng = np.random.default_rng(0)
    shown = [int(sampler.draw(image, rng).present.max()) for _ in range(200)]
    assert set(shown) == {1 << 3, 1 << 4}
    assert 30 < shown.count(1 << 3) < 70


class Constant:
    def __init__(self, value: int) -> None:
        self.value = value

    def make(self, seed: int) -> TrainingImage:  # noqa: ARG002
        none = np.zeros((4, 4, 4), np.uint32)
        return make_image(np.full(none.shape, self.value, np.float32), none, none, 1)


def test_mixture_keeps_its_shares() -> None:
    mixture = Mixture((Constant(1), Constant(2)), (0.25, 0.75), seed=0)
    values = [int(mixture.make(seed).hu[0, 0, 0]) for seed in range(200)]
    assert 30 < values.count(1) < 70
    assert values == [int(mixture.make(seed).hu[0, 0, 0]) for seed in range(200)]


def test_background_process_makes_the_same_images(source: ImageSource, sampler: WindowSampler) -> None:
    with (
        WindowStream(source, sampler, seed=3, pool=1, windows_per_image=4, workers=0) as here,
        WindowStream(source, sampler, seed=3, pool=1, windows_per_image=4, workers=1) as elsewhere,
    ):
        one, other = here.batch(0, 1), elsewhere.batch(0, 1)
    assert np.array_equal(one.voxels.numpy(), other.voxels.numpy())
    assert np.array_equal(one.present, other.present)
