"""Writing prepared data from any source: arrays, tables, fingerprint and errors."""

import csv
import hashlib
import json
import re

import numpy as np
import pytest

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS, DatasetStats, PreparedData
from pipeline.errors import PipelineError
from pipeline.prepare.prepare_data import prepare, write_source
from pipeline.prepare.sample import Sample
from pipeline.prepare.source import READ_ORDER, SourceData, SplitOrigin
from pipeline.prepare.sources.composites import CLASSES, CompositeSource
from pipeline.prepare.split_tables import SampleRows, tabulate_samples
from tests.prepare.conftest import create_section

FOLDERS = (*SPLITS, SHOWCASE)


def read_files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read_rows(folder):
    with (folder / PreparedData.SAMPLES).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


STATS = DatasetStats(
    formats={"RGB": 3}, rotated=1, transparent=0, compared=4, duplicates=1, first_duplicates=(("a", "b"),)
)


class MaskSource:
    """A source of given masks; the image shows the mask."""

    def __init__(self, dtype=np.uint8, film=None, error=None, skipped=(("x", "too dark"),), **masks):
        self.dtype, self.film, self.error, self.skipped, self.masks = dtype, film, error, skipped, masks

    def samples(self, splits):
        for split in splits:
            for index, mask in enumerate(self.masks.get(split, [])):
                mask = np.array(mask, np.uint8)
                image = np.repeat(mask[..., None], 4, -1).astype(self.dtype)
                yield split, Sample(f"{split}{index}", {"film": self.film or split}, image, mask, 2, 3, "0" * 64)

    def read(self, write, splits=READ_ORDER):
        return SourceData(
            title="Made for the test",
            credit="",
            classes=CLASSES,
            tables=tabulate_samples(self.samples(splits), CLASSES, write),
            stats=STATS,
            origins={split: SplitOrigin(f"data.samples.{split}", "Ask for more.") for split in FOLDERS},
            skipped=self.skipped,
            error=self.error,
        )


MASKS = {split: [[[0, 1, 2], [255, 1, 1]]] for split in FOLDERS}
MADE = create_section("made")


def test_prepare_twice_writes_the_same_bytes(create_params, tmp_path):
    first = prepare(create_params(), tmp_path / "first")
    second = prepare(create_params(), tmp_path / "second")
    assert first == second == PreparedData(tmp_path / "first").dataset
    assert read_files(tmp_path / "first") == read_files(tmp_path / "second")
    assert prepare(create_params(seed=1), tmp_path / "third").fingerprint != first.fingerprint


def test_prepare_replaces_the_old_folder(composite_source, create_params, tmp_path):
    out = tmp_path / "prepared"
    out.mkdir()
    (out / "old").touch()
    prepare(create_params(path=composite_source), out)
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [*FOLDERS, PreparedData.SAMPLES, PreparedData.CLASSES, PreparedData.SKIPPED, PreparedData.STATS]
    )
    assert list(tmp_path.iterdir()) == [out]


def test_prepare_ignores_the_order_of_the_source_list(source_folder, create_params, tmp_path):
    folder = source_folder()
    prepare(create_params(path=folder), tmp_path / "first")
    header, *lines = (folder / "sources.csv").read_text(encoding="utf-8").splitlines()
    (folder / "sources.csv").write_text("\n".join([header, *reversed(lines)]), encoding="utf-8")
    prepare(create_params(path=folder), tmp_path / "second")
    assert read_files(tmp_path / "first") == read_files(tmp_path / "second")


@pytest.mark.parametrize("size", [32, 96, 160])
def test_prepared_arrays_and_table_agree(create_params, tmp_path, size):
    data = prepare(create_params((6, 3, 2), image_size=size), tmp_path)
    names = [segmentation_class.name for segmentation_class in data.classes]
    table = read_rows(tmp_path)
    assert list(table[0]) == [*PreparedData.SAMPLE_COLUMNS, *(f"share_{name}" for name in names)]
    assert len({row["id"] for row in table}) == len(table) == 12
    for split, count in zip(FOLDERS, (6, 3, 2, 1), strict=True):
        images = np.load(tmp_path / split / PreparedData.IMAGES)
        masks = np.load(tmp_path / split / PreparedData.MASKS)
        assert (images.shape, images.dtype) == ((count, size, size, 3), np.uint8)
        assert (masks.shape, masks.dtype) == ((count, size, size), np.uint8)
        split_rows = [row for row in table if row["split"] == split]
        for row, mask in zip(split_rows, masks, strict=True):
            assert set(np.unique(mask)) <= {0, 1, 2}
            for index, name in enumerate(names):
                assert float(row[f"share_{name}"]) == pytest.approx((mask == index).mean(), rel=1e-11)
            assert re.fullmatch(r"animal=\w+;background=\w+", row["groups"])
            assert re.fullmatch("[0-9a-f]{64}", row["sha256"])
            assert (int(row["height"]) > 0, int(row["width"]) > 0) == (True, True)


def test_composites_have_the_classes_of_oxford_pets_in_different_colors(composite_source, create_params, tmp_path):
    data = prepare(create_params(path=composite_source), tmp_path)
    assert [(c.name, c.foreground) for c in data.classes] == [
        ("animal", True),
        ("background", False),
        ("border", False),
    ]
    assert len({c.color for c in data.classes}) == 3
    assert data.source == "composites"


