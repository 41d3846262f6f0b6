"""Thumbnails of the tiles of scenes, which are shown like images."""

from __future__ import annotations

from pathlib import Path

from pipeline.data_check.file_thumbnails import FileThumbnails
from tests.aerial import draw_scene, write_geotiff, write_scenes
from tests.optional import import_or_skip

import_or_skip("rasterio")


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
