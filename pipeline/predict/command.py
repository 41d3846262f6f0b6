"""Segment images with a trained run in batches; unreadable images are reported and skipped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from pipeline.artifacts.project import Project
from pipeline.errors import PipelineError
from pipeline.imaging.errors import ImageError
from pipeline.imaging.to_rgb import to_rgb
from pipeline.inference.preprocessing import measure_class_shares
from pipeline.inference.trained_run import TrainedRun
from pipeline.predict.image_files import ImageFile, find_images
from pipeline.predict.outputs import (
    ClassShares,
    compute_opacity,
    write_foreground,
    write_mask,
    write_overlay,
    write_table,
)

TABLE = "shares.csv"  # beside the folders of masks, overlays and foregrounds
MAX_IMAGES = 32  # in memory at once
MAX_BYTES = 150_000_000  # of their pixels together


@dataclass(frozen=True)
class PredictSummary:
    """The segmented images, and the number of skipped ones."""

    rows: tuple[ClassShares, ...]
    num_skipped: int


@dataclass(frozen=True)
class OutputFiles:
    """The files to write for each image."""

    folder: Path
    has_overlay: bool  # the image with its classes tinted
    has_foreground: bool  # the foreground, with the rest transparent

    def mask(self, image: ImageFile) -> Path:
        """Path of an image's mask."""
        return self.folder / "masks" / f"{image.name}.png"

    def overlay(self, image: ImageFile) -> Path:
        """Path of an image's overlay."""
        return self.folder / "overlays" / f"{image.name}.jpg"

    def foreground(self, image: ImageFile) -> Path:
        """Path of an image's foreground."""
        return self.folder / "foreground" / f"{image.name}.png"


def find_best_run(project: Project) -> str:
    """Return the best run by validation; raises `PipelineError` if there is none."""
    best = project.comparison.summary.best
    if best is None:
        raise PipelineError(
            "--run best: there is no best run, because no learning rate has finished all its seeds. Name a run, such "
            "as --run unet-0.001-0"
        )
    return best.run


def predict_images(run: TrainedRun, paths: Sequence[Path], files: OutputFiles, console: Console) -> PredictSummary:
    """Write the masks of images, and a table of the share of each class in each image.

    Args:
        run: Segments the images.
        paths: Image files, and folders of them.
        files: To write; existing files are overwritten.
        console: For the progress bar, and for the images that are skipped.

    Raises:
        PipelineError: There is no image, or a result would overwrite an image.
    """
    sources = find_images(paths, files.folder)
    _check_overwriting(sources, files)
    rows: list[ClassShares] = []
    num_skipped = 0
    batch: list[tuple[ImageFile, NDArray[Any]]] = []

    def finish_batch() -> None:
        if batch:
            rows.extend(_segment(run, batch, files))
            batch.clear()

    for source in track(sources, "Images", console=console, disable=not console.is_terminal, transient=True):
        try:
            image = run.preprocessing.read_image(source.path.read_bytes())
        except (ImageError, OSError) as error:
            num_skipped += 1
            reason = f"cannot be read ({error.strerror})" if isinstance(error, OSError) else error
            console.print(f"{source.path} {reason}; skipped.", markup=False, highlight=False, soft_wrap=True)
            continue
        batch.append((source, image))
        if len(batch) == MAX_IMAGES or sum(image.nbytes for _, image in batch) > MAX_BYTES:
            finish_batch()
    finish_batch()
    write_table(files.folder / TABLE, rows, run.data.classes)
    return PredictSummary(tuple(rows), num_skipped)


def _check_overwriting(sources: Sequence[ImageFile], files: OutputFiles) -> None:
    existing = {source.path.resolve() for source in sources}
    for source in sources:
        for target in (files.mask(source), files.overlay(source), files.foreground(source)):
            if target.resolve() in existing:
                raise PipelineError(f"The results for {source.path} would overwrite the image {target}. Change --out.")


def _segment(
    run: TrainedRun, batch: Sequence[tuple[ImageFile, NDArray[Any]]], files: OutputFiles
) -> Iterator[ClassShares]:
    classes, preprocessing = run.data.classes, run.preprocessing
    predicted = run.predict_probs([preprocessing.create_input(image) for _, image in batch])
    for (source, image), probs in zip(batch, predicted, strict=True):
        labels = preprocessing.classify_pixels(probs, image.shape)
        write_mask(files.mask(source), labels, run.encoding, classes)
        if files.has_overlay:
            write_overlay(files.overlay(source), to_rgb(image), labels, classes)
        if files.has_foreground:
            opacity = compute_opacity(probs, preprocessing, image.shape, classes)
            write_foreground(files.foreground(source), to_rgb(image), opacity)
        name = str(source.path).encode("utf-8", "backslashreplace").decode()  # file names may not be valid UTF-8
        height, width = labels.shape
        yield ClassShares(name, height, width, tuple(measure_class_shares(labels, len(classes)).tolist()))
