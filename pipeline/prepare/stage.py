"""Prepare the data: samples of a source into arrays that every run maps into memory."""

from __future__ import annotations

import contextlib
import csv
import hashlib
from collections.abc import Iterable
from pathlib import Path

from pipeline import runs
from pipeline.atomic_io import as_json, replacing, write_text
from pipeline.params import Params
from pipeline.prepare.dataset_stats import complete_stats
from pipeline.prepare.npy_writer import NpyWriter, update_hash
from pipeline.prepare.sample_ids import to_csv_cell
from pipeline.prepare.source import Sample, Source
from pipeline.prepare.source_factory import create_source
from pipeline.prepare.split_tables import check_splits, tabulate_samples
from pipeline.runs import SHOWCASE, SPLITS


def prepare(params: Params, out: Path = runs.PREPARED) -> runs.DataSet:
    """Write the prepared data to `out`, whole or not at all; the same parameters and files give the same bytes.

    Raises `PipelineError` where the source is missing or broken, or a split is empty.
    """
    return write(create_source(params.data), params.data.source, out)


def write(source: Source, name: str, out: Path) -> runs.DataSet:
    """Write a source's splits and its showcase to `out`; `name` is what `data.source` says."""
    with replacing(out) as folder:
        with contextlib.ExitStack() as files:
            arrays = {split: _opened(folder / split, files) for split in (*SPLITS, SHOWCASE)}

            def keep(split: str, sample: Sample) -> None:
                for array, content in zip(arrays[split], (sample.image, sample.mask), strict=True):
                    array.append(content)

            tables = tabulate_samples(source, keep)
            check_splits(source, tables)
        fingerprint = hashlib.sha256()
        for split in tables:
            for file in (runs.IMAGES, runs.MASKS):
                update_hash(fingerprint, folder / split / file)
        data = runs.DataSet(
            source=name,
            title=source.title,
            credit=source.credit,
            classes=tuple(source.classes),
            fingerprint=fingerprint.hexdigest(),
        )
        shares = [f"share_{segmentation_class.name}" for segmentation_class in data.classes]
        rows = [row for table in tables.values() for row in table.rows]
        _write_csv(folder / runs.SAMPLES, [*runs.SAMPLE_COLUMNS, *shares], rows)
        rejected = [[to_csv_cell(one), to_csv_cell(reason)] for one, reason in source.rejected()]
        _write_csv(folder / runs.REJECTED, ["id", "reason"], rejected)
        write_text(folder / runs.SURVEY, as_json(complete_stats(source, tables)))
        write_text(folder / runs.CLASSES, as_json(data))
    return data


def _opened(folder: Path, files: contextlib.ExitStack) -> tuple[NpyWriter, NpyWriter]:
    folder.mkdir()
    images, masks = (files.enter_context(NpyWriter(folder / file)) for file in (runs.IMAGES, runs.MASKS))
    return images, masks


def _write_csv(path: Path, header: list[str], rows: Iterable[Iterable[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
