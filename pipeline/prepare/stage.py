"""Prepare the data: samples of a source into arrays that every run maps into memory."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from pipeline import runs
from pipeline.errors import PipelineError
from pipeline.files import as_json, replacing, write_text
from pipeline.params import Params
from pipeline.prepare.folder import FolderSource
from pipeline.prepare.source import Sample, Source
from pipeline.prepare.transfer import sample_source

# What data.source may say; each takes the section of its own kind.
SOURCES: dict[str, Callable[[Any], Source]] = {"sample": sample_source, "folder": FolderSource}


def prepare(params: Params, out: Path = runs.PREPARED) -> runs.DataSet:
    """Write the prepared data to `out`, whole or not at all; the same parameters and files give the same bytes.

    Raises `PipelineError` where the source is missing or broken, a split is empty, or a split lacks a class.
    """
    return write(SOURCES[params.data.source](params.data), params.data.source, out)


def write(source: Source, name: str, out: Path) -> runs.DataSet:
    """Write a source's splits and its showcase to `out`; `name` is what `data.source` says."""
    fingerprint = hashlib.sha256()
    rows: list[list[str]] = []
    with replacing(out) as folder:
        for split in (*runs.SPLITS, runs.SHOWCASE):
            rows += _write_split(source, split, folder / split)
            for file in (runs.IMAGES, runs.MASKS):
                _add(fingerprint, folder / split / file)
        data = runs.DataSet(
            source=name,
            title=source.title,
            credit=source.credit,
            classes=tuple(source.classes),
            fingerprint=fingerprint.hexdigest(),
        )
        shares = [f"share_{segmentation_class.name}" for segmentation_class in data.classes]
        _write_csv(folder / runs.SAMPLES, [*runs.SAMPLE_COLUMNS, *shares], rows)
        _write_csv(folder / runs.REJECTED, ["id", "reason"], source.rejected())
        write_text(folder / runs.CLASSES, as_json(data))
    return data


def _write_split(source: Source, split: str, folder: Path) -> list[list[str]]:
    """Write a split's arrays; returns its rows of `samples.csv`."""
    count = source.count(split)
    samples = source.samples(split)
    first = next(samples, None)
    if first is None:
        raise PipelineError(
            f"{source.decides(split)}: there is no sample for '{split}', but each of "
            f"{', '.join((*runs.SPLITS, runs.SHOWCASE))} needs at least one. {source.remedy(split)}"
        )
    folder.mkdir()
    # Mapped files, so that memory holds one sample at a time, however many there are.
    images = open_memmap(folder / runs.IMAGES, "w+", first.image.dtype, (count, *first.image.shape))
    masks = open_memmap(folder / runs.MASKS, "w+", np.uint8, (count, *first.mask.shape))
    names = [segmentation_class.name for segmentation_class in source.classes]
    total = np.zeros(len(names), np.int64)
    rows = []
    for index, sample in enumerate(chain([first], samples)):
        images[index], masks[index] = sample.image, sample.mask
        pixels = _pixels(sample, names)
        total += pixels
        rows.append(_row(sample, split, pixels))
    images.flush()
    masks.flush()
    missing = [name for name, pixels in zip(names, total, strict=True) if not pixels]
    if missing and split in runs.SPLITS:
        raise PipelineError(
            f"{source.decides(split)}: class '{missing[0]}' occurs in none of the {count} masks of the split "
            f"'{split}'; every split needs every class. {source.remedy(split)}"
        )
    return rows


def _pixels(sample: Sample, names: list[str]) -> NDArray[np.int64]:
    """Pixels of each class in a sample's mask."""
    counts = np.bincount(sample.mask.ravel(), minlength=256)
    if strangers := [int(value) for value in np.flatnonzero(counts) if len(names) <= value != runs.IGNORE]:
        raise PipelineError(
            f"{sample.id}: its mask holds {strangers[0]}, but classes are 0 to {len(names) - 1} ({', '.join(names)}), "
            f"and {runs.IGNORE} is ignored. Mend the mask."
        )
    return counts[: len(names)]


def _row(sample: Sample, split: str, pixels: NDArray[np.int64]) -> list[str]:
    shares = pixels / max(pixels.sum(), 1)
    counted = str(pixels.sum())
    texts = (sample.id, split, sample.groups_text, str(sample.height), str(sample.width), sample.sha256, counted)
    return [*texts, *(f"{share:.6f}" for share in shares)]


def _add(fingerprint: hashlib._Hash, path: Path) -> None:
    """Add an array to a hash, image by image: what it is called, its type, its shape and its content."""
    array = np.load(path, mmap_mode="r")
    fingerprint.update(f"{path.parent.name}/{path.name} {array.dtype.str} {array.shape}\n".encode())
    for part in array:
        fingerprint.update(part.tobytes())


def _write_csv(path: Path, header: list[str], rows: Iterable[Iterable[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
