"""Segment images with a trained run; unreadable images are reported and skipped."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from pipeline.errors import PipelineError
from pipeline.imaging.decode import ENDINGS
from pipeline.imaging.errors import ImageError
from pipeline.imaging.pixel_size import PixelSize
from pipeline.imaging.tiff_resolution import read_pixel_size
from pipeline.inference.objects import ObjectSettings
from pipeline.inference.trained_run import TrainedRun
from pipeline.params.data.file_pattern import find_ending
from pipeline.params.data.image_data import Slices
from pipeline.params.data.original_pixel import describe_contradictions
from pipeline.predict.objects import write_object_table
from pipeline.predict.outputs import ClassShares, write_table
from pipeline.predict.predictor import Predictor
from pipeline.predict.result_writer import OutputFiles, ResultWriter
from pipeline.predict.uncertainty import ImageUncertainty, rank_by_uncertainty, write_ranking
from pipeline.runtime.progress import PredictionProgress
from pipeline.volumes.nifti import NIFTI_ENDINGS
from pipeline.volumes.open_volume import VOLUME_ENDINGS, open_volume

TABLE, OBJECT_TABLE, RANKING = "shares.csv", "objects.csv", "uncertainty.csv"  # in the output folder


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
        slices: How volumes are cut into slices; None if files are single images. All slices are segmented.

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
        predictor = Predictor(run, writer, progress, is_ranked=is_ranked)
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
