"""Masks of images with an EXIF orientation: `init` finds out whether they cover upright or stored pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.imaging.metadata import reverse_orientation
from pipeline.imaging.tiff import turn_upright
from tests.init.conftest import SIZE, InitResult, RefusedError, draw_disc, make_image

RunInit = Callable[..., InitResult]
NAMES = [f"a{index:02}" for index in range(16)]
DISCS = {name: draw_disc(index).astype(np.uint8) for index, name in enumerate(NAMES)}


def reverse_turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return the stored pixels that the orientation turns into the given ones."""
    return turn_upright(np.atleast_3d(pixels), reverse_orientation(orientation)).reshape(
        *(pixels.shape[:2] if orientation < 5 else pixels.shape[1::-1]), *pixels.shape[2:]
    )


def save(pixels: np.ndarray, orientation: int, folder: str, name: str) -> Callable[[Any], None]:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return lambda _: Image.fromarray(pixels).save(f"cells/{folder}/{name}.png", exif=exif)


def draw_pair(name: str, height: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Draw an upright image of a white object, and its mask."""
    image, mask = make_image(NAMES.index(name)).copy(), DISCS[name]
    image[mask > 0] = 255
    return image[:height], mask[:height]


def make_savers(
    orientation: Callable[[int], int],
    is_stored: Callable[[int], bool],
    height: int = SIZE,
    mask_orientation: Callable[[int], int] = lambda _: 1,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make functions that save the masks and images.

    Args:
        orientation: EXIF orientation of the image at an index.
        is_stored: whether the mask at an index covers the stored pixels.
        height: height of the upright images, px.
        mask_orientation: EXIF orientation of the mask at an index.
    """
    masks, images = {}, {}
    for index, name in enumerate(NAMES):
        image, mask = draw_pair(name, height)
        turn = orientation(index)
        images[name] = save(reverse_turn(image, turn), turn, "images", name)
        masks[name] = save(
            reverse_turn(mask, turn) if is_stored(index) else mask, mask_orientation(index), "masks", name
        )
    return masks, images


@pytest.mark.parametrize("choice", ["upright", "stored"])
def test_init_chooses_the_pixels_that_masks_cover(run_init: RunInit, choice: str) -> None:
    result = run_init(*make_savers(lambda index: index % 8 + 1, lambda _: choice == "stored"))
    assert result.data["mask_orientation"] == choice
    assert result.indices(DISCS) == {0: {0}, 1: {1}}
    assert any(f"mask_orientation: {choice} is suggested." in notice for notice in result.notices)


@pytest.mark.parametrize("choice", ["upright", "stored"])
def test_init_of_images_turned_by_90_degrees_compares_sizes(
    run_init: RunInit, choice: str, recwarn: pytest.WarningsRecorder
) -> None:
    result = run_init(*make_savers(lambda index: (1, 6, 8)[index % 3], lambda _: choice == "stored", height=24))
    assert result.data["mask_orientation"] == choice
    assert "nan" not in result.output
    assert not [warning for warning in recwarn if issubclass(warning.category, RuntimeWarning)]


def test_init_of_masks_with_their_own_orientation_requires_no_choice(run_init: RunInit) -> None:
    result = run_init(
        *make_savers(lambda index: index % 8 + 1, lambda _: True, mask_orientation=lambda index: index % 8 + 1)
    )
    assert result.data["mask_orientation"] is None
    assert result.indices(DISCS) == {0: {0}, 1: {1}}
    assert not any("EXIF" in notice for notice in result.notices)


def test_init_of_upright_masks_with_the_orientation_of_their_images_lists_them(run_init: RunInit) -> None:
    masks, images = make_savers(
        lambda index: (1, 3)[index % 2], lambda _: False, mask_orientation=lambda index: (1, 3)[index % 2]
    )
    result = run_init(masks, images)
    [notice] = [notice for notice in result.notices if "without EXIF" in notice]
    assert "an EXIF orientation, but would fit without it" in notice
    assert notice.startswith("8 masks have")
    assert "images/a01.png" in notice
    assert not any("better" in notice for notice in result.notices)


def test_init_of_masks_that_cover_upright_or_stored_pixels_is_refused(run_init: RunInit) -> None:
    with pytest.raises(RefusedError, match="16 masks whose orientation is ambiguous"):
        run_init(*make_savers(lambda _: 3, lambda index: index in (2, 5, 11)))


def test_init_of_a_single_mask_that_covers_other_pixels_lists_it(run_init: RunInit) -> None:
    result = run_init(*make_savers(lambda _: 3, lambda index: index == 5))
    assert result.data["mask_orientation"] == "upright"
    assert any(
        "1 mask fits in a different orientation than most: the masks of images/a05.png" in n for n in result.notices
    )
