"""Masks of turned images: which pixels they cover is seen from the images, and said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.imaging.metadata import reverse_orientation
from pipeline.imaging.tiff import turn_upright
from tests.init.conftest import SIZE, RefusedError, Seen, disc, photo

See = Callable[..., Seen]
NAMES = [f"a{index:02}" for index in range(16)]
DISCS = {name: disc(index).astype(np.uint8) for index, name in enumerate(NAMES)}


def as_stored(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Find the pixels that this orientation turns into those that are given."""
    return turn_upright(np.atleast_3d(pixels), reverse_orientation(orientation)).reshape(
        *(pixels.shape[:2] if orientation < 5 else pixels.shape[1::-1]), *pixels.shape[2:]
    )


def save(pixels: np.ndarray, orientation: int, folder: str, name: str) -> Callable[[Any], None]:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return lambda _: Image.fromarray(pixels).save(f"cells/{folder}/{name}.png", exif=exif)


def drawn(name: str, height: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Draw an image and its mask, upright: a white object."""
    image, mask = photo(NAMES.index(name)).copy(), DISCS[name]
    image[mask > 0] = 255
    return image[:height], mask[:height]


def write(
    orientation: Callable[[int], int],
    is_stored: Callable[[int], bool],
    height: int = SIZE,
    mask_orientation: Callable[[int], int] = lambda _: 1,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make masks and images that save themselves.

    Args:
        orientation: of the image at a place.
        is_stored: whether the mask at a place covers the stored pixels.
        height: of the upright images, px.
        mask_orientation: that the mask's file has itself.
    """
    masks, images = {}, {}
    for place, name in enumerate(NAMES):
        image, mask = drawn(name, height)
        turn = orientation(place)
        images[name] = save(as_stored(image, turn), turn, "images", name)
        masks[name] = save(as_stored(mask, turn) if is_stored(place) else mask, mask_orientation(place), "masks", name)
    return masks, images


@pytest.mark.parametrize("choice", ["upright", "stored"])
def test_init_chooses_the_pixels_that_masks_cover(see: See, choice: str) -> None:
    found = see(*write(lambda place: place % 8 + 1, lambda _: choice == "stored"))
    assert found.data["mask_orientation"] == choice
    assert found.indices(DISCS) == {0: {0}, 1: {1}}
    assert any(f"mask_orientation: {choice}." in notice for notice in found.notices)


@pytest.mark.parametrize("choice", ["upright", "stored"])
def test_init_of_images_on_end_goes_by_their_size(see: See, choice: str, recwarn: pytest.WarningsRecorder) -> None:
    found = see(*write(lambda place: (1, 6, 8)[place % 3], lambda _: choice == "stored", height=24))
    assert found.data["mask_orientation"] == choice
    assert "nan" not in found.output
    assert not [warning for warning in recwarn if issubclass(warning.category, RuntimeWarning)]


def test_init_of_masks_turned_by_themselves_needs_no_choice(see: See) -> None:
    found = see(*write(lambda place: place % 8 + 1, lambda _: True, mask_orientation=lambda place: place % 8 + 1))
    assert found.data["mask_orientation"] is None
    assert found.indices(DISCS) == {0: {0}, 1: {1}}
    assert not any("EXIF" in notice for notice in found.notices)


def test_init_of_upright_masks_with_a_copied_orientation_names_them(see: See) -> None:
    masks, images = write(
        lambda place: (1, 3)[place % 2], lambda _: False, mask_orientation=lambda place: (1, 3)[place % 2]
    )
    found = see(masks, images)
    [notice] = [notice for notice in found.notices if "without EXIF" in notice]
    assert "Masks that have an EXIF orientation of their own" in notice
    assert "(8), those of" in notice
    assert "images/a01.png" in notice
    assert not any("better" in notice for notice in found.notices)


def test_init_of_masks_that_cover_either_pixels_names_the_fewer_and_is_refused(see: See) -> None:
    with pytest.raises(RefusedError, match="16 masks that may cover their turned images upright or as they are stored"):
        see(*write(lambda _: 3, lambda place: place in (2, 5, 11)))


def test_init_of_a_single_mask_that_covers_other_pixels_names_it(see: See) -> None:
    found = see(*write(lambda _: 3, lambda place: place == 5))
    assert found.data["mask_orientation"] == "upright"
    assert any(
        "Masks that match their images the other way than most do (1), those of images/a05.png" in n
        for n in found.notices
    )
