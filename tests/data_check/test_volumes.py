"""The page of `pipeline data check --html` on volumes: slices are shown like images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.data_check.conftest import CheckPage
from tests.optional import import_or_skip
from tests.prepare.conftest import write_folder_params
from tests.stacks import DATA, NIFTI_DATA, draw_volume, write_nifti, write_niftis, write_tiffs


@pytest.fixture(params=["tiff", "nifti"])
def volumes(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder of six volumes, and params.yaml for them."""
    if request.param == "nifti":
        import_or_skip("nibabel")
        write_folder_params(tmp_path, {"images": ..., "masks": ..., **NIFTI_DATA})
        return write_niftis(tmp_path / "volumes")
    write_folder_params(tmp_path, {"images": ..., "masks": ..., **DATA})
    return write_tiffs(tmp_path / "volumes")


def test_page_of_volumes_shows_slices(check_page: CheckPage, volumes: Path) -> None:
    page = check_page(volumes.name)
    assert page.exit_code == 0
    assert page.list_titles("classes") == ["tissue", "tumor"]
    shown = page.list_alt_texts("classes")
    assert shown and all(text.startswith("case") for text in shown)
    assert any(page.open_image("classes", text).std() > 10 for text in shown)


def test_invalid_slices_are_shown_with_their_masks(check_page: CheckPage, volumes: Path) -> None:
    mask = draw_volume(2)[1]
    mask[4, 3:6, 3:6] = 7
    path = next((volumes / "masks").glob("case2.*"))
    if path.suffix == ".gz":
        write_nifti(path, mask)
    else:
        tifffile.imwrite(path, mask, photometric="minisblack", imagej=True, metadata={"axes": "ZYX"})
    page = check_page(volumes.name)
    assert page.exit_code == 1
    image, marked = page.list_alt_texts("fix")
    assert image == f"Image images/{path.name}[z=4]"
    assert marked == f"Mask masks/{path.name}[z=4], with undeclared values highlighted"
    pixels = page.open_image("fix", image)
    assert 40 < np.median(pixels) < 140  # air is black, so the tissue is gray only with the window