def test_skipped_table_without_rows_has_a_header(composite_source, create_params, tmp_path):
    prepare(create_params(path=composite_source), tmp_path)
    assert (tmp_path / PreparedData.SKIPPED).read_text(encoding="utf-8") == "id,reason\n"


def test_fingerprint_is_the_sha256_of_arrays_and_classes_in_a_fixed_order(composite_source, create_params, tmp_path):
    data = prepare(create_params(path=composite_source), tmp_path)
    expected = hashlib.sha256()
    for split in FOLDERS:
        for file in (PreparedData.IMAGES, PreparedData.MASKS):
            array = np.load(tmp_path / split / file)
            expected.update(f"{split}/{file} {array.dtype.str} {array.shape}\n".encode())
            expected.update(array.tobytes())
    classes = [["animal", True, False], ["background", False, False], ["border", False, True]]
    expected.update(json.dumps(classes).encode())
    assert data.fingerprint == expected.hexdigest()


def test_write_source_accepts_16_bits_more_channels_and_skipped_files(tmp_path):
    write_source(MaskSource(np.uint16, **MASKS), MADE, tmp_path)
    images = np.load(tmp_path / "train" / PreparedData.IMAGES)
    assert (images.shape, images.dtype) == ((1, 2, 3, 4), np.uint16)
    first = read_rows(tmp_path)[0]
    assert [first[f"share_{c.name}"] for c in CLASSES] == ["0.2", "0.6", "0.2"]
    assert (tmp_path / PreparedData.SKIPPED).read_text(encoding="utf-8") == "id,reason\nx,too dark\n"


@pytest.mark.parametrize("split", FOLDERS)
def test_write_source_refuses_an_empty_split(tmp_path, split):
    with pytest.raises(PipelineError, match=f"there is no sample for '{split}'"):
        write_source(MaskSource(**{**MASKS, split: []}), MADE, tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("split", SPLITS)
def test_write_source_refuses_a_split_without_evaluated_pixels(tmp_path, split):
    with pytest.raises(
        PipelineError, match=rf"data\.samples\.{split}: the only mask of the split '{split}' contains only ignored"
    ):
        write_source(MaskSource(**{**MASKS, split: [[[255, 255, 255], [255, 255, 255]]]}), MADE, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_write_source_refuses_training_with_one_class(tmp_path):
    with pytest.raises(PipelineError, match="training needs two classes or more"):
        write_source(MaskSource(**{**MASKS, "train": [[[1, 1, 1], [1, 255, 1]]]}), MADE, tmp_path / "out")


def test_write_source_accepts_a_showcase_without_every_class(tmp_path):
    write_source(MaskSource(**{**MASKS, SHOWCASE: [[[0, 1, 1], [1, 0, 0]]]}), MADE, tmp_path)


def test_write_source_refuses_an_invalid_class_index(tmp_path):
    with pytest.raises(AssertionError, match="an index without a class"):
        write_source(MaskSource(**{**MASKS, "train": [[[0, 1, 2], [7, 0, 0]]]}), MADE, tmp_path / "out")


def test_write_source_raises_the_error_of_the_source(tmp_path):
    with pytest.raises(PipelineError, match="all is wrong"):
        write_source(MaskSource(error=PipelineError("all is wrong"), **{**MASKS, "test": []}), MADE, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_write_source_refuses_a_group_in_two_splits(tmp_path):
    with pytest.raises(AssertionError, match=r"train and validation share \[\('film', 'a'\)\]"):
        write_source(MaskSource(film="a", **MASKS), MADE, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_write_source_writes_statistics_that_can_be_read(tmp_path):
    write_source(MaskSource(**MASKS), MADE, tmp_path)
    assert PreparedData(tmp_path).stats == STATS


def test_skipped_table_escapes_formulas_and_line_breaks(tmp_path):
    skipped = (("=HYPERLINK(1)", "a\nb"), ("a\udcff", "+1"))
    write_source(MaskSource(skipped=skipped, **MASKS), MADE, tmp_path)
    lines = (tmp_path / PreparedData.SKIPPED).read_text(encoding="utf-8").splitlines()
    assert lines[1:] == ["'=HYPERLINK(1),a\\nb", "a\\udcff,'+1"]


def test_sample_rows_return_all_rows_in_order():
    written, rows = [[str(number), "", 'é,\n"\udcff'] for number in range(2_500)], SampleRows()
    assert not rows
    for row in written:
        rows.append(row)
    assert len(rows) == 2_500
    assert list(rows) == list(rows) == written


def test_composite_source_reads_evaluation_splits_first(composite_source, create_params):
    samples = []
    data = CompositeSource(create_params((2, 1, 1), composite_source).data).read(
        lambda split, sample: samples.append((split, sample.id))
    )
    assert [split for split, _ in samples] == [SHOWCASE, "test", "validation", "train", "train"]
    assert {name for _, name in samples} == {row[0] for table in data.tables.values() for row in table.rows}
    assert (data.skipped, data.error) == ((), None)
