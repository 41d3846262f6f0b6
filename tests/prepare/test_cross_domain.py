"""Composites to learn from, a folder's test split to be judged by."""

import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipeline.artifacts.prepared_data import SHOWCASE, PreparedData
from pipeline.errors import PipelineError
from pipeline.params.data.image_data import ExternalTestFolder
from pipeline.prepare.sources.composites import CREDIT, TITLE
from pipeline.prepare.stage import prepare
from tests.prepare.conftest import NAMES, SPLIT_BY_NAME, Asking, picture, table

CLASSES = [
    {"name": "border", "mask_value": 2},
    {"name": "animal", "mask_value": 1},
    {"name": "background", "mask_value": 0},
]


@pytest.fixture
def tested(asking: Asking, tiny: Path, cells: Path, tmp_path: Path):
    """Prepares composites, tested on the cells; returns the prepared folder."""

    def preparing(**changes):
        section = {
            "path": str(cells),
            "resize": "stretch",
            "classes": CLASSES,
            "ignore_value": None,
            "splits": {"validation": 0, "test": 1},
            **changes,
        }
        test = ExternalTestFolder.model_validate(section)
        prepare(asking((8, 4, 4), tiny, external_test=test), tmp_path / "out" / "prepared")
        return tmp_path / "out" / "prepared"

    return preparing


def test_the_folders_test_split_takes_the_place_of_the_composites(tested, asking, tiny, tmp_path):
    prepared = tested()
    prepare(asking((8, 4, 4), tiny), tmp_path / "plain")
    for split in ("train", "validation", SHOWCASE):
        for file in (PreparedData.IMAGES, PreparedData.MASKS):
            assert (prepared / split / file).read_bytes() == (tmp_path / "plain" / split / file).read_bytes()
    names = [name for name, row in table(prepared).items() if row["split"] == "test"]
    assert names == sorted(name for name, split in SPLIT_BY_NAME.items() if split == "test")
    masks = np.load(prepared / "test" / PreparedData.MASKS)
    assert masks.shape == (len(names), 32, 32)
    # Animal, background, border: in the order of the composites, whatever the section's is.
    np.testing.assert_array_equal(masks[0], np.kron([[1, 0], [0, 2]], np.ones((16, 16))))


def test_title_and_credit_say_both(tested):
    data = PreparedData(tested()).dataset
    assert (data.source, data.title) == ("composites", f"{TITLE}; for the test: The images in cells")
    assert data.credit == CREDIT
    assert [item.name for item in data.classes] == ["animal", "background", "border"]


def test_without_a_list_every_image_may_be_tested_on(tested, cells):
    (cells / "splits.csv").unlink()
    (cells / "images/notes.txt").touch()
    prepared = tested()
    assert sorted(name for name, row in table(prepared).items() if row["split"] == "test") == sorted(NAMES)
    with (prepared / PreparedData.SKIPPED).open(encoding="utf-8", newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == ["images/notes.txt"]


@pytest.mark.parametrize("names", [("animal", "background"), ("pet", "background", "border")])
def test_other_classes_than_those_of_the_composites_are_refused(tested, names):
    classes = [{"name": name, "mask_value": value} for value, name in enumerate(names)]
    said = (
        rf"data\.external_test\.classes: the names are {', '.join(names)}, but .* classes animal, background, border\."
    )
    with pytest.raises(PipelineError, match=said):
        tested(classes=classes)


def test_what_is_wrong_with_the_folder_is_said_of_its_own_keys(tested, cells, tmp_path):
    Image.fromarray(np.full((16, 24), 9, np.uint8)).save(cells / "masks/cell3.png")
    with pytest.raises(
        PipelineError,
        match=rf"data\.external_test\.path: {cells}: 1 mask with .* no class declares, .* for one of "
        r"data\.external_test\.classes",
    ):
        tested()
    with pytest.raises(
        PipelineError, match=r"data\.external_test\.path: the folder .* does not exist\. Set data\.external_test\.path"
    ):
        tested(path=str(tmp_path / "nowhere"))
    listing = {"file": "index.csv", "id": "id", "split": None, "group": None}
    with pytest.raises(PipelineError, match=r"data\.external_test\.splits\.split_file\.file: .* does not exist"):
        tested(splits={"validation": 0, "test": 1, "split_file": listing})
    (cells / "splits.csv").unlink()
    with pytest.raises(
        PipelineError,
        match=r"data\.external_test\.splits\.test: there is no sample .* images to data\.external_test\.path",
    ):
        tested(splits={"validation": 1, "test": 0})
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (
            np.zeros((16, 24), np.uint16),
            r"images/cell3\.png \(is 16-bit gray, which has 1 channel, but 3 are expected\)",
        ),
        (np.zeros((16, 24, 3), np.uint16), r"data\.external_test\.path: the images have 16 bits, but .* 8-bit RGB"),
    ],
)
def test_16_bit_images_cannot_test_what_learned_from_8_bits(tested, cells, image, said):
    for name in NAMES:
        tifffile.imwrite(cells / "images" / f"{name}.png", image)
    with pytest.raises(PipelineError, match=said):
        tested()


def test_prepare_folder_for_the_test_needs_no_training_folder(tested, cells):
    (cells / "splits.csv").unlink()
    for kind in ("images", "masks"):
        (cells / kind / "test").mkdir()
        (cells / kind / "val").mkdir()
        for index, name in enumerate(NAMES):
            (cells / kind / f"{name}.png").rename(cells / kind / ("val" if index < 4 else "test") / f"{name}.png")
    rows = table(tested())
    assert sorted(name for name, row in rows.items() if row["split"] == "test") == sorted(
        f"test__{name}" for name in NAMES[4:]
    )


def test_prepare_folder_for_the_test_notices_name_keys_that_exist(tested, cells):
    (cells / "splits.csv").unlink()
    for index, name in enumerate(NAMES):
        mask = np.zeros((320, 320), np.uint8)
        mask[3::40, 3::40] = 1
        for kind, image in (("images", picture(index, mask.shape)), ("masks", Image.fromarray(mask))):
            (cells / kind / f"{name}.png").unlink()
            image.save(cells / kind / f"p{index // 3}_{index}.png")
    notices = " ".join(PreparedData(tested()).stats.notices)
    assert "data.image_size" in notices or "no image_size" in notices
    assert "data.external_test.image_size" not in notices
    assert "write data.external_test.splits.group_regex" in notices
