"""Segment images with a trained run; unreadable images are reported and skipped."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from pipeline.atomic_io import require_writable
from pipeline.errors import PipelineError
from pipeline.imaging.errors import ImageError
from pipeline.imaging.pixel_size import PixelSize
from pipeline.imaging.resize import NativeSize
from pipeline.imaging.tiff_image import TiffImage
from pipeline.imaging.tiff_resolution import read_pixel_size
from pipeline.inference.objects import ObjectSettings
from pipeline.inference.preprocessing import NetworkInput, Probs
from pipeline.inference.tiles import Tiles
from pipeline.inference.trained_run import TrainedRun
from pipeline.params.data.original_pixel import describe_contradictions
from pipeline.predict.find_images import SourceImage, find_images
from pipeline.predict.formats.mask_format import MaskWriter, check_size
from pipeline.predict.objects import write_object_table
from pipeline.predict.outputs import ClassShares, write_table
from pipeline.predict.result_writer import OutputFiles, ResultWriter
from pipeline.predict.uncertainty import ImageUncertainty, UncertaintyMeter, rank_by_uncertainty, write_ranking
from pipeline.runtime.progress import PredictionProgress

TABLE, OBJECT_TABLE, RANKING = "shares.csv", "objects.csv", "uncertainty.csv"  # in the output folder
MAX_IMAGES = 32  # per batch
MAX_BYTES = 150_000_000  # bytes of pixels per batch; the last image of a batch may exceed it


@dataclass(frozen=True)
class PredictedImages:
    """Results of `predict_images`."""

    rows: list[ClassShares]  # one per segmented image
    num_skipped: int  # number of images that could not be segmented
    num_objects: list[int] | None  # per row; None if no objects were written
    ranked: list[ImageUncertainty] | None  # the most uncertain image first; None if images were not ranked


def predict_images(
    run: TrainedRun,
    paths: Sequence[Path],
    files: OutputFiles,
    writers: Mapping[str, MaskWriter],
    console: Console,
    objects: ObjectSettings | None = None,
    pixel: PixelSize | None = None,
    *,
    is_ranked: bool = False,
) -> PredictedImages:
    """Segment images and write their masks, and a table with each class's share of each image.

    Existing results are overwritten.

    Args:
        run: The run that segments the images.
        paths: Images and folders of images.
        files: Output folder and kinds of files.
        writers: Writers of the masks, by the names of their formats.
        console: Console for the progress and the skipped images.
        objects: Classes whose objects are also written, as label images and a table; None for no objects.
        pixel: Size of a pixel of the images, for the areas of objects; None if it is unknown. If results depend on it,
            images that state another size are reported.
        is_ranked: Whether the images are also ranked by uncertainty, in another table.

    Raises:
        PipelineError: There is no image, a result would overwrite an image, or the output folder is not writable.
    """
    images = find_images(paths, files.folder)
    existing = {source.path.resolve() for source in images}
    for source in images:
        for target in (*files.paths(source), *(path for one in writers.values() for path in one.list_files(source))):
            if target.resolve() in existing:
                raise PipelineError(f"The results for {source} would overwrite the image {target}. Change --out.")
    require_writable(files.folder, "--out")
    writer = ResultWriter(run, files, writers.values(), objects)
    meter = UncertaintyMeter(run) if is_ranked else None
    rows: list[ClassShares] = []
    uncertainties: list[ImageUncertainty] = []
    num_skipped = 0
    batch: list[tuple[SourceImage, NDArray[Any]]] = []

    def write(source: SourceImage, image: NDArray[Any] | TiffImage, strips: Iterable[Probs]) -> None:
        if meter is not None:
            strips = meter.measure(strips, image.shape)
        rows.append(writer.write(source, image, strips))
        if meter is not None:
            uncertainties.append(meter.read(rows[-1].file))

    def finish_batch() -> None:
        inputs = [run.preprocessing.create_input(image) for _, image in batch]
        predicted = run.predict_batch(inputs) if meter is None else run.predict_member_batch(inputs)
        for (source, image), probs in zip(batch, predicted, strict=True):
            write(source, image, [probs])
        batch.clear()

    def skip(source: SourceImage, reason: object) -> None:
        nonlocal num_skipped
        num_skipped += 1
        console.print(f"{source} {reason}; skipped.", markup=False, highlight=False, soft_wrap=True)

    with PredictionProgress(console) as progress:
        for source in progress.track_images(images):
            try:
                image = _open_image(run, source, writers)
            except ImageError as error:
                skip(source, error)
                continue
            except OSError as error:
                skip(source, f"cannot be read ({error.strerror})")
                continue
            if run.tiles is None:
                assert isinstance(image, np.ndarray)
                batch.append((source, image))
                if len(batch) == MAX_IMAGES or sum(image.nbytes for _, image in batch) > MAX_BYTES:
                    finish_batch()
                continue
            try:
                write(source, image, _predict_tiles(run, run.tiles, image, progress, with_members=meter is not None))
            except ImageError as error:  # part of a large file cannot be decoded
                skip(source, error)
            finally:
                if isinstance(image, TiffImage):
                    image.close()
        if batch:
            finish_batch()
    for one in writers.values():
        one.finish()
    write_table(files.folder / TABLE, rows, run.data.classes)
    if objects is not None:
        write_object_table(files.folder / OBJECT_TABLE, writer.tables, pixel)
    if pixel is not None and (objects is not None or any(one.writes_pixel_size for one in writers.values())):
        for sentence in describe_contradictions(pixel, _read_pixel_sizes(source.path for source in images)):
            console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    ranked = rank_by_uncertainty(uncertainties) if is_ranked else None
    if ranked is not None:
        write_ranking(files.folder / RANKING, ranked)
    counts = None if objects is None else [len(table) for table in writer.tables]
    return PredictedImages(rows, num_skipped, counts, ranked)


def _open_image(run: TrainedRun, source: SourceImage, writers: Mapping[str, MaskWriter]) -> NDArray[Any] | TiffImage:
    """Open an image. Raise `ImageError` if it is not one, or is too large for a writer."""
    image = run.preprocessing.open_image(source.path)
    try:
        check_size(writers, image.shape)
    except ImageError:
        if isinstance(image, TiffImage):
            image.close()
        raise
    return image


def _read_pixel_sizes(paths: Iterable[Path]) -> dict[str, PixelSize]:
    """Read the pixel sizes that images state, by path."""
    sizes = {}
    for path in paths:
        with contextlib.suppress(OSError), path.open("rb") as file:  # an unreadable image is reported elsewhere
            stated = read_pixel_size(file)
            if stated is not None and not stated.is_for_print:
                sizes[str(path)] = stated.size
    return sizes


def _predict_tiles(
    run: TrainedRun, tiles: Tiles, image: NDArray[Any] | TiffImage, progress: PredictionProgress, *, with_members: bool
) -> Iterator[Probs]:
    """Predict an image of any size in tiles and show the progress.

    The strips are those of `TrainedRun.predict_strips`, or of `predict_member_strips`.
    """
    preprocessing, resizing = run.preprocessing, run.preprocessing.resizing
    assert isinstance(resizing, NativeSize)
    network_input = (
        NetworkInput(image, preprocessing, resizing)
        if isinstance(image, TiffImage)
        else preprocessing.create_input(image)
    )
    tiling = tiles.cover(network_input.shape)
    strips = (run.predict_member_strips if with_members else run.predict_strips)(network_input, tiles)
    return progress.track_tiles(strips, len(tiling.columns.starts), len(tiling))
