"""Source: a Hugging Face data set in a local folder, with images and masks in columns of Parquet or Arrow files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.errors import PipelineError
from pipeline.imaging.errors import ImageError
from pipeline.params.data.image_data import HuggingFaceData
from pipeline.prepare.data_folder import open_data_folder
from pipeline.prepare.image_mask_pair import ImageMaskPair, PairCollection
from pipeline.prepare.image_tables.cell import CellReference
from pipeline.prepare.image_tables.table_files import (
    TableFile,
    check_columns,
    find_table_files,
    open_tables,
    read_stems,
)
from pipeline.prepare.sources.folder import create_mask_reader
from pipeline.prepare.splitting.read_splits import read_splits

_MIN_DIGITS = 6  # of the index in an id
_NO_SPLIT = "row"  # start of the ids of images in files that are not named like splits


def collect_hugging_face(data: HuggingFaceData, classes: Sequence[SegmentationClass]) -> PairCollection:
    """Collect the pairs of a data set. An id has the split and the index that `datasets` gives an image.

    Raises:
        PipelineError: The folder or its tables are missing, or a column is missing or has no images.
    """
    folder = open_data_folder(Path(data.path), "data.path")
    files = find_table_files(folder, "data.path")
    if not files:
        raise PipelineError(
            f"data.path: {folder} contains neither Parquet files nor a data set that was saved with "
            f"Dataset.save_to_disk. Set data.path to the folder of the files."
        )
    tables = open_tables(folder, files, "data.path")
    check_columns(tables, {"data.images": data.images, "data.masks": data.masks}, folder)
    pairs = list_pairs(folder, tables, data.images, data.masks)
    splits = read_splits(
        folder,
        data.splits.split_file,
        # The file stands for the folder of an image.
        {name: f"{_parse(pair.image).file}/{name}" for name, pair in pairs.items()},
        {name: pair.name for name, pair in pairs.items()},
        pairs,
        pairs,
        "data",
        kind="file",
    )
    return PairCollection(
        folder=folder,
        title=f"The images in {Path(data.path).resolve().name}",
        credit="",  # known to the user
        classes=classes,
        pairs=pairs,
        masks=create_mask_reader(data, classes),
        notices=splits.notices,
        splits=splits,
    )


def list_pairs(folder: Path, tables: Sequence[TableFile], images: str, masks: str) -> dict[str, ImageMaskPair]:
    """List the pairs in tables by id, in the order of the files.

    Names, in which groups are searched, are the original names of the image files if the tables have them. Ids are not
    made from them, because images are read in the order of their ids, and a table is fast only in the order of its
    rows.

    Raises:
        PipelineError: The names cannot be read, or there are no rows.
    """
    width = max(_MIN_DIGITS, len(str(sum(table.num_rows for table in tables))))
    pairs: dict[str, ImageMaskPair] = {}
    counts: dict[str, int] = {}
    stems = _read_all_stems(folder, tables, images)
    for table in tables:
        split = table.split or _NO_SPLIT
        for row in range(table.num_rows):
            index = counts.get(split, 0)
            counts[split] = index + 1
            name = f"{split}_{index:0{width}d}"
            stem = stems[table.file][row] if stems else name
            pairs[name] = ImageMaskPair(
                id=name,
                image=str(CellReference(table.file, row, images)),
                mask=str(CellReference(table.file, row, masks)),
                name=f"{table.split}/{stem}" if table.split else stem,
            )
    if not pairs:
        raise PipelineError(f"data.path: the files in {folder} have no rows. Download or export them again.")
    return pairs


def _read_all_stems(folder: Path, tables: Sequence[TableFile], images: str) -> dict[str, list[str]]:
    """Read the original names of all images by table. The result is empty if a name is missing or repeated."""
    stems: dict[str, list[str]] = {}
    known: set[tuple[str, str]] = set()
    for table in tables:
        try:
            found = read_stems(folder / table.file, images, table.num_rows)
        except ImageError:
            return {}  # the images cannot be read either, which is reported for each of them
        if found is None:
            return {}
        stems[table.file] = found
        known.update((table.split, stem) for stem in found)
    return stems if len(known) == sum(table.num_rows for table in tables) else {}


def _parse(text: str) -> CellReference:
    cell = CellReference.parse(text)
    assert cell is not None
    return cell
