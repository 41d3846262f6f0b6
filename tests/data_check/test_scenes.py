"""The page of `pipeline data check --html` on scenes: tiles are shown like images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ruamel.yaml import YAML

from pipeline.data_check.file_thumbnails import FileThumbnails
from tests.aerial import DATA, draw_scene, write_geotiff, write_scenes
from tests.data_check.conftest import CheckPage
from tests.optional import import_or_skip
from tests.prepare.conftest import write_folder_params

import_or_skip("rasterio")


def test_invalid_tiles_are_shown_with_their_masks(check_page: CheckPage, tmp_path: Path) -> None:
    path = write_folder_params(tmp_path, {"images": ..., "masks": ..., **DATA})
    params = YAML(typ="safe").load(path)
    params["train"]["patch_size"] = 32
    YAML(typ="safe").dump(params, path)
    scenes = write_scenes(tmp_path / "scenes")
    mask = draw_scene(1)[1]
    mask[20:24, 36:40] = 7
    write_geotiff(scenes / "masks/area1.tif", mask[None], 1)
    page = check_page(scenes.name)
    assert page.exit_code == 1
    image, marked = page.list_alt_texts("fix")
    assert image == "Image images/area1.tif[x=32,y=16,16x16,bands=4+3]"
    assert marked == "Mask masks/area1.tif[x=32,y=16,16x16,mask=1], with undeclared values highlighted"
    assert np.ptp(page.open_image("fix", marked)) > 0


def test_tiles_and_their_masks_have_thumbnails(tmp_path: Path) -> None:
    mask = draw_scene(1)[1]
    mask[4:8, 4:8] = 7
    write_geotiff(write_scenes(tmp_path) / "masks" / "area1.tif", mask[None], 1)
    thumbnails = FileThumbnails(tmp_path, channels=2)
    image = thumbnails.render_image("images/area1.tif[x=0,y=0,16x16,bands=4+3]")
    marked = thumbnails.render_mask("masks/area1.tif[x=0,y=0,16x16,mask=1]", ["7"])
    assert image is not None
    assert marked is not None and "undeclared values highlighted" in marked.alt
    assert thumbnails.render_mask("polygons for images/area1.tif[x=0,y=0,16x16,bands=4]", []) is None
