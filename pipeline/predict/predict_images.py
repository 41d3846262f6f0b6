"""Segment images with a trained run; unreadable images are reported and skipped."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from pipeline.errors import PipelineError
from pipeline.imaging.decode import ENDINGS
from pipeline.imaging.errors import ImageError
from pipeline.imaging.pixel_size import PixelSize
from pipeline.imaging.resize import NativeSize
from pipeline.imaging.tiff_image import TiffImage
from pipeline.imaging.tiff_resolution import read_pixel_size
from pipeline.inference.objects import ObjectSettings
from pipeline.inference.preprocessing import NetworkInput, Probs
from pipeline.inference.tiles import Tiles
from pipeline.inference.trained_run import TrainedRun
from pipeline.params.data.file_pattern import find_ending
from pipeline.params.data.image_data import Slices
from pipeline.params.data.original_pixel import describe_contradictions
from pipeline.predict.objects import write_object_table
from pipeline.predict.outputs import ClassShares, write_table
from pipeline.predict.result_writer import InputImage, OutputFiles, ResultWriter
from pipeline.predict.uncertainty import ImageUncertainty, UncertaintyMeter, rank_by_uncertainty, write_ranking
from pipeline.predict.volume_mask import VolumeMask
from pipeline.runtime.progress import PredictionProgress
from pipeline.volumes.nifti import NIFTI_ENDINGS
from pipeline.volumes.open_volume import VOLUME_ENDINGS, is_nifti, open_volume
from pipeline.volumes.slice_file import SliceReference, create_window, format_slice_name, needs_window, read_slice

TABLE, OBJECT_TABLE, RANKING = "shares.csv", "objects.csv", "uncertainty.csv"  # in the output folder
MAX_IMAGES = 32  # per batch
MAX_BYTES = 150_000_000  # bytes of pixels per batch; the last image of a batch may exceed it


@dataclass(frozen=True)
class PredictedImages:
    """Results of `predict_images`."""

    rows: list[ClassShares]  # one per segmented image, or slice of a volume
    num_masks: int  # number of files with masks
    num_skipped: int  # number of files that could not be segmented
    num_objects: list[int] | None  # per row; None if no objects were written
    ranked: list[ImageUncertainty] | None  # the most uncertain image first; None if images were not ranked


def predict_images(
    run: TrainedRun,
    paths: Sequence[Path],
    files: OutputFiles,
    console: Console,
    objects: ObjectSettings | None = None,
    pixel: PixelSize | None = None,
    *,
    is_ranked: bool = False,
    slices: Slices | None = None,
) -> PredictedImages:
    """Segment images and write their masks, and a table with each class's share of each image.

    Existing results are overwritten.

    Args:
        run: The run that segments the images.
        paths: Images and folders of images.
        files: Output folder and kinds of files.
        console: Console for the progress and the skipped images.
        objects: Classes whose objects are also written, as label images and a table; None for no objects.
        pixel: Size of a pixel of the images, for the areas of objects; None if it is unknown. Images that state another
            size are reported.
        is_ranked: Whether the images are also ranked by uncertainty, in another table.
        slices: How volumes are cut into slices, all of which are segmented; None if files are single images.

    Raises:
        PipelineError: There is no image, or a result would overwrite an image.
    """
    names = _find_images(paths, files.folder, ENDINGS if slices is None else (*ENDINGS, *NIFTI_ENDINGS))
    existing = {source.resolve() for source in names}
    for source, name in names.items():
        for target in files.paths(source, name):
            if target.resolve() in existing:
                raise PipelineError(f"The results for {source} would overwrite the image {target}. Change --out.")
    writer = ResultWriter(run, files, objects)
    num_skipped = 0
    with PredictionProgress(console) as progress:
        predictor = _Predictor(run, writer, progress, is_ranked=is_ranked)
        for source in progress.track_images(names):
            try:
                if slices is not None and find_ending(source.name, VOLUME_ENDINGS):
                    predictor.add_volume(source, names[source], slices, files)
                else:
                    predictor.add_image(source, names[source])
            except ImageError as error:
                reason: object = error
            except OSError as error:
                reason = f"cannot be read ({error.strerror})"
            else:
                continue
            num_skipped += 1
            console.print(f"{source} {reason}; skipped.", markup=False, highlight=False, soft_wrap=True)
        predictor.finish_batch()
    rows = predictor.rows
    write_table(files.folder / TABLE, rows, run.data.classes)
    if objects is not None:
        write_object_table(files.folder / OBJECT_TABLE, writer.tables, pixel)
        for sentence in describe_contradictions(pixel, _read_pixel_sizes(names, slices)) if pixel else ():
            console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    ranked = rank_by_uncertainty(predictor.uncertainties) if is_ranked else None
    if ranked is not None:
        write_ranking(files.folder / RANKING, ranked)
    counts = None if objects is None else [len(table) for table in writer.tables]
    return PredictedImages(rows, len(names) - num_skipped, num_skipped, counts, ranked)


class _Predictor:
    """Segments images one after another, or in batches if the network sees whole images.

    Args:
        run: The run.
        writer: Writer of the results.
        progress: Progress of the command.
        is_ranked: Whether the uncertainty of the images is measured.

    Attributes:
        rows: One row of the table per segmented image.
        uncertainties: One per segmented image; empty if it is not measured.
    """

    def __init__(self, run: TrainedRun, writer: ResultWriter, progress: PredictionProgress, *, is_ranked: bool) -> None:
        self._run, self._writer, self._progress = run, writer, progress
        self._meter = UncertaintyMeter(run) if is_ranked else None
        self._batch: list[tuple[InputImage, NDArray[Any]]] = []  # images and their pixels
        self.rows: list[ClassShares] = []
        self.uncertainties: list[ImageUncertainty] = []

    def add_image(self, source: Path, name: str) -> None:
        """Segment an image file.

        Raises:
            ImageError: The file, or part of it, cannot be decoded.
            OSError: The file cannot be read.
        """
        if is_nifti(source):
            raise ImageError(
                "is a volume, but data.slices is null, because the run was trained on single images; see "
                "docs/how-to/volumes.md"
            )
        pixels = self._run.preprocessing.open_image(source)
        try:
            self._add(InputImage(_decode_name(source), source, name, pixels))
        finally:
            if isinstance(pixels, TiffImage):
                pixels.close()

    def add_volume(self, source: Path, name: str, slices: Slices, files: OutputFiles) -> None:
        """Segment all slices of a volume, and write one mask of the volume.

        Raises:
            ImageError: The volume, or one of its slices, cannot be decoded. No mask is then written.
            OSError: The file cannot be read.
        """
        volume, window = open_volume(source, slices.axis), create_window(slices)
        if window is None and needs_window(volume):
            raise ImageError(
                f"has {volume.dtype} intensities, but data.slices.window is null, because the run was trained on uint8 "
                f"or uint16 volumes; convert it"
            )
        self.finish_batch()
        num_rows, num_tables = len(self.rows), len(self._writer.tables)
        with VolumeMask(volume, self._writer.palette) as mask:
            try:
                for index in range(volume.num_slices):
                    pixels = self._run.preprocessing.read_image(read_slice(volume, index, window))
                    reference = SliceReference(_decode_name(source), slices.axis, index)
                    result = format_slice_name(name, index, volume.num_slices)
                    self._add(InputImage(str(reference), source, result, pixels, mask))
                self.finish_batch()
            except ImageError as error:
                self._batch.clear()
                for results in (self.rows, self.uncertainties):
                    del results[num_rows:]
                del self._writer.tables[num_tables:]
                raise ImageError(f"cannot be segmented, because slice {index} {error}") from None
            mask.write(files.paths(source, name)[0])

    def finish_batch(self) -> None:
        """Segment the images of the current batch."""
        inputs = [self._run.preprocessing.create_input(pixels) for _, pixels in self._batch]
        if not inputs:
            return
        predicted = self._run.predict_batch(inputs) if self._meter is None else self._run.predict_member_batch(inputs)
        for (image, _), probs in zip(self._batch, predicted, strict=True):
            self._write(image, [probs])
        self._batch.clear()

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
            strips = self._meter.measure(strips, image.pixels.shape)
        self.rows.append(self._writer.write(image, strips))
        if self._meter is not None:
            self.uncertainties.append(self._meter.read(self.rows[-1].file))

    def _predict_tiles(self, tiles: Tiles, image: NDArray[Any] | TiffImage) -> Iterator[Probs]:
        """Predict an image of any size in tiles and show the progress.

        The strips are those of `TrainedRun.predict_strips`, or of `predict_member_strips`.
        """
        run, preprocessing, resizing = self._run, self._run.preprocessing, self._run.preprocessing.resizing
        assert isinstance(resizing, NativeSize)
        network_input = (
            NetworkInput(image, preprocessing, resizing)
            if isinstance(image, TiffImage)
            else preprocessing.create_input(image)
        )
        tiling = tiles.cover(network_input.shape)
        predict = run.predict_strips if self._meter is None else run.predict_member_strips
        return self._progress.track_tiles(predict(network_input, tiles), len(tiling.columns.starts), len(tiling))


def _decode_name(path: Path) -> str:
    """Return a path as text for tables, because file names may not be valid UTF-8."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def _read_pixel_sizes(paths: Iterable[Path], slices: Slices | None) -> dict[str, PixelSize]:
    """Read the pixel sizes that images state, by path."""
    sizes = {}
    for path in paths:
        with contextlib.suppress(OSError, ImageError):  # an unreadable image is reported elsewhere
            if slices is not None and find_ending(path.name, VOLUME_ENDINGS):
                stated = open_volume(path, slices.axis).pixel
            else:
                with path.open("rb") as file:
                    stated = read_pixel_size(file)
            if stated is not None and not stated.is_for_print:
                sizes[str(path)] = stated.size
    return sizes


