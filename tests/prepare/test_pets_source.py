"""Oxford-IIIT Pet as a source: official splits, known broken files are skipped, others reported."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.artifacts.prepared_data import SPLITS, PreparedData
from pipeline.params.data.image_data import OxfordPetsData
from tests.prepare.conftest import SECTION, create_image, read_samples

TRAINVAL = [f"Birman_{number}" for number in range(1, 11)] + ["beagle_116"]
TEST = [f"pug_{number}" for number in range(1, 5)]


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """A small version of the data set: noise images, trimaps and the official lists."""
    folder = tmp_path / "pets"
    for subfolder in ("images", "annotations/trimaps"):
        (folder / subfolder).mkdir(parents=True)
    trimap = np.kron([[1, 2], [3, 2]], np.ones((30, 40))).astype(np.uint8)
    for index, name in enumerate([*TRAINVAL, *TEST]):
        create_image(index, trimap.shape).save(folder / "images" / f"{name}.jpg")
        Image.fromarray(trimap).save(folder / "annotations/trimaps" / f"{name}.png")
    for file, names in (("trainval", TRAINVAL), ("test", TEST)):
        (folder / "annotations" / f"{file}.txt").write_text("".join(f"{name} 1 1 1\n" for name in names))
    return folder


def create_pets_section(folder: Path, **changes: object) -> OxfordPetsData:
    kept = {key: value for key, value in SECTION.items() if key not in ("classes", "ignore_value")}
    splits = {"validation": 0.2, "test": 0}
    data = {**kept, "source": "oxford_iiit_pet", "path": str(folder), "showcase_ids": None, "splits": splits}
    return OxfordPetsData.model_validate({**data, **changes})


def read_skipped(prepared: Path) -> dict[str, str]:
    with (prepared / PreparedData.SKIPPED).open(encoding="utf-8", newline="") as file:
        return {row["id"]: row["reason"] for row in csv.DictReader(file)}


def test_official_splits_are_kept(pets: Path, run: Callable[..., Path]) -> None:
    rows = read_samples(run(pets, create_pets_section(pets)))
    by_split = {split: [name for name, row in rows.items() if row["split"] == split] for split in SPLITS}
    assert by_split["test"] == TEST
    assert len(by_split["validation"]) == 2
    assert {*by_split["train"], *by_split["validation"]} < set(TRAINVAL)


def test_known_broken_files_are_skipped(pets: Path, run: Callable[..., Path]) -> None:
    Image.new("RGB", (80, 60)).save(pets / "images/beagle_116.gif")
    (pets / "images/beagle_116.gif").rename(pets / "images/beagle_116.jpg")
    found = read_skipped(run(pets, create_pets_section(pets)))
    assert found == {
        "beagle_116": "cannot be used: images/beagle_116.jpg (is not in one of the formats PNG, JPEG, WEBP, BMP, TIFF)"
    }


def test_other_invalid_files_are_an_error(pets: Path, get_prepare_error: Callable[..., str]) -> None:
    for name in ("Birman_3", "beagle_116"):
        (pets / "images" / f"{name}.jpg").write_bytes(b"broken")
    message = get_prepare_error(pets, create_pets_section(pets))
    assert "1 file that cannot be used: images/Birman_3.jpg (is not in one of the formats" in message
    assert "beagle_116" not in message


def test_training_images_that_are_in_the_test_split_are_skipped(pets: Path, run: Callable[..., Path]) -> None:
    with Image.open(pets / "images/pug_2.jpg") as image:
        image.save(pets / "images/Birman_4.jpg", quality=70)
    prepared = run(pets, create_pets_section(pets))
    (reason,) = read_skipped(prepared).values()
    assert read_skipped(prepared).keys() == {"Birman_4"}
    assert reason.startswith("looks the same as one in another split: images/Birman_4.jpg (in ")
    assert reason.endswith(", like images/pug_2.jpg in test)")
    assert read_samples(prepared)["pug_2"]["split"] == "test"
    (split,) = (name for name in ("train", "validation") if f"(in {name}," in reason)
    assert PreparedData(prepared).stats.notices == (
        f"1 image was left out of {split}, because test contains the same image: a known leak of the published data "
        "set. Keeping these images would make the scores and the gap look better than they are.",
    )


def test_missing_part_is_reported_with_the_command(pets: Path, get_prepare_error: Callable[..., str]) -> None:
    shutil.rmtree(pets / "annotations")
    message = get_prepare_error(pets, create_pets_section(pets))
    assert f"{pets / 'annotations'} is missing." in message
    assert f"`pipeline data download {pets}`" in message
