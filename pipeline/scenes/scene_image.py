"""A whole scene as an image whose windows are read on request, for prediction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.imaging.errors import ImageError
from pipeline.imaging.windows import Window
from pipeline.scenes.geotiff import open_geotiff
from pipeline.scenes.tile_file import apply_window, requires_window
from pipeline.volumes.slice_file import create_window

if TYPE_CHECKING:  # processes that decode images do not import parameters
    from pipeline.params.data.image_data import Scenes


class SceneImage:
    """A scene (H x W x C) whose windows are read by `image[rows, columns]`, with the values that tiles have.

    Attributes:
        shape: Height, width, channels.
        dtype: uint8 or uint16.
        has_nodata: Whether pixels may be invalid.
        is_located: Whether the file has a georeference.
    """

    def __init__(self, path: Path, settings: Scenes) -> None:
        """Open a file and read its headers.

        Raises:
            ImageError: The file is not a GeoTIFF, does not have the bands, or requires a window.
            OSError: The file cannot be read.
            PipelineError: rasterio is missing.
        """
        self._scene, self._window = open_geotiff(path), create_window(settings)
        self._bands = self._scene.find_bands(settings.bands)
        if self._window is None and requires_window(self._scene):
            raise ImageError(
                f"has {self._scene.dtype} values, but data.scenes.window is null, because the run was trained on uint8 "
                f"or uint16 scenes; convert it"
            )
        self.shape = (self._scene.height, self._scene.width, len(self._bands))
        self.dtype = np.dtype(self._scene.dtype if self._window is None else f"u{self._window.bits // 8}")
        self.has_nodata, self.is_located = self._scene.has_nodata, self._scene.is_located

    def __getitem__(self, window: Window) -> NDArray[Any]:
        """Read a window. Invalid pixels are 0. Raise `ImageError` if its part of the file is missing or broken."""
        return apply_window(self._scene.read(*window, self._bands), self._window).values

    def read_validity(self, top: int, bottom: int) -> NDArray[np.bool_]:
        """Read which pixels of some rows are valid (rows x W)."""
        return self._scene.read(slice(top, bottom), slice(0, self.shape[1]), self._bands).is_valid