def _find_images(paths: Sequence[Path], out: Path, endings: tuple[str, ...]) -> dict[Path, str]:
    """Find images: all files in `paths`, and all images in its folders and their subfolders, except results in `out`.

    Returns:
        The name of the results of each image: its path relative to the given folder, without suffix. Images that would
        have the same name keep their suffix.

    Raises:
        PipelineError: There is no image, or two results would have the same name.
    """
    relative: dict[Path, Path] = {}
    for path in paths:
        for file in _find_in_folder(path, out, endings) if path.is_dir() else [path]:
            relative.setdefault(file, file.relative_to(path) if path.is_dir() else Path(file.name))
    if not relative:
        raise PipelineError(
            f"{', '.join(map(str, paths))}: no image found; expected files with {', '.join(endings)}, also in "
            "subfolders."
        )
    stems = {file: _strip_ending(name) for file, name in relative.items()}
    times = Counter(stems.values())
    names = {file: name if times[stems[file]] > 1 else stems[file] for file, name in relative.items()}
    if duplicates := [name for name, count in Counter(names.values()).items() if count > 1]:
        raise PipelineError(
            f"Several images have the name {duplicates[0]}. Predict one folder at a time, each with its own --out."
        )
    return {file: name.as_posix() for file, name in names.items()}


def _strip_ending(name: Path) -> Path:
    """Remove the suffix of a name, or .nii.gz."""
    ending = find_ending(name.name, NIFTI_ENDINGS)
    return name.with_name(name.name[: -len(ending)]) if ending else name.with_suffix("")


def _find_in_folder(folder: Path, out: Path, endings: tuple[str, ...]) -> list[Path]:
    results = out.resolve()
    return sorted(
        path
        for path in folder.rglob("*")
        if find_ending(path.name, endings)
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and results not in path.resolve().parents
    )
