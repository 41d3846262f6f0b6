import csv
import hashlib
import re

import numpy as np
import pytest

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS, DatasetStats, PreparedData
from pipeline.errors import PipelineError
from pipeline.prepare.prepare_data import prepare, write_source
from pipeline.prepare.source import READ_ORDER, Sample, SourceData, SplitOrigin
from pipeline.prepare.sources.composites import CLASSES, CompositeSource
from pipeline.prepare.split_tables import tabulate_samples

FOLDERS = (*SPLITS, SHOWCASE)


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows(folder):
    with (folder / PreparedData.SAMPLES).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


SURVEY = DatasetStats(
    formats={"RGB": 3}, rotated=1, transparent=0, compared=4, duplicates=1, first_duplicates=(("a", "b"),)
)


class Made:
    """A source of given masks; the image shows the mask."""

    def __init__(self, dtype=np.uint8, film=None, wrong=None, skipped=(("x", "too dark"),), **masks):
        self.dtype, self.film, self.wrong, self.skipped, self.masks = dtype, film, wrong, skipped, masks

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
            stats=SURVEY,
            origins={split: SplitOrigin(f"data.samples.{split}", "Ask for more.") for split in FOLDERS},
            skipped=self.skipped,
            error=self.wrong,
        )


WHOLE = {split: [[[0, 1, 2], [255, 1, 1]]] for split in FOLDERS}


def test_same_parameters_same_bytes(asking, tmp_path):
    first = prepare(asking(), tmp_path / "first")
    second = prepare(asking(), tmp_path / "second")
    assert first == second == PreparedData(tmp_path / "first").dataset
    assert files(tmp_path / "first") == files(tmp_path / "second")
    assert prepare(asking(seed=1), tmp_path / "third").fingerprint != first.fingerprint


def test_an_older_folder_is_replaced_whole(tiny, asking, tmp_path):
    out = tmp_path / "prepared"
    out.mkdir()
    (out / "old").touch()
    prepare(asking(path=tiny), out)
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [*FOLDERS, PreparedData.SAMPLES, PreparedData.CLASSES, PreparedData.SKIPPED, PreparedData.STATS]
    )
    assert list(tmp_path.iterdir()) == [out]


def test_order_in_the_list_does_not_matter(source_folder, asking, tmp_path):
    folder = source_folder()
    prepare(asking(path=folder), tmp_path / "first")
    head, *lines = (folder / "sources.csv").read_text(encoding="utf-8").splitlines()
    (folder / "sources.csv").write_text("\n".join([head, *reversed(lines)]), encoding="utf-8")
    prepare(asking(path=folder), tmp_path / "second")
    assert files(tmp_path / "first") == files(tmp_path / "second")


@pytest.mark.parametrize("size", [32, 96, 160])
def test_arrays_and_table_agree(asking, tmp_path, size):
    data = prepare(asking((6, 3, 2), image_size=size), tmp_path)
    names = [segmentation_class.name for segmentation_class in data.classes]
    table = rows(tmp_path)
    assert list(table[0]) == [*PreparedData.SAMPLE_COLUMNS, *(f"share_{name}" for name in names)]
    assert len({row["id"] for row in table}) == len(table) == 12
    for split, count in zip(FOLDERS, (6, 3, 2, 1), strict=True):
        images = np.load(tmp_path / split / PreparedData.IMAGES)
        masks = np.load(tmp_path / split / PreparedData.MASKS)
        assert (images.shape, images.dtype) == ((count, size, size, 3), np.uint8)
        assert (masks.shape, masks.dtype) == ((count, size, size), np.uint8)
        of_split = [row for row in table if row["split"] == split]
        for row, mask in zip(of_split, masks, strict=True):
            assert set(np.unique(mask)) <= {0, 1, 2}
            for index, name in enumerate(names):
                assert row[f"share_{name}"] == f"{(mask == index).mean():.6f}"
            assert re.fullmatch(r"animal=\w+;background=\w+", row["groups"])
            assert re.fullmatch("[0-9a-f]{64}", row["sha256"])
            assert (int(row["height"]) > 0, int(row["width"]) > 0) == (True, True)


def test_classes_are_those_of_oxford_pets_with_colours_that_differ(tiny, asking, tmp_path):
    data = prepare(asking(path=tiny), tmp_path)
    assert [(c.name, c.foreground) for c in data.classes] == [
        ("animal", True),
        ("background", False),
        ("border", False),
    ]
    assert len({c.color for c in data.classes}) == 3
    assert data.source == "composites"


