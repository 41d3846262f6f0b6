"""Near-duplicates: which pairs are found, declared distinct, reported in one pass, and drawn side by side."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS, PreparedData
from pipeline.errors import PipelineError
from pipeline.imaging.to_rgb import to_rgb
from pipeline.params.data.image_data import NearDuplicates
from pipeline.prepare.image_mask_pair import ImageMaskPair
from pipeline.prepare.near_duplicates import (
    GAP,
    LINE_HEIGHT,
    MAX_PAIRS,
    SHOWN_SIDE,
    DuplicatePair,
    ImageFingerprint,
    NearDuplicateCheck,
    write_contact_sheet,
)
from pipeline.prepare.validate import CONTACT_SHEET, validate_data
from tests.prepare.conftest import SPLIT_BY_NAME, picture, section

BY_SPLIT = {split: [name for name, place in SPLIT_BY_NAME.items() if place == split] for split in SPLITS}
TEST, OTHER_TEST, *_ = BY_SPLIT["test"]
TRAIN, OTHER_TRAIN, *_ = BY_SPLIT["train"]


def copy_image(folder, source, target):
    (folder / f"images/{target}.png").write_bytes((folder / f"images/{source}.png").read_bytes())


def save_again(folder, source, target):
    """Save a copy whose file differs."""
    with Image.open(folder / f"images/{source}.png") as image:
        (folder / f"images/{target}.png").unlink()
        image.save(folder / f"images/{target}.jpg", quality=95)


def checked(folder, **changes):
    """Return the survey of a folder that the check accepts."""
    return validate_data(section(folder, **changes)).stats


def refused_by_check(folder, **changes):
    with pytest.raises(PipelineError) as error:
        validate_data(section(folder, **changes))
    return str(error.value)


@pytest.fixture(autouse=True)
def in_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_check_leak_and_broken_mask_of_the_same_image_are_reported_and_drawn(cells):
    copy_image(cells, TEST, TRAIN)
    (cells / f"masks/{TEST}.png").write_bytes(b"no image")
    (cells / f"masks/{OTHER_TRAIN}.png").unlink()
    said = refused_by_check(cells)
    assert f"1 image without a mask: images/{OTHER_TRAIN}.png" in said
    assert f"1 file that cannot be used: masks/{TEST}.png" in said
    assert f"1 image that looks the same as one of another split: images/{TRAIN}.png (in train" in said
    with Image.open(CONTACT_SHEET) as sheet:
        assert sheet.size == (2 * SHOWN_SIDE + 2 * GAP, SHOWN_SIDE + 2 * LINE_HEIGHT + 2 * GAP)


def test_check_set_aside_leaves_the_training_copy_out_and_keeps_the_test_image(cells, run):
    copy_image(cells, TEST, TRAIN)
    prepared = run(cells, on_invalid="skip")
    rows = (prepared / PreparedData.SAMPLES).read_text(encoding="utf-8")
    assert f"\n{TEST},test," in rows
    assert f"\n{TRAIN}," not in rows
    assert f'\n{TRAIN},"looks the same as one of another split' in (prepared / PreparedData.SKIPPED).read_text("utf-8")


def test_check_chosen_showcase_with_copies_in_training_is_reported_and_loses_no_image(cells):
    for name in BY_SPLIT["train"]:
        picture(50).save(cells / f"images/{name}.png")
    picture(50).save(cells / "images/cell0.png")
    found = validate_data(section(cells, showcase_ids=None))
    ((shown, *_),) = found.data.tables[SHOWCASE].rows
    alike = len(BY_SPLIT["train"])
    assert len(found.data.tables["train"].rows) == alike
    assert found.stats.duplicates == alike - 1  # each but the first, within training
    assert sum(f"{alike} training images look the same as the showcase {shown}," in n for n in found.stats.notices) == 1
    assert f"{alike} images that look the same" in refused_by_check(cells, showcase_ids=["cell0"])
    copy_image(cells, "cell0", TEST)
    assert f"images/{TEST}.png (in test, as images/{shown}.png in showcase)" in refused_by_check(
        cells, showcase_ids=None
    )


def test_check_distinct_pair_is_no_leak(cells):
    save_again(cells, TEST, TRAIN)
    assert f"images/{TRAIN}.jpg (in train, as images/{TEST}.png in test)" in refused_by_check(cells)
    for pair in ([TEST, TRAIN], [TRAIN, TEST]):
        assert checked(cells, near_duplicates={"distinct": [pair]}).duplicates == 0


def test_check_distinct_copy_of_the_same_bytes_remains_a_leak(cells):
    copy_image(cells, TEST, TRAIN)
    assert "1 image that looks the same" in refused_by_check(cells, near_duplicates={"distinct": [[TEST, TRAIN]]})


def test_check_mistakes_in_distinct_are_all_reported_with_the_faults_of_files(cells):
    (cells / "masks/cell3.png").write_bytes(b"no image")
    distinct = [["cell1", "cell99"], ["cell2", "cell2"], ["cell1.png", "cell4"]]
    said = refused_by_check(cells, near_duplicates={"distinct": distinct})
    assert "1 file that cannot be used: masks/cell3.png" in said
    mistakes = re.findall(r"data\.near_duplicates\.distinct: (.*?);", said)
    assert mistakes == ["there is no image cell99", "cell2, cell2 is one image", "there is no image cell1.png"]


def test_check_distinct_may_name_an_image_whose_mask_is_missing(cells):
    (cells / "masks/cell3.png").unlink()
    found = checked(cells, on_invalid="skip", near_duplicates={"distinct": [["cell3", "cell4"]]})
    assert found.duplicates == 0


def test_check_distinct_names_are_normalized(cells):
    for kind in ("images", "masks"):
        (cells / kind / f"{TRAIN}.png").rename(cells / kind / "a\u0308.png")  # as macOS writes ä
    listed = (cells / "splits.csv").read_text("utf-8").replace(f"{TRAIN},", "\u00e4,")
    (cells / "splits.csv").write_text(listed, "utf-8")
    save_again(cells, TEST, "a\u0308")
    assert "1 image that looks the same" in refused_by_check(cells)
    for name in ("\u00e4", "a\u0308"):
        assert checked(cells, near_duplicates={"distinct": [[name, TEST]]}).duplicates == 0


def test_check_no_duplicates_remove_the_sheet_of_an_earlier_check(cells):
    copy_image(cells, TEST, TRAIN)
    refused_by_check(cells)
    assert CONTACT_SHEET.exists()
    picture(77).save(cells / f"images/{TRAIN}.png")
    checked(cells)
    assert not CONTACT_SHEET.exists()


def test_check_sheet_that_cannot_be_written_hides_no_leak(cells, tmp_path):
    copy_image(cells, TEST, TRAIN)
    (tmp_path / CONTACT_SHEET.parent).touch()  # a file where the folder would be
    said = refused_by_check(cells)
    assert "1 image that looks the same" in said
    assert "side by side in" not in said


def look(seed, content=""):
    image = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)
    return ImageFingerprint.of(image, content or str(seed))


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(SPLITS)), max_size=12))
def test_duplicate_check_leaves_no_look_in_two_splits(images):
    """Of images that look the same, all that pass are in one split, in whatever order they come."""
    names = [f"i{number}" for number in range(len(images))]
    duplicates = NearDuplicateCheck(NearDuplicates(), {})
    passed = {}
    for name, (seed, split) in zip(names, images, strict=True):
        if not duplicates.check(ImageMaskPair(name, f"images/{name}.png", ""), look(seed, name), split):
            passed.setdefault(seed, set()).add(split)
    assert all(len(splits) == 1 for splits in passed.values())
    leaks = [splits for _, splits in duplicates.pairs() if splits[0] != splits[1]]
    first = {}
    for seed, split in images:
        first.setdefault(seed, split)
    assert len(leaks) == sum(split != first[seed] for seed, split in images)


@pytest.mark.parametrize(("limits", "found"), [({"max_distance": 0}, 1), ({"min_correlation": -1.0}, 1)])
def test_duplicate_check_extreme_limits_find_a_copy(limits, found):
    duplicates = NearDuplicateCheck(NearDuplicates(**limits), {})
    for name, seed in (("a", 0), ("b", 1), ("c", 0)):
        duplicates.check(ImageMaskPair(name, name, ""), look(seed, name), "train")
    assert duplicates.within == [("a", "c")][:found]


def test_duplicate_check_widest_limits_find_every_pair():
    duplicates = NearDuplicateCheck(NearDuplicates(max_distance=64, min_correlation=-1), {})
    duplicates.check(ImageMaskPair("a", "a", ""), look(0), "test")
    assert len(duplicates.check(ImageMaskPair("b", "b", ""), look(1), "train")) == 1


def sheet_pair(image, name="a", splits=("train", "test")):
    return DuplicatePair((name, "b"), splits, (image, image))


@pytest.mark.parametrize(
    ("dtype", "channels"), [(np.uint8, 1), (np.uint8, 3), (np.uint8, 5), (np.uint16, 1), (np.uint16, 2)]
)
def test_write_sheet_shows_images_of_any_kind(tmp_path, dtype, channels):
    shape = (SHOWN_SIDE - 2, SHOWN_SIDE - 2, channels)
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    with Image.open(write_contact_sheet(iter([sheet_pair(image)]), tmp_path / "sheet.png")) as sheet:
        left = np.asarray(sheet)[GAP : GAP + SHOWN_SIDE - 2, GAP : GAP + SHOWN_SIDE - 2]
    np.testing.assert_array_equal(left, to_rgb(image))


@pytest.mark.parametrize("name", ["😀" * 40, "line\nbreak", "\ud800", "ä" * 200, "سلام", ""])
def test_write_sheet_names_of_any_letters_leave_the_images_in_place(tmp_path, name):
    image = np.full((16, 16, 3), 128, np.uint8)
    with Image.open(write_contact_sheet(iter([sheet_pair(image, name)]), tmp_path / "sheet.png")) as sheet:
        assert (np.asarray(sheet)[GAP : GAP + SHOWN_SIDE - 2, GAP : GAP + SHOWN_SIDE - 2] == 128).all()


def test_write_sheet_draws_the_first_pairs_only(tmp_path):
    image = np.zeros((16, 16, 3), np.uint8)
    drawn = []

    def pairs():
        for number in range(MAX_PAIRS + 40):
            drawn.append(number)
            yield sheet_pair(image)

    with Image.open(write_contact_sheet(pairs(), tmp_path / "sheet.png")) as sheet:
        assert sheet.height == GAP + 20 * (SHOWN_SIDE + 2 * LINE_HEIGHT + GAP)
    assert len(drawn) == MAX_PAIRS
