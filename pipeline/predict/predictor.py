"""Segment image files and volumes with a trained run, in batches or in tiles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.imaging.decode import is_tiff
from pipeline.imaging.errors import ImageError
from pipeline.imaging.resize import NativeSize
from pipeline.imaging.tiff_image import TiffImage
from pipeline.inference.preprocessing import NetworkInput, Probs
from pipeline.inference.tiles import Tiles
from pipeline.inference.trained_run import TrainedRun
from pipeline.params.data.file_pattern import find_ending
from pipeline.params.data.image_data import Scenes, Slices
from pipeline.predict.find_images import SourceImage
from pipeline.predict.formats.mask_format import PredictedVolume
from pipeline.predict.objects import Image
from pipeline.predict.outputs import ClassShares
from pipeline.predict.result_list import ResultList
from pipeline.predict.result_writer import InputImage, ResultWriter
from pipeline.predict.tiff_mask import Calibration
from pipeline.predict.uncertainty import ImageUncertainty, UncertaintyMeter
from pipeline.runtime.progress import PredictionProgress
from pipeline.scenes.scene_image import SceneImage
from pipeline.volumes.open_volume import CERTAIN_ENDINGS, open_volume
from pipeline.volumes.slice_file import create_window, needs_window, read_slice
from pipeline.wording import pluralize

MAX_IMAGES = 32  # per batch
MAX_BYTES = 150_000_000  # bytes of pixels per batch; the last image of a batch may exceed it


class Predictor:
    """Predictor that segments images one after another, or in batches if the network sees whole images.

    Args:
        run: The run.
        writer: Writer of the results.
        results: List of the results, to which those of slices are added.
        progress: Progress of the command.
        is_ranked: Whether the uncertainty of the images is measured.

    Attributes:
        rows: One row of the table per segmented image.
        uncertainties: One per segmented image; empty if it is not measured.
    """

    def __init__(
        self,
        run: TrainedRun,
        writer: ResultWriter,
        results: ResultList,
        progress: PredictionProgress,
        *,
        is_ranked: bool,
    ) -> None:
        self._run, self._writer, self._results, self._progress = run, writer, results, progress
        self._meter = UncertaintyMeter(run) if is_ranked else None
        self._batch: list[tuple[InputImage, NDArray[Any]]] = []  # images and their pixels
        self.rows: list[ClassShares] = []
        self.uncertainties: list[ImageUncertainty] = []

    def add_image(self, source: SourceImage, scenes: Scenes | None = None) -> None:
        """Segment an image file; with `scenes`, a TIFF is read as a scene.

        Raises:
            ImageError: The file, or part of it, cannot be read or decoded, or it is too large for a format.
        """
        if source.path.is_dir() or find_ending(source.path.name, CERTAIN_ENDINGS):
            raise ImageError(
                "is a volume, but data.slices is null, because the run was trained on single images; see "
                "docs/how-to/volumes.md"
            )
        with _convert_os_errors():
            pixels = self._open(source, scenes)
        try:
            self._writer.check_size(pixels.shape)
            self._add(InputImage(source, pixels))
        finally:
            if isinstance(pixels, TiffImage):
                pixels.close()

    def add_volume(self, source: SourceImage, slices: Slices) -> None:
        """Segment all slices of a volume, and write one mask of the volume.

        Raises:
            ImageError: The volume, or one of its slices, cannot be read or decoded. No mask is then written.
            PipelineError: A result of a slice would replace a file that no earlier prediction wrote.
        """
        with _convert_os_errors():
            volume, window = open_volume(source.path, slices.axis), create_window(slices)
        if not volume.has_own_grid:
            raise ImageError("is a mask, not an image")
        if window is None and needs_window(volume):
            raise ImageError(
                f"has {volume.dtype} intensities, but data.slices.window is null, because the run was trained on uint8 "
                f"or uint16 volumes; convert it"
            )
        num_slices = volume.num_slices
        images = [source.select_slice(slices.axis, index, num_slices) for index in range(num_slices)]
        self._results.add(path for image in images for path in self._writer.list_files(image))
        self.finish_batch()
        num_rows, num_tables = len(self.rows), len(self._writer.tables)
        with PredictedVolume(source, volume) as predicted:
            try:
                for index, image in enumerate(images):
                    with _convert_os_errors():
                        content = read_slice(volume, index, window)
                    pixels = self._run.preprocessing.read_image(content)
                    self._add(InputImage(image, pixels, predicted))
                self.finish_batch()
            except ImageError as error:
                self._batch.clear()
                for results in (self.rows, self.uncertainties):
                    del results[num_rows:]
                del self._writer.tables[num_tables:]
                raise ImageError(f"cannot be segmented, because slice {index} {error}") from None
            self._writer.write_volume(predicted)

    def finish_batch(self) -> None:
        """Segment the images of the current batch."""
        inputs = [self._run.preprocessing.create_input(pixels) for _, pixels in self._batch]
        if not inputs:
            return
        predicted = self._run.predict_batch(inputs) if self._meter is None else self._run.predict_member_batch(inputs)
        for (image, _), probs in zip(self._batch, predicted, strict=True):
            self._write(image, [probs])
        self._batch.clear()

    def _open(self, source: SourceImage, scenes: Scenes | None) -> Image:
        preprocessing = self._run.preprocessing
        if scenes is None or not is_tiff(source.path):
            return preprocessing.open_image(source.path)
        scene = SceneImage(source.path, scenes)
        if scene.shape[2] != preprocessing.channels:
            raise ImageError(
                f"has {pluralize(scene.shape[2], 'band')}, but the run was trained on {preprocessing.channels}"
            )
        if scene.is_located and not Calibration.read(source.path).georeference:
            raise ImageError("has a georeference that cannot be copied to its mask; save it with tiles of 512 px")
        return scene

    def _add(self, image: InputImage) -> None:
        if self._run.tiles is not None:
            self._write(image, self._predict_tiles(self._run.tiles, image.pixels))
            return
        assert isinstance(image.pixels, np.ndarray)
        self._batch.append((image, image.pixels))
        if len(self._batch) == MAX_IMAGES or sum(pixels.nbytes for _, pixels in self._batch) > MAX_BYTES:
            self.finish_batch()

    def _write(self, image: InputImage, strips: Iterable[Probs]) -> None:
        if self._meter is not None:
            strips = self._meter.measure(strips, image.pixels)
        self.rows.append(self._writer.write(image, strips))
        if self._meter is not None:
            self.uncertainties.append(self._meter.read(self.rows[-1].file))

    def _predict_tiles(self, tiles: Tiles, image: Image) -> Iterator[Probs]:
        """Predict an image of any size in tiles and show the progress.

        The strips are those of `TrainedRun.predict_strips`, or of `predict_member_strips`.
        """
        run, preprocessing, resizing = self._run, self._run.preprocessing, self._run.preprocessing.resizing
        assert isinstance(resizing, NativeSize)
        network_input = (
            preprocessing.create_input(image)
            if isinstance(image, np.ndarray)
            else NetworkInput(image, preprocessing, resizing)
        )
        tiling = tiles.cover(network_input.shape)
        predict = run.predict_strips if self._meter is None else run.predict_member_strips
        return self._progress.track_tiles(predict(network_input, tiles), len(tiling.columns.starts), len(tiling))


@contextmanager
def _convert_os_errors() -> Iterator[None]:
    """Convert the errors of reading an image to `ImageError`, so that they differ from those of writing its results."""
    try:
        yield
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror})") from None
