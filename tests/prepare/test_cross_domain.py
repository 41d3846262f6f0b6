"""Training on composites and testing on the test split of a folder."""

import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipeline.artifacts.prepared_data import SHOWCASE, PreparedData
from pipeline.errors import PipelineError
from pipeline.params.data.image_data import ExternalTestFolder
from pipeline.prepare.prepare_data import prepare
from pipeline.prepare.sources.composites import CREDIT, TITLE
from tests.prepare.conftest import NAMES, SPLIT_BY_NAME, ParamsFactory, create_image, read_samples

CLASSES = [
    {"name": "border", "mask_value": 2},
    {"name": "animal", "mask_value": 1},
    {"name": "background", "mask_value": 0},
]


@pytest.fixture
def prepare_with_test(create_params: ParamsFactory, composite_source: Path, cells: Path, tmp_path: Path):
    """Return a function that prepares composites with the cells as external test and returns the prepared folder."""

    def prepare_data(**changes):
        section = {
            "path": str(cells),
            "resize": "stretch",
            "classes": CLASSES,
            "ignore_value": None,
            "splits": {"validation": 0, "test": 1},
            **changes,
        }
        test = ExternalTestFolder.model_validate(section)
        prepare(create_params((8, 4, 4), composite_source, external_test=test), tmp_path / "out" / "prepared")
        return tmp_path / "out" / "prepared"

    return prepare_data


def test_test_split_of_the_folder_replaces_that_of_the_composites(
    prepare_with_test, create_params, composite_source, tmp_path
):
    prepared = prepare_with_test()
    prepare(create_params((8, 4, 4), composite_source), tmp_path / "plain")
    for split in ("train", "validation", SHOWCASE):
        for file in (PreparedData.IMAGES, PreparedData.MASKS):
            assert (prepared / split / file).read_bytes() == (tmp_path / "plain" / split / file).read_bytes()
    names = [name for name, row in read_samples(prepared).items() if row["split"] == "test"]
    assert names == sorted(name for name, split in SPLIT_BY_NAME.items() if split == "test")
    masks = np.load(prepared / "test" / PreparedData.MASKS)
    assert masks.shape == (len(names), 32, 32)
    # The classes have the order of the composites, not of the section: animal, background, border.
    np.testing.assert_array_equal(masks[0], np.kron([[1, 0], [0, 2]], np.ones((16, 16))))


def test_title_names_both_sources(prepare_with_test):
    data = PreparedData(prepare_with_test()).dataset
    assert (data.source, data.title) == ("composites", f"{TITLE}; for the test: The images in cells")
    assert data.credit == CREDIT
    assert [item.name for item in data.classes] == ["animal", "background", "border"]


def test_folder_without_a_list_is_tested_completely(prepare_with_test, cells):
    (cells / "splits.csv").unlink()
    (cells / "images/notes.txt").touch()
    prepared = prepare_with_test()
    assert sorted(name for name, row in read_samples(prepared).items() if row["split"] == "test") == sorted(NAMES)
    with (prepared / PreparedData.SKIPPED).open(encoding="utf-8", newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == ["images/notes.txt"]


@pytest.mark.parametrize("names", [("animal", "background"), ("pet", "background", "border")])
def test_classes_that_differ_from_the_composites_are_refused(prepare_with_test, names):
    classes = [{"name": name, "mask_value": value} for value, name in enumerate(names)]
    message = (
        rf"data\.external_test\.classes: the class names are {', '.join(names)}, but .* classes animal, background, "
        r"border\."
    )
    with pytest.raises(PipelineError, match=message):
        prepare_with_test(classes=classes)


def test_errors_in_the_folder_name_keys_of_external_test(prepare_with_test, cells, tmp_path):
    Image.fromarray(np.full((16, 24), 9, np.uint8)).save(cells / "masks/cell3.png")
    with pytest.raises(
        PipelineError,
        match=rf"data\.external_test\.path: {cells}: 1 mask with .* no class declares, .* for one of "
        r"data\.external_test\.classes",
    ):
        prepare_with_test()
    with pytest.raises(PipelineError, match=r"data\.external_test\.path: the folder .* does not exist"):
        prepare_with_test(path=str(tmp_path / "nowhere"))
    listing = {"file": "index.csv", "id": "id", "split": None, "group": None}
    with pytest.raises(PipelineError, match=r"data\.external_test\.splits\.split_file\.file: .* does not exist"):
        prepare_with_test(splits={"validation": 0, "test": 1, "split_file": listing})
    (cells / "splits.csv").unlink()
    with pytest.raises(
        PipelineError,
        match=r"data\.external_test\.splits\.test: there is no sample .* images to data\.external_test\.path",
    ):
        prepare_with_test(splits={"validation": 1, "test": 0})
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (
            np.zeros((16, 24), np.uint16),
            r"images/cell3\.png \(is 16-bit gray, which has 1 channel, but 3 are expected\)",
        ),
        (np.zeros((16, 24, 3), np.uint16), r"data\.external_test\.path: the images have 16 bits, but .* 8-bit RGB"),
    ],
)
def test_16_bit_test_images_are_refused(prepare_with_test, cells, image, message):
    for name in NAMES:
        tifffile.imwrite(cells / "images" / f"{name}.png", image)
    with pytest.raises(PipelineError, match=message):
        prepare_with_test()


def test_folder_needs_no_training_images(prepare_with_test, cells):
    (cells / "splits.csv").unlink()
    for kind in ("images", "masks"):
        (cells / kind / "test").mkdir()
        (cells / kind / "val").mkdir()
        for index, name in enumerate(NAMES):
            (cells / kind / f"{name}.png").rename(cells / kind / ("val" if index < 4 else "test") / f"{name}.png")
    rows = read_samples(prepare_with_test())
    assert sorted(name for name, row in rows.items() if row["split"] == "test") == sorted(
        f"test__{name}" for name in NAMES[4:]
    )


def test_notices_on_the_folder_name_existing_keys(prepare_with_test, cells):
    (cells / "splits.csv").unlink()
    for index, name in enumerate(NAMES):
        mask = np.zeros((320, 320), np.uint8)
        mask[3::40, 3::40] = 1
        for kind, image in (("images", create_image(index, mask.shape)), ("masks", Image.fromarray(mask))):
            (cells / kind / f"{name}.png").unlink()
            image.save(cells / kind / f"p{index // 3}_{index}.png")
    notices = " ".join(PreparedData(prepare_with_test()).stats.notices)
    assert "data.image_size" in notices or "no image_size" in notices
    assert "data.external_test.image_size" not in notices
    assert "write data.external_test.splits.group_regex" in notices
