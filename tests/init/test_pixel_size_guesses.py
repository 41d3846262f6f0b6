"""`pipeline init` proposes the pixel size that all images state, and explains why it proposes none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tifffile

from tests.init.conftest import InitResult, draw_disc, make_image

MICROMETERS: dict[str, Any] = {"imagej": True, "resolution": (2.0, 2.0), "metadata": {"unit": "micron"}}
LARGER: dict[str, Any] = {**MICROMETERS, "resolution": (1.0, 1.0)}
UNEVEN: dict[str, Any] = {**MICROMETERS, "resolution": (2.0, 4.0)}
PRINTED: dict[str, Any] = {"resolution": (300.0, 300.0), "resolutionunit": "INCH"}
COUNT = 20


@pytest.fixture
def init_with(run_init: Callable[..., InitResult]) -> Callable[..., InitResult]:
    """Return a function that runs `init` on TIFFs that are written with these options in turn."""

    def run(*options: dict[str, Any]) -> InitResult:
        def make_writer(index: int) -> Callable[[Path], None]:
            chosen = options[index % len(options)]
            return lambda path: tifffile.imwrite(f"{path}.tif", make_image(index), photometric="rgb", **chosen)

        names = [f"cell{index:02}" for index in range(COUNT)]
        masks = {name: draw_disc(index) for index, name in enumerate(names)}
        return run_init(masks, {name: make_writer(index) for index, name in enumerate(names)})

    return run


def get_notices(result: InitResult) -> list[str]:
    return [notice for notice in result.notices if "pixel_size" in notice]


def test_init_proposes_the_pixel_size_of_all_images(init_with: Callable[..., InitResult]) -> None:
    result = init_with(MICROMETERS)
    assert (result.data["pixel_size"], result.data["pixel_unit"]) == (0.5, "µm")
    proposed, tolerance = get_notices(result)
    assert proposed.startswith("data.pixel_size is 0.5 µm in the ImageJ metadata of all images that were opened.")
    assert "it is 2 µm, or 4 px of the original images" in tolerance


def test_init_proposes_height_and_width_of_pixels_that_are_not_square(init_with: Callable[..., InitResult]) -> None:
    result = init_with(UNEVEN)
    assert (result.data["pixel_size"], result.data["pixel_unit"]) == ([0.25, 0.5], "µm")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((MICROMETERS, LARGER), "the same pixel size: 0.5 µm in 10 images, 1 µm in 10 images."),
        ((MICROMETERS, {}), "the same pixel size: 0.5 µm in 10 images, no size in 10 images."),
        ((PRINTED,), "The images state 300 dpi, which is usually a resolution for printing"),
    ],
)
def test_init_explains_why_it_proposes_none(
    init_with: Callable[..., InitResult], options: tuple[dict[str, Any], ...], message: str
) -> None:
    result = init_with(*options)
    assert (result.data["pixel_size"], result.data["pixel_unit"]) == (None, None)
    (notice,) = get_notices(result)
    assert message in notice


def test_init_of_images_without_a_pixel_size_says_nothing(init_with: Callable[..., InitResult]) -> None:
    result = init_with({})
    assert (result.data["pixel_size"], result.data["pixel_unit"]) == (None, None)
    assert get_notices(result) == []
