"""Segments pictures with a trained run, batch by batch; what cannot be read is told and passed over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
from rich.console import Console
from rich.progress import track as bar

from pipeline.atomic_io import write_text
from pipeline.errors import PipelineError
from pipeline.imaging.errors import PictureError
from pipeline.imaging.to_rgb import in_colour
from pipeline.predict import results
from pipeline.predict.files import Source, find_sources
from pipeline.predict.predictor import Predictor
from pipeline.predict.table import Row, as_csv

TABLE = "shares.csv"  # beside the folders of masks, overlays and cut-outs
BATCH = 32  # pictures at once
BYTES = 150_000_000  # of them together: photographs wait in the memory for their masks


@dataclass(frozen=True)
class Predicted:
    """What came of the pictures."""

    rows: tuple[Row, ...]
    skipped: int


def predict_pictures(
    predictor: Predictor, paths: Sequence[Path], out: Path, overlay: bool, cutout: bool, console: Console
) -> Predicted:
    """Write the masks of pictures, and a table of how much of each is of which class.

    Args:
        predictor: the run that is to segment.
        paths: files, and folders of them.
        out: the folder to write into; files of the same names are overwritten.
        overlay: whether to write each picture with its classes tinted.
        cutout: whether to write what each is of, with the rest transparent.
        console: for the bar, and the pictures that are passed over.

    Raises:
        PipelineError: There is no picture, or a result would overwrite one.
    """
    sources = find_sources(paths, out)
    _check_targets(sources, out)
    rows: list[Row] = []
    skipped = 0
    waiting: list[tuple[Source, npt.NDArray[Any]]] = []

    def finish() -> None:
        if waiting:
            rows.extend(_written(predictor, waiting, out, overlay, cutout))
            waiting.clear()

    for source in bar(sources, "Pictures", console=console, disable=not console.is_terminal, transient=True):
        try:
            picture: npt.NDArray[Any] = predictor.preprocessing.read(source.path.read_bytes())
        except (PictureError, OSError) as error:
            skipped += 1
            reason = f"cannot be read ({error.strerror})" if isinstance(error, OSError) else error
            console.print(f"{source.path} {reason}; passed over.", markup=False, highlight=False, soft_wrap=True)
            continue
        waiting.append((source, picture))
        if len(waiting) == BATCH or sum(image.nbytes for _, image in waiting) > BYTES:
            finish()
    finish()
    write_text(out / TABLE, as_csv(rows, predictor.data))
    return Predicted(tuple(rows), skipped)


def _check_targets(sources: Sequence[Source], out: Path) -> None:
    taken = {source.path.resolve() for source in sources}
    for source in sources:
        for target in (_mask(out, source), _overlay(out, source), _cutout(out, source)):
            if target.resolve() in taken:
                raise PipelineError(
                    f"What is made of {source.path} would overwrite {target}, a picture. Choose another --out."
                )


def _mask(out: Path, source: Source) -> Path:
    return out / "masks" / f"{source.name}.png"


def _overlay(out: Path, source: Source) -> Path:
    return out / "overlays" / f"{source.name}.jpg"


def _cutout(out: Path, source: Source) -> Path:
    return out / "cutouts" / f"{source.name}.png"


def _written(
    predictor: Predictor, waiting: Sequence[tuple[Source, npt.NDArray[Any]]], out: Path, overlay: bool, cutout: bool
) -> Iterator[Row]:
    classes = predictor.data.classes
    found = predictor.shares([predictor.preprocessing.network_input(picture) for _, picture in waiting])
    for (source, picture), shares in zip(waiting, found, strict=True):
        segmented = results.Segmented.of(shares, predictor.preprocessing, picture.shape, classes)
        results.write_mask(_mask(out, source), segmented.labels, predictor.values, classes)
        shown = in_colour(picture)
        if overlay:
            results.write_overlay(_overlay(out, source), shown, segmented.labels, classes)
        if cutout:
            results.write_cutout(_cutout(out, source), shown, segmented.opacity)
        height, width = picture.shape[:2]
        # A file's name may be no text at all.
        name = str(source.path).encode("utf-8", "backslashreplace").decode()
        yield Row(name, height, width, tuple(segmented.class_shares(len(classes)).tolist()))
