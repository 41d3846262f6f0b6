"""Hugging Face data sets in Parquet and Arrow files: splits, groups, and broken or malicious files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.artifacts.prepared_data import PreparedData
from pipeline.errors import PipelineError
from pipeline.imaging.errors import ImageError
from pipeline.params.data import find_data_mistakes
from pipeline.params.data.image_data import HuggingFaceData
from pipeline.prepare.image_tables.cell import CellReference, read_cell
from pipeline.prepare.image_tables.table_files import find_split, find_table_files, open_tables
from pipeline.prepare.prepare_data import collect_pairs
from tests.prepare.conftest import SECTION, create_classes, read_samples
from tests.prepare.image_tables import (
    IMAGE,
    SIZE,
    draw_mask,
    encode,
    make_cells,
    make_image,
    make_table,
    write_data_set,
    write_parquet,
    write_saved,
)

SPLITS = {"train": 24, "validation": 6, "test": 6}


def create_section(path: Path, **changes: object) -> HuggingFaceData:
    content: dict[str, Any] = {
        **SECTION,
        "source": "huggingface",
        "path": str(path),
        "images": "image",
        "masks": "annotation",
        "classes": create_classes([1, 0, 2]),
        "image_size": SIZE,
        "showcase_ids": None,
        **changes,
    }
    return HuggingFaceData.model_validate(content)


def check_masks(prepared: Path, count: int) -> None:
    """Check that every prepared mask is that of its row."""
    samples = read_samples(prepared)
    assert len(samples) == count
    starts = {"train": 0, "validation": 24, "test": 30}
    for split in {row["split"] for row in samples.values()}:
        masks = np.load(prepared / split / PreparedData.MASKS)
        images = np.load(prepared / split / PreparedData.IMAGES)
        for mask, image, name in zip(
            masks, images, [name for name, row in samples.items() if row["split"] == split], strict=True
        ):
            shard, index = name.split("_")
            number = starts[shard] + int(index)
            np.testing.assert_array_equal(
                np.array([1, 0, 2])[mask], draw_mask(number)
            )  # classes in the section's order
            assert encode(image) == make_image(number)


def test_prepare_reads_the_splits_of_file_names(run: Callable[..., Path], tmp_path: Path) -> None:
    folder = write_data_set(tmp_path / "pets", has_paths=False)
    prepared = run(folder, create_section(folder))
    check_masks(prepared, 36)
    splits = {name: row["split"] for name, row in read_samples(prepared).items() if row["split"] != "showcase"}
    assert all(name.startswith(split) for name, split in splits.items())


def test_prepare_reads_a_saved_data_set_like_parquet(run: Callable[..., Path], tmp_path: Path) -> None:
    folder = write_data_set(tmp_path / "pets")
    fingerprints = [PreparedData(run(folder, create_section(folder))).dataset.fingerprint]
    files = sorted((folder / "data").iterdir())
    tables = {split: [pq.read_table(path) for path in files if path.name.startswith(split)] for split in SPLITS}
    write_saved(tmp_path / "saved", tables)
    fingerprints.append(PreparedData(run(tmp_path / "saved", create_section(tmp_path / "saved"))).dataset.fingerprint)
    assert fingerprints[0] == fingerprints[1]


def test_prepare_reads_binary_columns_and_a_zip_of_the_folder(run: Callable[..., Path], tmp_path: Path) -> None:
    cells = make_cells(0, 24)
    columns = {name: pa.array([cell["bytes"] for cell in cells[name] if cell]) for name in ("image", "annotation")}
    write_parquet(tmp_path / "pets" / "train.parquet", pa.table(columns))
    archive = Path(shutil.make_archive(str(tmp_path / "pets"), "zip", tmp_path / "pets"))
    prepared = run(archive, create_section(archive))
    check_masks(prepared, 24)
    assert {row["split"] for row in read_samples(prepared).values()} == {"train", "validation", "test", "showcase"}


def test_case_of_an_ending_does_not_matter(run: Callable[..., Path], tmp_path: Path) -> None:
    folder = write_data_set(tmp_path / "pets")
    for path in list((folder / "data").glob("test-*")):
        path.rename(path.with_suffix(".PARQUET"))
    check_masks(run(folder, create_section(folder)), 36)


def test_groups_are_found_in_the_original_file_names(tmp_path: Path) -> None:
    folder = write_data_set(tmp_path / "pets")
    pairs = collect_pairs(create_section(folder)).pairs
    assert pairs["train_000013"].name == "train/p6_1"
    assert pairs["train_000013"].image == "data/train-00001-of-00002.parquet[000001].image"
    write_parquet(folder / "data" / "test-00000-of-00001.parquet", make_table(make_cells(30, 6, has_paths=False)))
    assert collect_pairs(create_section(folder)).pairs["train_000013"].name == "train/train_000013"


@pytest.mark.parametrize(
    ("file", "split"),
    [
        ("data/train-00000-of-00002.parquet", "train"),
        ("data/train-00000-of-00001-b42a775f407cee45.parquet", "train"),
        ("scene_parse_150-validation-00000-of-00001.parquet", "validation"),
        ("default/test/0000.parquet", "test"),
        ("partial-train/0003.parquet", "train"),
        ("test_configuration/train-00000-of-00001.parquet", "train"),
        ("valid.parquet", "validation"),
        ("data/part-00000.parquet", ""),
        ("train_val.parquet", ""),
        ("trainer.parquet", ""),
    ],
)
def test_find_split(file: str, split: str) -> None:
    assert find_split(file) == split


@given(st.integers(0, 10_000_000), st.text(min_size=1), st.text(min_size=1))
def test_cell_reference_is_parsed_from_its_text(row: int, name: str, column: str) -> None:
    cell = CellReference(f"{name}.parquet", row, column)
    assert CellReference.parse(str(cell)) == cell


@given(st.lists(st.integers(0, 11), min_size=1, max_size=30))
def test_cells_are_the_same_in_any_order(tmp_path_factory: pytest.TempPathFactory, rows: list[int]) -> None:
    folder = tmp_path_factory.mktemp("tables")
    cells = make_cells(0, 12)
    write_parquet(folder / "a.parquet", make_table(cells), group_rows=5)
    write_saved(folder, {"train": [make_table(cells)]})
    for row in rows:
        for file in ("a.parquet", "train/data-00000-of-00001.arrow"):
            cell = cells["image"][row]
            assert cell
            assert read_cell(folder, CellReference(file, row, "image"), 10**6) == cell["bytes"]


def change_cells(**changes: object) -> pa.Table:
    """Make a table in which the first image or mask is another cell."""
    cells = make_cells(0, 12)
    for column, cell in changes.items():
        cells[column][0] = cell  # type: ignore[call-overload]
    return make_table(cells)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (change_cells(image=None), "[000000].image (is null)"),
        (change_cells(annotation=None), "[000000].annotation (is null)"),
        (change_cells(image={"bytes": None, "path": "x.png"}), "only the path x.png"),
        (change_cells(image={"bytes": b"<html>", "path": "x.png"}), "[000000].image (is not in one of the formats"),
        (change_cells(image={"bytes": b"", "path": "x.png"}), "[000000].image (is not in one of the formats"),
        (change_cells(annotation={"bytes": encode(draw_mask(0)[:20]), "path": None}), "32 × 20, but the image is 32"),
    ],
)
def test_invalid_cells_are_reported_or_skipped(
    table: pa.Table, message: str, run: Callable[..., Path], get_prepare_error: Callable[..., str], tmp_path: Path
) -> None:
    folder = write_data_set(tmp_path / "pets")
    write_parquet(folder / "data" / "train-00000-of-00002.parquet", table)
    assert message in get_prepare_error(folder, create_section(folder))
    prepared = run(folder, create_section(folder, on_invalid="skip"))
    assert len(read_samples(prepared)) == 35
    assert message in (prepared / PreparedData.SKIPPED).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array(range(12)), "the column 'annotation' has the type int64"),
        (pa.array(["a.png"] * 12), "the column 'annotation' has the type string"),
        (pa.array([[1]] * 12), "the column 'annotation' has the type list"),
        (None, "has no column 'annotation'; its columns are image. If"),
    ],
)
def test_column_that_is_not_an_image_is_an_error(
    column: pa.Array | None, message: str, get_prepare_error: Callable[..., str], tmp_path: Path
) -> None:
    folder = write_data_set(tmp_path / "pets")
    images = pa.array(make_cells(0, 12)["image"], IMAGE)
    table = pa.table({"image": images, **({"annotation": column} if column is not None else {})})
    write_parquet(folder / "data" / "train-00001-of-00002.parquet", table)
    error = get_prepare_error(folder, create_section(folder))
    assert error.startswith(f"data.masks: {folder / 'data' / 'train-00001-of-00002.parquet'}")
    assert message in error


def test_repeated_columns_are_an_error(get_prepare_error: Callable[..., str], tmp_path: Path) -> None:
    images, masks = (pa.array(values, IMAGE) for values in make_cells(0, 12).values())
    table = pa.Table.from_arrays([images, masks, masks], ["image", "annotation", "annotation"])
    write_parquet(tmp_path / "pets" / "train.parquet", table)
    get_prepare_error(tmp_path / "pets", create_section(tmp_path / "pets"))


def test_misspelled_column_suggests_the_closest_one(get_prepare_error: Callable[..., str], tmp_path: Path) -> None:
    folder = write_data_set(tmp_path / "pets")
    error = get_prepare_error(folder, create_section(folder, masks="anotation"))
    assert "Did you mean 'annotation'?" in error


@pytest.mark.parametrize("cut", ["footer", "start", "empty", "text"])
@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_broken_file_is_an_error(kind: str, cut: str, get_prepare_error: Callable[..., str], tmp_path: Path) -> None:
    folder = tmp_path / "pets"
    if kind == "parquet":
        file = write_data_set(folder) / "data" / "train-00000-of-00002.parquet"
    else:
        write_saved(folder, {"train": [make_table(make_cells(0, 12))]})
        file = folder / "train" / "data-00000-of-00001.arrow"
    content = file.read_bytes()
    broken = {"footer": content[:-40], "start": content[:100], "empty": b"", "text": b"a,b\n1,2\n" * 100}
    file.write_bytes(broken[cut])
    error = get_prepare_error(folder, create_section(folder))
    assert str(file) in error or cut == "footer", error


def test_footer_with_more_rows_than_the_pages_is_an_issue(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "a.parquet", make_table(make_cells(0, 12)))
    with pytest.raises(ImageError, match="has 12 rows"):
        read_cell(tmp_path, CellReference(file.name, 12, "image"), 10**6)


def test_cell_above_the_limit_is_an_issue(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", make_table(make_cells(0, 1)))
    with pytest.raises(ImageError, match="the limit is 50"):
        read_cell(tmp_path, CellReference("a.parquet", 0, "image"), 50)


@given(st.data())
@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_damaged_file_never_causes_another_exception(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    table = make_table(make_cells(0, 4))
    write_saved(folder, {"train": [table]}) if kind == "arrow" else write_parquet(folder / "train.parquet", table)
    (file,) = find_table_files(folder, "data.path")
    content = bytearray((folder / file).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(
            st.one_of(st.integers(0, len(content) - 1), st.integers(len(content) - 800, len(content) - 1))
        )
        content[place] ^= data.draw(st.integers(1, 255))
    (folder / file).write_bytes(content)
    try:
        (opened,) = open_tables(folder, [file], "data.path")
    except PipelineError:
        return
    for row in range(min(opened.num_rows, 6)):
        for column in ("image", "annotation"):
            try:
                read_cell(folder, CellReference(file, row, column), 10**6)
            except ImageError:
                continue


def test_files_of_both_kinds_and_folders_without_tables_are_errors(
    get_prepare_error: Callable[..., str], tmp_path: Path
) -> None:
    folder = write_data_set(tmp_path / "pets")
    write_saved(folder / "saved", {"train": [make_table(make_cells(0, 4))]})
    assert "which may be the same images twice" in get_prepare_error(folder, create_section(folder))
    (tmp_path / "empty").mkdir()
    assert "neither Parquet files" in get_prepare_error(tmp_path / "empty", create_section(tmp_path / "empty"))
    file = folder / "data" / "test-00000-of-00001.parquet"
    assert "Give the folder" in get_prepare_error(file, create_section(file))


def test_table_without_rows_is_an_error(get_prepare_error: Callable[..., str], tmp_path: Path) -> None:
    write_parquet(tmp_path / "pets" / "train.parquet", make_table(make_cells(0, 0)))
    assert "no rows" in get_prepare_error(tmp_path / "pets", create_section(tmp_path / "pets"))


def test_section_with_split_lists_or_equal_columns_is_a_mistake(tmp_path: Path) -> None:
    section = create_section(tmp_path, masks="image", splits={"validation": 0, "test": 0, "split_lists": "{train,val}"})
    keys = {mistake.split(":")[0] for mistake in find_data_mistakes(section)}
    assert keys == {"data.masks", "data.splits.split_lists"}
