"""The stage `prepare`: read a source, check it, and write the arrays and tables that every run uses."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from pathlib import Path

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS, Dataset, PreparedData
from pipeline.artifacts.project import PREPARED
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
    with PreparedData(out).replace() as prepared:
        data = _write_arrays(source, prepared)
        check_splits(data)
        dataset = Dataset(
            source=name,
            title=data.title,
            credit=data.credit,
            classes=tuple(data.classes),
            fingerprint=_compute_fingerprint(prepared),
        )
        rows = [row for table in data.tables.values() for row in table.rows]
        skipped = [(to_csv_cell(name), to_csv_cell(reason)) for name, reason in data.skipped]
        prepared.write_tables(dataset, add_mask_notices(data), rows, skipped)
    return dataset


def _write_arrays(source: Source, prepared: PreparedData) -> SourceData:
    """Read the source; write each sample as soon as it is decoded, so that memory does not grow with their number."""
    with ExitStack() as files:
        writers: dict[str, list[NpyWriter]] = {}
        for split in FOLDERS:
            (prepared.path / split).mkdir()
            writers[split] = [NpyWriter(path) for path in prepared.array_paths(split)]
            for writer in writers[split]:
                files.callback(writer.close)

        def write(split: str, sample: Sample) -> None:
            images, masks = writers[split]
            images.append(sample.image)
            masks.append(sample.mask)

        return source.read(write)


def _compute_fingerprint(prepared: PreparedData) -> str:
    digest = hashlib.sha256()
    for split in FOLDERS:
        for path in prepared.array_paths(split):
            update_hash(digest, path)
    return digest.hexdigest()
