"""Write small data sets as Hugging Face's `datasets` 5.2 does, without the package."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
FEATURES = {"image": {"_type": "Image"}, "annotation": {"_type": "Image"}}
SIZE = 32  # px

Cell = dict[str, Any] | None


def encode(image: Image.Image | np.ndarray[Any, Any], kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind)
    return buffer.getvalue()


def make_image(index: int) -> bytes:
    small = np.random.default_rng(index).integers(0, 256, (6, 6, 3), np.uint8)
    return encode(Image.fromarray(small).resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def draw_mask(index: int) -> np.ndarray[Any, Any]:
    """Draw a square of class 1 and one of class 2, at places that depend on the index."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[2 + index % 8 : 14 + index % 8, 2:14] = 1
    mask[18:28, 16 + index % 4 : 26 + index % 4] = 2
    return mask


def make_cells(start: int, count: int, has_paths: bool = True) -> dict[str, list[Cell]]:
    """Make images and masks, with the names of their files if `has_paths`."""
    numbers = range(start, start + count)
    return {
        "image": [{"bytes": make_image(n), "path": f"p{n // 2}_{n % 2}.png" if has_paths else None} for n in numbers],
        "annotation": [{"bytes": encode(draw_mask(n)), "path": None} for n in numbers],
    }


def make_table(cells: dict[str, list[Any]], features: dict[str, Any] | None = None) -> pa.Table:
    """Make a table with the metadata that `datasets` adds. Columns that do not exist yet may have any type."""
    columns = {
        name: pa.array(values, IMAGE) if name in FEATURES else pa.array(values) for name, values in cells.items()
    }
    info = {"info": {"features": {**FEATURES, **(features or {})}}}
    return pa.table(columns).replace_schema_metadata({"huggingface": json.dumps(info)})


def write_parquet(path: Path, table: pa.Table, group_rows: int = 4) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=group_rows)
    return path


def write_saved(folder: Path, splits: dict[str, Sequence[pa.Table]]) -> None:
    """Write a data set as `DatasetDict.save_to_disk` does."""
    for split, tables in splits.items():
        (folder / split).mkdir(parents=True)
        for number, table in enumerate(tables):
            path = folder / split / f"data-{number:05d}-of-{len(tables):05d}.arrow"
            with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
                writer.write_table(table, max_chunksize=3)
        (folder / split / "state.json").write_text("{}", encoding="utf-8")
        (folder / split / "cache-0123.arrow").write_bytes(b"not a part of the data set")
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}), encoding="utf-8")


def write_data_set(folder: Path, has_paths: bool = True) -> Path:
    """Write 24 training images in two files, and six validation and test images each."""
    for number in range(2):
        table = make_table(make_cells(12 * number, 12, has_paths))
        write_parquet(folder / "data" / f"train-{number:05d}-of-00002.parquet", table)
    for place, split in enumerate(("validation", "test")):
        table = make_table(make_cells(24 + 6 * place, 6, has_paths))
        write_parquet(folder / "data" / f"{split}-00000-of-00001.parquet", table)
    return folder
