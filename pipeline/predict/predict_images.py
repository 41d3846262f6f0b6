"""Segment images with a trained run; unreadable images are reported and skipped."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from pipeline.atomic_io import require_writable
from pipeline.errors import PipelineError
from pipeline.imaging.decode import is_tiff
from pipeline.imaging.errors import ImageError
from pipeline.imaging.pixel_size import PixelSize
from pipeline.imaging.tiff_resolution import read_pixel_size
from pipeline.inference.objects import ObjectSettings
from pipeline.inference.trained_run import TrainedRun
from pipeline.params.data.image_data import Scenes, Slices
from pipeline.params.data.original_pixel import describe_contradictions
from pipeline.predict.find_images import SourceImage, find_images
from pipeline.predict.formats.mask_format import MaskWriter, check_volume
from pipeline.predict.objects import write_object_table
from pipeline.predict.outputs import ClassShares, write_table
from pipeline.predict.predictor import Predictor
from pipeline.predict.result_list import ResultList
from pipeline.predict.result_writer import OutputFiles, ResultWriter
from pipeline.predict.uncertainty import ImageUncertainty, rank_by_uncertainty, write_ranking
from pipeline.runtime.progress import PredictionProgress
from pipeline.scenes.geotiff import open_geotiff
from pipeline.volumes.open_volume import open_volume

TABLE, OBJECT_TABLE, RANKING = "shares.csv", "objects.csv", "uncertainty.csv"  # in the output folder


@dataclass(frozen=True)
class PredictedImages:
    """Results of `predict_images`."""

    rows: list[ClassShares]  # one per segmented image, or slice of a volume
    num_masks: int  # number of files that were segmented
    num_skipped: int  # number of files that could not be segmented
    num_links: int  # number of links to folders, which were not followed
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
    slices: Slices | None = None,
    scenes: Scenes | None = None,
) -> PredictedImages:
    """Segment images and write their masks, and a table with each class's share of each image.

    Results of earlier predictions are overwritten unless they were changed, but no other files.

    Args:
        run: The run that segments the images.
        paths: Images and folders of images.
        files: Output folder and kinds of files.
        writers: Writers of the masks, by the names of their formats.
        console: Console for the progress, the skipped images and other paths that are left out.
        objects: Classes whose objects are also written, as label images and a table; None for no objects.
        pixel: Size of a pixel of the images, for the areas of objects; None if it is unknown. If results depend on it,
            images that state another size are reported.
        is_ranked: Whether the images are also ranked by uncertainty, in another table.
        slices: How volumes are cut into slices; None if files are single images. All slices are segmented.
        scenes: How GeoTIFFs are read; None if they are read like other TIFFs.

    Raises:
        PipelineError: There is no image, a result would overwrite another file, the output folder is not writable,
            or a format does not take a volume.
    """
    images, left_out = find_images(paths, files.folder, has_volumes=slices is not None)
    for source in images:
        if source.is_volume:
            check_volume(writers, source)
    writer = ResultWriter(run, files, writers, objects)
    existing = {source.path.resolve() for source in images}
    targets = {target: source for source in images for target in writer.list_files(source)}
    for target, source in targets.items():
        if target.resolve() in existing:
            raise PipelineError(f"The results for {source} would overwrite the image {target}. Change --out.")
    require_writable(files.folder, "--out")
    tables = {TABLE: True, OBJECT_TABLE: objects is not None, RANKING: is_ranked}
    results = ResultList(files.folder)
    results.add([*targets, *(files.folder / name for name, is_written in tables.items() if is_written)])
    try:
        for sentence in left_out.describe():
            console.print(sentence, markup=False, highlight=False, soft_wrap=True)
        num_skipped = len(left_out.broken)
        with PredictionProgress(console) as progress:
            predictor = Predictor(run, writer, results, progress, is_ranked=is_ranked)
            for source in progress.track_images(images):
                try:
                    if source.is_volume and slices is not None:
                        predictor.add_volume(source, slices)
                    else:
                        predictor.add_image(source, scenes)
                except ImageError as error:
                    num_skipped += 1
                    console.print(f"{source} {error}; skipped.", markup=False, highlight=False, soft_wrap=True)
            predictor.finish_batch()
        for one in writers.values():
            one.finish()
        rows = predictor.rows
        write_table(files.folder / TABLE, rows, run.data.classes)
        if objects is not None:
            write_object_table(files.folder / OBJECT_TABLE, writer.tables, pixel)
        if pixel is not None and (objects is not None or any(one.writes_pixel_size for one in writers.values())):
            for sentence in describe_contradictions(pixel, _read_pixel_sizes(images, slices, scenes)):
                console.print(sentence, markup=False, highlight=False, soft_wrap=True)
        ranked = rank_by_uncertainty(predictor.uncertainties) if is_ranked else None
        if ranked is not None:
            write_ranking(files.folder / RANKING, ranked)
        counts = None if objects is None else [len(table) for table in writer.tables]
        num_masks = len(images) + len(left_out.broken) - num_skipped
        return PredictedImages(rows, num_masks, num_skipped, len(left_out.links), counts, ranked)
    finally:  # also after an error or an interruption
        results.finish()


def _read_pixel_sizes(
    images: Iterable[SourceImage], slices: Slices | None, scenes: Scenes | None
) -> dict[str, PixelSize]:
    """Read the pixel sizes that images state, by path."""
    sizes = {}
    for source in images:
        with contextlib.suppress(OSError, ImageError):  # an unreadable image is reported elsewhere
            if source.is_volume and slices is not None:
                stated = open_volume(source.path, slices.axis).pixel
            elif scenes is not None and is_tiff(source.path):
                stated = open_geotiff(source.path).pixel
            else:
                with source.path.open("rb") as file:
                    stated = read_pixel_size(file)
            if stated is not None and not stated.is_for_print:
                sizes[str(source.path)] = stated.size
    return sizes
