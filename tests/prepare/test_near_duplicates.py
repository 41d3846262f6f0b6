"""Near-duplicates in `data check` and `prepare`: reported pairs, pairs declared distinct, and the contact sheet."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS, PreparedData
from pipeline.data_check.validation_report import CONTACT_SHEET
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
from tests.prepare.conftest import SPLIT_BY_NAME, create_image, create_section, validate_data

BY_SPLIT = {split: [name for name, name_split in SPLIT_BY_NAME.items() if name_split == split] for split in SPLITS}
TEST, OTHER_TEST, *_ = BY_SPLIT["test"]
TRAIN, OTHER_TRAIN, *_ = BY_SPLIT["train"]


def copy_image(folder, source, target):
    (folder / f"images/{target}.png").write_bytes((folder / f"images/{source}.png").read_bytes())


def save_jpeg_copy(folder, source, target):
    with Image.open(folder / f"images/{source}.png") as image:
        (folder / f"images/{target}.png").unlink()
        image.save(folder / f"images/{target}.jpg", quality=95)


def check_data(folder, **changes):
    """Return the statistics of a valid folder."""
    return validate_data(create_section(folder, **changes)).data.stats


def get_check_error(folder, **changes):
    with pytest.raises(PipelineError) as error:
        validate_data(create_section(folder, **changes))
    return str(error.value)


@pytest.fixture(autouse=True)
def _use_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_check_reports_and_draws_a_leak_of_an_image_with_an_invalid_mask(cells):
    copy_image(cells, TEST, TRAIN)
    (cells / f"masks/{TEST}.png").write_bytes(b"not an image")
    (cells / f"masks/{OTHER_TRAIN}.png").unlink()
    message = get_check_error(cells)
    assert f"1 image without a mask: images/{OTHER_TRAIN}.png" in message
    assert f"1 file that cannot be used: masks/{TEST}.png" in message
    assert f"1 image that looks the same as one in another split: images/{TRAIN}.png (in train" in message
    with Image.open(CONTACT_SHEET) as sheet:
        assert sheet.size == (2 * SHOWN_SIDE + 2 * GAP, SHOWN_SIDE + 2 * LINE_HEIGHT + 2 * GAP)


def test_prepare_skips_the_training_copy_and_keeps_the_test_image(cells, run):
    copy_image(cells, TEST, TRAIN)
    prepared = run(cells, on_invalid="skip")
    rows = (prepared / PreparedData.SAMPLES).read_text(encoding="utf-8")
    assert f"\n{TEST},test," in rows
    assert f"\n{TRAIN}," not in rows
    assert f'\n{TRAIN},"looks the same as one in another split' in (prepared / PreparedData.SKIPPED).read_text("utf-8")


def test_check_reports_copies_of_an_automatic_showcase_without_skipping_them(cells):
    for name in BY_SPLIT["train"]:
        create_image(50).save(cells / f"images/{name}.png")
    create_image(50).save(cells / "images/cell0.png")
    result = validate_data(create_section(cells, showcase_ids=None))
    ((showcase, *_),) = result.data.tables[SHOWCASE].rows
    num_copies = len(BY_SPLIT["train"])
    assert len(result.data.tables["train"].rows) == num_copies
    assert result.data.stats.duplicates == num_copies - 1  # each but the first, within training
    expected = f"{num_copies} training images look the same as the showcase {showcase},"
    assert sum(expected in notice for notice in result.data.stats.notices) == 1
    assert f"{num_copies} images that look the same" in get_check_error(cells, showcase_ids=["cell0"])
    copy_image(cells, "cell0", TEST)
    assert f"images/{TEST}.png (in test, like images/{showcase}.png in showcase)" in get_check_error(
        cells, showcase_ids=None
    )


def test_check_ignores_distinct_pairs(cells):
    save_jpeg_copy(cells, TEST, TRAIN)
    assert f"images/{TRAIN}.jpg (in train, like images/{TEST}.png in test)" in get_check_error(cells)
    for pair in ([TEST, TRAIN], [TRAIN, TEST]):
        assert check_data(cells, near_duplicates={"distinct": [pair]}).duplicates == 0


def test_check_reports_distinct_pairs_with_the_same_bytes(cells):
    copy_image(cells, TEST, TRAIN)
    assert "1 image that looks the same" in get_check_error(cells, near_duplicates={"distinct": [[TEST, TRAIN]]})


def test_check_reports_errors_in_distinct_with_invalid_files(cells):
    (cells / "masks/cell3.png").write_bytes(b"not an image")
    distinct = [["cell1", "cell99"], ["cell2", "cell2"], ["cell1.png", "cell4"]]
    message = get_check_error(cells, near_duplicates={"distinct": distinct})
    assert "1 file that cannot be used: masks/cell3.png" in message
    errors = re.findall(r"data\.near_duplicates\.distinct: (.*?);", message)
    assert errors == ["there is no image cell99", "cell2, cell2 are the same image", "there is no image cell1.png"]


def test_check_accepts_distinct_images_without_a_mask(cells):
    (cells / "masks/cell3.png").unlink()
    stats = check_data(cells, on_invalid="skip", near_duplicates={"distinct": [["cell3", "cell4"]]})
    assert stats.duplicates == 0


def test_check_normalizes_distinct_names(cells):
    for kind in ("images", "masks"):
        (cells / kind / f"{TRAIN}.png").rename(cells / kind / "a\u0308.png")  # the form of ä in macOS
    listed = (cells / "splits.csv").read_text("utf-8").replace(f"{TRAIN},", "\u00e4,")
    (cells / "splits.csv").write_text(listed, "utf-8")
    save_jpeg_copy(cells, TEST, "a\u0308")
    assert "1 image that looks the same" in get_check_error(cells)
    for name in ("\u00e4", "a\u0308"):
        assert check_data(cells, near_duplicates={"distinct": [[name, TEST]]}).duplicates == 0


def test_check_without_duplicates_removes_the_old_contact_sheet(cells):
    copy_image(cells, TEST, TRAIN)
    get_check_error(cells)
    assert CONTACT_SHEET.exists()
    create_image(77).save(cells / f"images/{TRAIN}.png")
    check_data(cells)
    assert not CONTACT_SHEET.exists()


def test_check_reports_leaks_when_the_contact_sheet_cannot_be_written(cells, tmp_path):
    copy_image(cells, TEST, TRAIN)
    (tmp_path / CONTACT_SHEET.parent).touch()  # a file instead of the folder
    message = get_check_error(cells)
    assert "1 image that looks the same" in message
    assert "side by side in" not in message


def create_fingerprint(seed, content=""):
    image = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)
    return ImageFingerprint.of(image, content or str(seed))


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(SPLITS)), max_size=12))
def test_duplicate_check_leaves_no_copies_in_two_splits(images):
    """All accepted images that look the same are in one split, in any order of the images."""
    names = [f"i{number}" for number in range(len(images))]
    duplicates = NearDuplicateCheck(NearDuplicates(), {})
    accepted = {}
    for name, (seed, split) in zip(names, images, strict=True):
        if not duplicates.check(ImageMaskPair(name, f"images/{name}.png", ""), create_fingerprint(seed, name), split):
            accepted.setdefault(seed, set()).add(split)
    assert all(len(splits) == 1 for splits in accepted.values())
    leaks = [splits for _, splits in duplicates.pairs() if splits[0] != splits[1]]
    first = {}
    for seed, split in images:
        first.setdefault(seed, split)
    assert len(leaks) == sum(split != first[seed] for seed, split in images)


@pytest.mark.parametrize(("limits", "num_pairs"), [({"max_distance": 0}, 1), ({"min_correlation": -1.0}, 1)])
def test_duplicate_check_with_extreme_limits_finds_a_copy(limits, num_pairs):
    duplicates = NearDuplicateCheck(NearDuplicates(**limits), {})
    for name, seed in (("a", 0), ("b", 1), ("c", 0)):
        duplicates.check(ImageMaskPair(name, name, ""), create_fingerprint(seed, name), "train")
    assert duplicates.within == [("a", "c")][:num_pairs]


def test_duplicate_check_with_widest_limits_finds_every_pair():
    duplicates = NearDuplicateCheck(NearDuplicates(max_distance=64, min_correlation=-1), {})
    duplicates.check(ImageMaskPair("a", "a", ""), create_fingerprint(0), "test")
    assert len(duplicates.check(ImageMaskPair("b", "b", ""), create_fingerprint(1), "train")) == 1


def create_pair(image, name="a", splits=("train", "test")):
    size = image.shape[:2]
    return DuplicatePair((name, "b"), splits, (image, image), (size, size))


@pytest.mark.parametrize(
    ("dtype", "channels"), [(np.uint8, 1), (np.uint8, 3), (np.uint8, 5), (np.uint16, 1), (np.uint16, 2)]
)
def test_contact_sheet_shows_images_of_any_dtype_and_channels(tmp_path, dtype, channels):
    shape = (SHOWN_SIDE - 2, SHOWN_SIDE - 2, channels)
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    with Image.open(write_contact_sheet(iter([create_pair(image)]), tmp_path / "sheet.png")) as sheet:
        left = np.asarray(sheet)[GAP : GAP + SHOWN_SIDE - 2, GAP : GAP + SHOWN_SIDE - 2]
    np.testing.assert_array_equal(left, to_rgb(image))


@pytest.mark.parametrize("name", ["😀" * 40, "line\nbreak", "\ud800", "ä" * 200, "سلام", ""])
def test_contact_sheet_layout_is_independent_of_names(tmp_path, name):
    image = np.full((16, 16, 3), 128, np.uint8)
    with Image.open(write_contact_sheet(iter([create_pair(image, name)]), tmp_path / "sheet.png")) as sheet:
        assert (np.asarray(sheet)[GAP : GAP + SHOWN_SIDE - 2, GAP : GAP + SHOWN_SIDE - 2] == 128).all()


def test_contact_sheet_draws_a_limited_number_of_pairs(tmp_path):
    image = np.zeros((16, 16, 3), np.uint8)
    drawn = []

    def pairs():
        for number in range(MAX_PAIRS + 40):
            drawn.append(number)
            yield create_pair(image)

    with Image.open(write_contact_sheet(pairs(), tmp_path / "sheet.png")) as sheet:
        assert sheet.height == GAP + 20 * (SHOWN_SIDE + 2 * LINE_HEIGHT + GAP)
    assert len(drawn) == MAX_PAIRS
