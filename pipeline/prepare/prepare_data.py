"""The stage `prepare`: read a source, check it, and write the arrays and tables that every run uses."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS, Dataset, PreparedData
from pipeline.artifacts.project import PREPARED
from pipeline.atomic_io import as_json, replacing, write_text
from pipeline.params import Params
from pipeline.prepare.dataset_stats import add_mask_notices
from pipeline.prepare.npy_writer import NpyWriter, update_hash
from pipeline.prepare.sample_ids import to_csv_cell
from pipeline.prepare.source import Sample, Source, SourceData
from pipeline.prepare.source_factory import create_source
from pipeline.prepare.split_tables import check_splits

FOLDERS = (*SPLITS, SHOWCASE)


def prepare(params: Params, out: Path = PREPARED) -> Dataset:
    """Write the prepared data to `out`, completely or not at all.

    The same parameters and files give the same bytes.

    Raises:
        PipelineError: The source is missing or invalid, or a split is empty.
    """
    return write_source(create_source(params.data), params.data.source, out)


def write_source(source: Source, name: str, out: Path) -> Dataset:
    """Write the splits and the showcase of a source to `out`; `name` is the value of `data.source`."""
    with replacing(out) as folder:
        data = _write_arrays(source, folder)
        check_splits(data)
        dataset = Dataset(
            source=name,
            title=data.title,
            credit=data.credit,
            classes=tuple(data.classes),
            fingerprint=_compute_fingerprint(folder),
        )
        _write_tables(data, folder)
        write_text(folder / PreparedData.STATS, as_json(add_mask_notices(data)))
        write_text(folder / PreparedData.CLASSES, as_json(dataset))
    return dataset


def _write_arrays(source: Source, folder: Path) -> SourceData:
    """Read the source; write each sample as soon as it is decoded, so that memory does not grow with their number."""
    with ExitStack() as files:
        writers = {split: _open_writers(folder / split, files) for split in FOLDERS}

        def write(split: str, sample: Sample) -> None:
            images, masks = writers[split]
            images.append(sample.image)
            masks.append(sample.mask)

        return source.read(write)


def _open_writers(folder: Path, files: ExitStack) -> tuple[NpyWriter, NpyWriter]:
    folder.mkdir()
    images, masks = (
        files.enter_context(NpyWriter(folder / file)) for file in (PreparedData.IMAGES, PreparedData.MASKS)
    )
    return images, masks


def _compute_fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for split in FOLDERS:
        for file in (PreparedData.IMAGES, PreparedData.MASKS):
            update_hash(digest, folder / split / file)
    return digest.hexdigest()


def _write_tables(data: SourceData, folder: Path) -> None:
    shares = [f"share_{one.name}" for one in data.classes]
    rows = [row for table in data.tables.values() for row in table.rows]
    _write_csv(folder / PreparedData.SAMPLES, [*PreparedData.SAMPLE_COLUMNS, *shares], rows)
    skipped = [[to_csv_cell(name), to_csv_cell(reason)] for name, reason in data.skipped]
    _write_csv(folder / PreparedData.SKIPPED, ["id", "reason"], skipped)


def _write_csv(path: Path, header: list[str], rows: Iterable[Iterable[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
