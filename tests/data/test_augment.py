"""Augmentation: image and mask together, a sample's own, seeded."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pipeline.data.augment import augment
from pipeline.params.train import Augmentation

NONE = {
    "hflip_prob": 0.0,
    "scale": 0.0,
    "rotation": 0.0,
    "translate": 0.0,
    "brightness_contrast": 0.0,
    "color_jitter": 0.0,
    "blur_prob": 0.0,
    "random_erasing_prob": 0.0,
}


def ranges(**changes: float) -> Augmentation:
    return Augmentation(**{**NONE, **changes})


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(count: int = 4, height: int = 24, width: int = 24) -> tuple[Tensor, Tensor]:
    """Images whose first channel shows the mask: a bright rectangle, class 1."""
    masks = torch.zeros(count, height, width, dtype=torch.int64)
    masks[:, 4:12, 3:15] = 1
    images = torch.rand(count, 3, height, width, generator=seeded(9))
    images[:, 0] = masks.float()
    return images, masks


def test_no_range_changes_nothing() -> None:
    images, masks = batch()
    moved, labels = augment(images, masks, ranges(), seeded())
    torch.testing.assert_close(moved, images)
    assert torch.equal(labels, masks)


def test_a_certain_flip_mirrors_left_and_right() -> None:
    images, masks = batch()
    moved, labels = augment(images, masks, ranges(hflip_prob=1.0), seeded())
    torch.testing.assert_close(moved, images.flip(-1))
    assert torch.equal(labels, masks.flip(-1))


@pytest.mark.parametrize("change", [{"scale": 0.5}, {"rotation": 30.0}, {"translate": 0.3}, {"hflip_prob": 0.5}])
@pytest.mark.parametrize("size", [(24, 24), (24, 40)])
def test_mask_and_image_move_together(change: dict[str, float], size: tuple[int, int]) -> None:
    images, masks = batch(8, *size)
    moved, labels = augment(images, masks, ranges(**change), seeded())
    assert not torch.equal(labels, masks)
    # Bilinear against nearest: they may differ on the rectangle's edge, by less than half.
    assert ((moved[:, 0] > 0.5) == (labels == 1)).float().mean() > 0.98


def test_masks_keep_their_values() -> None:
    images, masks = batch()
    masks[:, 0] = 255
    _, labels = augment(images, masks, ranges(rotation=45.0, scale=0.5, translate=0.2), seeded())
    assert set(labels.unique().tolist()) <= {0, 1, 255}


def test_every_sample_has_its_own_draw() -> None:
    images, masks = batch(6)
    images = images[:1].expand(6, -1, -1, -1)
    moved, _ = augment(images, masks, ranges(rotation=20.0, brightness_contrast=0.5), seeded())
    assert all(not torch.equal(moved[0], other) for other in moved[1:])


def test_the_generator_alone_decides() -> None:
    images, masks = batch()
    everything = ranges(hflip_prob=0.5, scale=0.2, rotation=20.0, translate=0.1, brightness_contrast=0.2)
    first, again, other = (augment(images, masks, everything, seeded(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_rotation_does_not_shear_what_is_not_square() -> None:
    """A disc stays a disc of the same size; at 30 degrees no reflection of it comes into view."""
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(80.0), indexing="ij")
    masks = (((y - 20) ** 2 + (x - 40) ** 2) < 9**2).long()[None].repeat(8, 1, 1)
    images = masks[:, None].float().repeat(1, 3, 1, 1)
    _, labels = augment(images, masks, ranges(rotation=30.0), seeded())
    rows, columns = labels.sum(dim=2).amax(dim=1), labels.sum(dim=1).amax(dim=1)
    assert (rows - columns).abs().max() <= 2
    assert (labels.sum(dim=(1, 2)) / masks[0].sum() - 1).abs().max() < 0.05


def test_light_stays_in_range_and_spares_the_mask() -> None:
    images, masks = batch()
    moved, labels = augment(images, masks, ranges(brightness_contrast=0.9), seeded())
    assert 0 <= moved.min() <= moved.max() <= 1
    assert torch.equal(labels, masks)
    assert moved.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "change", [{"brightness_contrast": 0.5}, {"color_jitter": 0.3}, {"blur_prob": 0.5}, {"random_erasing_prob": 0.5}]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_change_photometry_keeps_masks_and_range(change: dict[str, float], channels: int) -> None:
    images, masks = batch(8)
    images = images[:, :channels]
    changed, labels = augment(images, masks, ranges(**change), seeded())
    assert torch.equal(labels, masks)
    assert changed.shape == images.shape
    assert changed.min() >= 0
    assert changed.max() <= 1
    differs = (changed - images).abs().amax(dim=(1, 2, 3)) > 1e-4
    assert differs.any()
    if "blur_prob" in change or "random_erasing_prob" in change:  # a probability: some samples stay
        assert not differs.all()


def test_erase_fills_a_square_of_one_color_and_the_stated_size() -> None:
    images, masks = batch(16, 40, 60)
    changed, _ = augment(images, masks, ranges(random_erasing_prob=1.0), seeded())
    for before, after in zip(images, changed, strict=True):
        hidden = (after - before).abs().amax(dim=0) > 1e-4
        rows, columns = hidden.any(dim=1).nonzero(), hidden.any(dim=0).nonzero()
        high, wide = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
        assert 0.15 * 40 - 1 <= high <= 0.4 * 40 + 1
        assert abs(high - wide) <= 1
        assert hidden.sum() > 0.95 * high * wide
        torch.testing.assert_close(after[:, hidden], before.mean(dim=(1, 2))[:, None].expand(-1, int(hidden.sum())))


def test_a_change_switched_on_leaves_the_draws_of_the_others() -> None:
    images, masks = batch(8)
    plain, _ = augment(images, masks, ranges(rotation=20.0, brightness_contrast=0.3), seeded())
    erased, _ = augment(
        images, masks, ranges(rotation=20.0, brightness_contrast=0.3, random_erasing_prob=1.0), seeded()
    )
    same = (plain - erased).abs().amax(dim=1) < 1e-6
    assert same.float().mean() > 0.7  # all but the hidden squares
