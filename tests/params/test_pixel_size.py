"""`data.pixel_size` and `data.pixel_unit`: each mistake is one sentence about the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import PipelineError
from pipeline.imaging.pixel_size import PixelSize
from pipeline.params.data.original_pixel import find_original_pixel
from pipeline.params.file import read_params
from tests.conftest import write_params
from tests.nuclei import SECTION, write_nuclei_params


@pytest.mark.parametrize(
    ("size", "unit", "expected"),
    [
        (0.65, "µm", PixelSize(0.65, 0.65, "µm")),
        (2, "m", PixelSize(2, 2, "m")),
        ([0.5, 1], "mm", PixelSize(0.5, 1, "mm")),
        (None, None, None),
    ],
)
def test_pixel_size_is_a_number_or_height_and_width(
    tmp_path: Path, size: object, unit: object, expected: PixelSize | None
) -> None:
    data = {**SECTION, "pixel_size": size, "pixel_unit": unit}
    params = write_nuclei_params(tmp_path, data=data, surface_tolerance=1300.0)  # such as nm
    assert find_original_pixel(params.data) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pixel_size": 0, "pixel_unit": "µm"}, "data.pixel_size: must be a number above 0, or [height, width]"),
        ({"pixel_size": -0.65, "pixel_unit": "µm"}, "data.pixel_size: must be a number above 0"),
        ({"pixel_size": float("inf"), "pixel_unit": "µm"}, "data.pixel_size: must be a number above 0"),
        ({"pixel_size": "0.65", "pixel_unit": "µm"}, "data.pixel_size: must be a number above 0"),
        ({"pixel_size": True, "pixel_unit": "µm"}, "data.pixel_size: must be a number above 0"),
        ({"pixel_size": "0.65 µm", "pixel_unit": "µm"}, "data.pixel_size: must be a number above 0"),
        ({"pixel_size": [0.65], "pixel_unit": "µm"}, "or [height, width], two such numbers, but is [0.65]"),
        ({"pixel_size": [0.65, None], "pixel_unit": "µm"}, "two such numbers, but is [0.65, None]"),
        ({"pixel_size": [1, 2, 3], "pixel_unit": "µm"}, "two such numbers, but is [1, 2, 3]"),
        ({"pixel_size": 0.65}, "data.pixel_unit: is missing, but data.pixel_size is 0.65; write its unit"),
        ({"pixel_unit": "µm"}, "data.pixel_size: is missing, but data.pixel_unit is 'µm'; write the size"),
        ({"pixel_size": 1, "pixel_unit": ""}, "data.pixel_unit: must be a unit of length in up to 12 letters"),
        ({"pixel_size": 1, "pixel_unit": 3}, "data.pixel_unit: must be a unit of length in up to 12 letters"),
        ({"pixel_size": 1, "pixel_unit": "=µm"}, "data.pixel_unit: must be a unit of length in up to 12 letters"),
        ({"pixel_size": 1, "pixel_unit": "px"}, "data.pixel_unit: must be a unit of length, such as µm"),
    ],
)
def test_mistake_is_explained(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PipelineError) as caught:
        write_nuclei_params(tmp_path, data={**SECTION, **changes})
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_composites_have_no_pixel_size(tmp_path: Path) -> None:
    assert find_original_pixel(read_params(write_params(tmp_path, {})).data) is None
    with pytest.raises(PipelineError, match=r"data.pixel_size: unknown key"):
        read_params(write_params(tmp_path, {"data": {"pixel_size": 1.0}}))