def test_nothing_is_skipped_but_the_header_is_there(tiny, asking, tmp_path):
    prepare(asking(path=tiny), tmp_path)
    assert (tmp_path / PreparedData.SKIPPED).read_text(encoding="utf-8") == "id,reason\n"


def test_fingerprint_is_over_the_arrays_in_a_fixed_order(tiny, asking, tmp_path):
    data = prepare(asking(path=tiny), tmp_path)
    expected = hashlib.sha256()
    for split in FOLDERS:
        for file in (PreparedData.IMAGES, PreparedData.MASKS):
            array = np.load(tmp_path / split / file)
            expected.update(f"{split}/{file} {array.dtype.str} {array.shape}\n".encode())
            expected.update(array.tobytes())
    assert data.fingerprint == expected.hexdigest()


def test_another_source_may_have_more_bits_channels_ignored_pixels_and_rejects(tmp_path):
    write_source(Made(np.uint16, **WHOLE), "made", tmp_path)
    images = np.load(tmp_path / "train" / PreparedData.IMAGES)
    assert (images.shape, images.dtype) == ((1, 2, 3, 4), np.uint16)
    first = rows(tmp_path)[0]
    assert [first[f"share_{c.name}"] for c in CLASSES] == ["0.200000", "0.600000", "0.200000"]
    assert (tmp_path / PreparedData.SKIPPED).read_text(encoding="utf-8") == "id,reason\nx,too dark\n"


@pytest.mark.parametrize("split", FOLDERS)
def test_an_empty_split_is_an_error_and_leaves_nothing(tmp_path, split):
    with pytest.raises(PipelineError, match=f"there is no sample for '{split}'"):
        write_source(Made(**{**WHOLE, split: []}), "made", tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("split", SPLITS)
def test_write_split_without_evaluated_pixels_is_an_error(tmp_path, split):
    with pytest.raises(PipelineError, match=rf"data\.samples\.{split}: class 'animal' occurs in none of the 1 masks"):
        write_source(Made(**{**WHOLE, split: [[[255, 255, 255], [255, 255, 255]]]}), "made", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_write_training_with_one_class_is_an_error(tmp_path):
    with pytest.raises(PipelineError, match="training needs two classes or more"):
        write_source(Made(**{**WHOLE, "train": [[[1, 1, 1], [1, 255, 1]]]}), "made", tmp_path / "out")


def test_the_showcase_may_lack_a_class(tmp_path):
    write_source(Made(**{**WHOLE, SHOWCASE: [[[0, 1, 1], [1, 0, 0]]]}), "made", tmp_path)


def test_a_value_that_is_no_class_is_an_error(tmp_path):
    with pytest.raises(AssertionError, match="an index without a class"):
        write_source(Made(**{**WHOLE, "train": [[[0, 1, 2], [7, 0, 0]]]}), "made", tmp_path / "out")


def test_a_source_that_is_to_stop_is_not_written(tmp_path):
    with pytest.raises(PipelineError, match="all is wrong"):
        write_source(Made(wrong=PipelineError("all is wrong"), **{**WHOLE, "test": []}), "made", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_group_in_two_splits_is_never_written(tmp_path):
    with pytest.raises(AssertionError, match=r"train and validation share \[\('film', 'a'\)\]"):
        write_source(Made(film="a", **WHOLE), "made", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_the_survey_is_written_as_the_report_reads_it(tmp_path):
    write_source(Made(**WHOLE), "made", tmp_path)
    assert PreparedData(tmp_path).stats == SURVEY


def test_cells_of_the_table_of_rejects_are_no_formulas_and_stay_on_their_lines(tmp_path):
    skipped = (("=HYPERLINK(1)", "a\nb"), ("a\udcff", "+1"))
    write_source(Made(skipped=skipped, **WHOLE), "made", tmp_path)
    lines = (tmp_path / PreparedData.SKIPPED).read_text(encoding="utf-8").splitlines()
    assert lines[1:] == ["'=HYPERLINK(1),a\\nb", "a\\udcff,'+1"]


def test_composite_source_reads_evaluation_splits_first(tiny, asking):
    found = []
    data = CompositeSource(asking((2, 1, 1), tiny).data).read(lambda split, sample: found.append((split, sample.id)))
    assert [split for split, _ in found] == [SHOWCASE, "test", "validation", "train", "train"]
    assert {name for _, name in found} == {row[0] for table in data.tables.values() for row in table.rows}
    assert (data.skipped, data.error) == ((), None)
