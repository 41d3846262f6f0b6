"""Segment images with a trained run in batches; unreadable images are reported and skipped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from rich.console import Console

from pipeline.errors import PipelineError
from pipeline.imaging.decode import ENDINGS
from pipeline.imaging.errors import ImageError
from pipeline.imaging.to_rgb import to_rgb
from pipeline.inference.preprocessing import measure_class_shares
from pipeline.inference.trained_run import TrainedRun
from pipeline.predict.outputs import (
    ClassShares,
    compute_opacity,
    write_foreground,
    write_mask,
    write_overlay,
    write_table,
)
from pipeline.runtime.progress import track

TABLE = "shares.csv"  # beside the folders of masks, overlays and foregrounds
MAX_IMAGES = 32  # in memory at once
MAX_BYTES = 150_000_000  # of their pixels together


@dataclass(frozen=True)
class OutputFiles:
    """The files to write for each image."""

    folder: Path
    has_overlay: bool  # the image with its classes tinted
    has_foreground: bool  # the foreground, with the rest transparent

    def paths(self, name: str) -> tuple[Path, Path, Path]:
        """Return the paths of an image's mask, overlay and foreground."""
        return (
            self.folder / "masks" / f"{name}.png",
            self.folder / "overlays" / f"{name}.jpg",
            self.folder / "foreground" / f"{name}.png",
        )


def predict_images(
    run: TrainedRun, paths: Sequence[Path], files: OutputFiles, console: Console
) -> tuple[list[ClassShares], int]:
    """Write the masks of images and folders of images, and a table of the share of each class in each image.

    Existing files are overwritten. The console shows progress, and the images that are skipped.

    Returns:
        The rows of the table, and the number of skipped images.

    Raises:
        PipelineError: There is no image, or a result would overwrite an image.
    """
    names = _find_images(paths, files.folder)
    existing = {source.resolve() for source in names}
    for source, name in names.items():
        for target in files.paths(name):
            if target.resolve() in existing:
                raise PipelineError(f"The results for {source} would overwrite the image {target}. Change --out.")
    rows: list[ClassShares] = []
    num_skipped = 0
    batch: dict[Path, NDArray[Any]] = {}

    def finish_batch() -> None:
        if batch:
            rows.extend(_segment(run, batch, names, files))
            batch.clear()

    for source in track(names, "Images", len(names), console):
        try:
            image = run.preprocessing.read_image(source.read_bytes())
        except (ImageError, OSError) as error:
            num_skipped += 1
            reason = f"cannot be read ({error.strerror})" if isinstance(error, OSError) else error
            console.print(f"{source} {reason}; skipped.", markup=False, highlight=False, soft_wrap=True)
            continue
        batch[source] = image
        if len(batch) == MAX_IMAGES or sum(image.nbytes for image in batch.values()) > MAX_BYTES:
            finish_batch()
    finish_batch()
    write_table(files.folder / TABLE, rows, run.data.classes)
    return rows, num_skipped


def _segment(
    run: TrainedRun, batch: Mapping[Path, NDArray[Any]], names: Mapping[Path, str], files: OutputFiles
) -> Iterator[ClassShares]:
    classes, preprocessing = run.data.classes, run.preprocessing
    predicted = run.predict_probs([preprocessing.create_input(image) for image in batch.values()])
    for (source, image), probs in zip(batch.items(), predicted, strict=True):
        mask, overlay, foreground = files.paths(names[source])
        labels = preprocessing.classify_pixels(probs, image.shape)
        write_mask(mask, labels, run.encoding, classes)
        if files.has_overlay:
            write_overlay(overlay, to_rgb(image), labels, classes)
        if files.has_foreground:
            opacity = compute_opacity(probs, preprocessing, image.shape, classes)
            write_foreground(foreground, to_rgb(image), opacity)
        name = str(source).encode("utf-8", "backslashreplace").decode()  # file names may not be valid UTF-8
        height, width = labels.shape
        yield ClassShares(name, height, width, tuple(measure_class_shares(labels, len(classes)).tolist()))


def _find_images(paths: Sequence[Path], out: Path) -> dict[Path, str]:
    """Find images: the files among some paths, and all images in and below the folders; those in `out` are results.

    Returns:
        The name of the results by image: a path without suffix, relative to their folders. Images whose results would
        have the same name keep their suffix in it.

    Raises:
        PipelineError: There is no image, or two results would have the same name.
    """
    relative: dict[Path, Path] = {}
    for path in paths:
        for file in _find_in_folder(path, out) if path.is_dir() else [path]:
            relative.setdefault(file, file.relative_to(path) if path.is_dir() else Path(file.name))
    if not relative:
        raise PipelineError(
            f"{', '.join(map(str, paths))}: no image found; expected files with {', '.join(ENDINGS)}, also in "
            "subfolders."
        )
    times = Counter(name.with_suffix("") for name in relative.values())
    names = {file: name if times[name.with_suffix("")] > 1 else name.with_suffix("") for file, name in relative.items()}
    if duplicates := [name for name, count in Counter(names.values()).items() if count > 1]:
        raise PipelineError(f"Several images have the name {duplicates[0]}. Predict one folder at a time, with --out.")
    return {file: name.as_posix() for file, name in names.items()}


def _find_in_folder(folder: Path, out: Path) -> list[Path]:
    results = out.resolve()
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in ENDINGS
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and results not in path.resolve().parents
    )
