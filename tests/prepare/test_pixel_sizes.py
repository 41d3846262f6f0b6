"""Images that state another pixel size than `data.pixel_size` are reported, also from the cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipeline.imaging.pixel_size import PixelSize
from pipeline.imaging.tiff_resolution import IMAGEJ, TIFF, StatedPixelSize
from pipeline.init.pixel_sizes import describe_stated_sizes, find_common_size
from pipeline.params.data.image_data import FolderData
from pipeline.prepare.prepare_data import prepare
from tests.nuclei import SECTION, write_nuclei, write_nuclei_params
from tests.prepare.conftest import validate_data

HALF = StatedPixelSize(PixelSize(0.5, 0.5, "µm"), IMAGEJ, is_for_print=False)
NEARLY_HALF = StatedPixelSize(PixelSize(0.501, 0.501, "µm"), IMAGEJ, is_for_print=False)
TWO = StatedPixelSize(PixelSize(2, 2, "µm"), IMAGEJ, is_for_print=False)
PRINTED = StatedPixelSize(PixelSize(84.6667, 84.6667, "µm"), TIFF, is_for_print=True)


@pytest.fixture
def find_notices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Return a function that checks nuclei in TIFFs of 0.5 µm, the first of which states another size."""
    monkeypatch.chdir(tmp_path)
    write_nuclei(Path("nuclei"))
    for path in sorted(Path("nuclei/images").iterdir()):
        tifffile.imwrite(
            path.with_suffix(".tif"),
            np.asarray(Image.open(path)),
            photometric="minisblack",
            imagej=True,
            resolution=(2.0, 2.0) if path.stem != "000" else (0.5, 0.5),
            metadata={"unit": "micron"},
        )
        path.unlink()

    def run(**changes: Any) -> list[str]:
        data = FolderData.model_validate({**SECTION, **changes})
        return [one for one in validate_data(data).data.stats.notices if "pixel size" in one]

    return run


def test_images_that_state_another_pixel_size_are_reported(find_notices: Callable[..., list[str]]) -> None:
    for _ in range(2):  # the second time from the cache
        (notice,) = find_notices(pixel_size=500, pixel_unit="nm")
        assert notice.startswith(
            "1 image states another pixel size than data.pixel_size, which is 500 nm: images/000.tif with 2 µm."
        )
    (notice,) = find_notices(pixel_size=1.0, pixel_unit="µm")
    assert notice.startswith("20 images state another pixel size than data.pixel_size, which is 1 µm: images/")
    assert find_notices(pixel_size=1.0, pixel_unit="furlong") == []  # cannot be compared
    assert find_notices() == []


def test_prepared_data_does_not_depend_on_the_pixel_size(
    find_notices: Callable[..., list[str]], tmp_path: Path
) -> None:
    """Otherwise, a change of the pixel size would make all runs stale."""

    def run(folder: str, **changes: Any) -> dict[str, bytes]:
        prepare(write_nuclei_params(tmp_path, data={**SECTION, **changes}), Path(folder))
        return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}

    changes = {"pixel_size": 1.0, "pixel_unit": "µm"}
    assert find_notices(**changes)
    assert run("with", **changes) == run("without")


@pytest.mark.parametrize(
    ("stated", "common", "num_notices"),
    [
        ([HALF, NEARLY_HALF], HALF, 0),
        ([HALF, TWO], None, 1),
        ([HALF, None], None, 1),
        ([None, HALF], None, 1),
        ([PRINTED, PRINTED], None, 1),
        ([HALF, PRINTED], None, 1),
        ([None, None], None, 0),
        ([], None, 0),
    ],
)
def test_common_size_is_that_of_all_images(
    stated: list[StatedPixelSize | None], common: StatedPixelSize | None, num_notices: int
) -> None:
    assert find_common_size(stated) == common
    if common is None:
        assert len(list(describe_stated_sizes(stated))) == num_notices
