"""Augmentation of images with their masks, drawn for each sample from a seeded generator."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pipeline.data.augment import augment
from pipeline.data.batch_loader import Batch
from pipeline.params.train import Augmentation

DISABLED = {
    "hflip_prob": 0.0,
    "scale": 0.0,
    "rotation": 0.0,
    "translate": 0.0,
    "brightness_contrast": 0.0,
    "color_jitter": 0.0,
    "blur_prob": 0.0,
    "random_erasing_prob": 0.0,
}


def make_augmentation(**changes: float) -> Augmentation:
    return Augmentation(**{**DISABLED, **changes})


def make_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_batch(count: int = 4, height: int = 24, width: int = 24) -> tuple[Tensor, Tensor]:
    """Make images whose first channel is the mask: a rectangle of class 1."""
    masks = torch.zeros(count, height, width, dtype=torch.int64)
    masks[:, 4:12, 3:15] = 1
    images = torch.rand(count, 3, height, width, generator=make_generator(9))
    images[:, 0] = masks.float()
    return images, masks


def test_augment_with_all_changes_disabled_is_the_identity() -> None:
    images, masks = make_batch()
    augmented, labels, _ = augment(Batch(images, masks), make_augmentation(), make_generator())
    torch.testing.assert_close(augmented, images)
    assert torch.equal(labels, masks)


def test_augment_with_hflip_prob_1_flips_images_and_masks() -> None:
    images, masks = make_batch()
    augmented, labels, _ = augment(Batch(images, masks), make_augmentation(hflip_prob=1.0), make_generator())
    torch.testing.assert_close(augmented, images.flip(-1))
    assert torch.equal(labels, masks.flip(-1))


@pytest.mark.parametrize(
    "change", [{"scale": 0.5}, {"rotation": 30.0}, {"translate": 0.3}, {"hflip_prob": 0.5}, {"elastic": 0.1}]
)
@pytest.mark.parametrize("size", [(24, 24), (24, 40)])
def test_augment_transforms_masks_with_their_images(change: dict[str, float], size: tuple[int, int]) -> None:
    images, masks = make_batch(8, *size)
    augmented, labels, _ = augment(Batch(images, masks), make_augmentation(**change), make_generator())
    assert not torch.equal(labels, masks)
    # Bilinear and nearest-neighbor interpolation may differ at the edge of the rectangle.
    assert ((augmented[:, 0] > 0.5) == (labels == 1)).float().mean() > 0.98


@pytest.mark.parametrize("size", [None, (33, 33)])
def test_augment_elastic_displaces_smoothly_by_pixels(size: tuple[int, int] | None) -> None:
    height, width = 49, 81
    rows, columns = torch.meshgrid(torch.arange(height) / 100, torch.arange(width) / 100, indexing="ij")
    images = torch.stack([rows, columns]).expand(500, 2, -1, -1)
    masks = torch.zeros(500, height, width, dtype=torch.int64)
    deformed, _, _ = augment(Batch(images, masks), make_augmentation(elastic=0.04), make_generator(), size)
    (top, left), (high, wide) = (0, 0) if size is None else (8, 24), size or (height, width)
    moved = (deformed - images[:, :, top : top + high, left : left + wide]) * 100  # px
    middle = moved[:, :, high // 2, wide // 2]
    assert middle.std(dim=0).tolist() == pytest.approx([0.04 * min(high, wide)] * 2, rel=0.15)
    assert middle.mean(dim=0).abs().max() < 0.3
    inner = moved[:, :, 6:-6, 6:-6]  # no reflected pixels
    assert inner.diff(dim=2).abs().max() < 1
    assert inner.diff(dim=3).abs().max() < 1


def test_augment_keeps_mask_values() -> None:
    images, masks = make_batch()
    masks[:, 0] = 255
    _, labels, _ = augment(
        Batch(images, masks), make_augmentation(rotation=45.0, scale=0.5, translate=0.2), make_generator()
    )
    assert set(labels.unique().tolist()) <= {0, 1, 255}


def test_augment_draws_for_each_sample() -> None:
    images, masks = make_batch(6)
    images = images[:1].expand(6, -1, -1, -1)
    augmented, _, _ = augment(
        Batch(images, masks), make_augmentation(rotation=20.0, brightness_contrast=0.5), make_generator()
    )
    assert all(not torch.equal(augmented[0], other) for other in augmented[1:])


def test_augment_depends_on_the_generator_only() -> None:
    images, masks = make_batch()
    augmentation = make_augmentation(hflip_prob=0.5, scale=0.2, rotation=20.0, translate=0.1, brightness_contrast=0.2)
    first, repeated, other = (
        augment(Batch(images, masks), augmentation, make_generator(seed))[0] for seed in (1, 1, 2)
    )
    assert torch.equal(first, repeated)
    assert not torch.equal(first, other)


def test_augment_rotation_does_not_shear_wide_images() -> None:
    """A disc keeps its shape and size; at 30 degrees, no reflection of it enters the image."""
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(80.0), indexing="ij")
    masks = (((y - 20) ** 2 + (x - 40) ** 2) < 9**2).long()[None].repeat(8, 1, 1)
    images = masks[:, None].float().repeat(1, 3, 1, 1)
    _, labels, _ = augment(Batch(images, masks), make_augmentation(rotation=30.0), make_generator())
    rows, columns = labels.sum(dim=2).amax(dim=1), labels.sum(dim=1).amax(dim=1)
    assert (rows - columns).abs().max() <= 2
    assert (labels.sum(dim=(1, 2)) / masks[0].sum() - 1).abs().max() < 0.05


def test_augment_brightness_contrast_stays_in_range_and_keeps_masks() -> None:
    images, masks = make_batch()
    augmented, labels, _ = augment(Batch(images, masks), make_augmentation(brightness_contrast=0.9), make_generator())
    assert 0 <= augmented.min() <= augmented.max() <= 1
    assert torch.equal(labels, masks)
    assert augmented.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "change", [{"brightness_contrast": 0.5}, {"color_jitter": 0.3}, {"blur_prob": 0.5}, {"random_erasing_prob": 0.5}]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_augment_photometry_keeps_masks_and_range(change: dict[str, float], channels: int) -> None:
    images, masks = make_batch(8)
    images = images[:, :channels]
    changed, labels, _ = augment(Batch(images, masks), make_augmentation(**change), make_generator())
    assert torch.equal(labels, masks)
    assert changed.shape == images.shape
    assert changed.min() >= 0
    assert changed.max() <= 1
    differs = (changed - images).abs().amax(dim=(1, 2, 3)) > 1e-4
    assert differs.any()
    if "blur_prob" in change or "random_erasing_prob" in change:  # some samples are unchanged
        assert not differs.all()


def test_augment_random_erasing_fills_a_square_with_the_mean_color() -> None:
    images, masks = make_batch(16, 40, 60)
    changed, _, _ = augment(Batch(images, masks), make_augmentation(random_erasing_prob=1.0), make_generator())
    for before, after in zip(images, changed, strict=True):
        erased = (after - before).abs().amax(dim=0) > 1e-4
        rows, columns = erased.any(dim=1).nonzero(), erased.any(dim=0).nonzero()
        height, width = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
        assert 0.15 * 40 - 1 <= height <= 0.4 * 40 + 1
        assert abs(height - width) <= 1
        assert erased.sum() > 0.95 * height * width
        torch.testing.assert_close(after[:, erased], before.mean(dim=(1, 2))[:, None].expand(-1, int(erased.sum())))


def test_augment_with_an_additional_change_keeps_the_other_draws() -> None:
    images, masks = make_batch(8)
    plain, _, _ = augment(
        Batch(images, masks), make_augmentation(rotation=20.0, brightness_contrast=0.3), make_generator()
    )
    erased, _, _ = augment(
        Batch(images, masks),
        make_augmentation(rotation=20.0, brightness_contrast=0.3, random_erasing_prob=1.0),
        make_generator(),
    )
    same = (plain - erased).abs().amax(dim=1) < 1e-6
    assert same.float().mean() > 0.7  # all but the erased squares
