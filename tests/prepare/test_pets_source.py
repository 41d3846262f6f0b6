"""Oxford-IIIT Pet as a source: its own splits, its known faults set aside, all others told."""

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
from tests.prepare.conftest import SECTION, picture, table

LEARN = [f"Birman_{number}" for number in range(1, 11)] + ["beagle_116"]
TEST = [f"pug_{number}" for number in range(1, 5)]


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """The data set in small: photographs of noise, trimaps, the authors' lists."""
    folder = tmp_path / "pets"
    for below in ("images", "annotations/trimaps"):
        (folder / below).mkdir(parents=True)
    trimap = np.kron([[1, 2], [3, 2]], np.ones((30, 40))).astype(np.uint8)
    for index, name in enumerate([*LEARN, *TEST]):
        picture(index, trimap.shape).save(folder / "images" / f"{name}.jpg")
        Image.fromarray(trimap).save(folder / "annotations/trimaps" / f"{name}.png")
    for file, names in (("trainval", LEARN), ("test", TEST)):
        (folder / "annotations" / f"{file}.txt").write_text("".join(f"{name} 1 1 1\n" for name in names))
    return folder


def asks(folder: Path, **changes: object) -> OxfordPetsData:
    kept = {key: value for key, value in SECTION.items() if key not in ("classes", "ignore_value")}
    splits = {"validation": 0.2, "test": 0}
    data = {**kept, "source": "oxford_iiit_pet", "path": str(folder), "showcase_ids": None, "splits": splits}
    return OxfordPetsData.model_validate({**data, **changes})


def skipped(prepared: Path) -> dict[str, str]:
    with (prepared / PreparedData.SKIPPED).open(encoding="utf-8", newline="") as file:
        return {row["id"]: row["reason"] for row in csv.DictReader(file)}


def test_the_authors_splits_are_kept(pets: Path, run: Callable[..., Path]) -> None:
    rows = table(run(pets, asks(pets)))
    by_split = {split: [name for name, row in rows.items() if row["split"] == split] for split in SPLITS}
    assert by_split["test"] == TEST
    assert len(by_split["validation"]) == 2
    assert {*by_split["train"], *by_split["validation"]} < set(LEARN)


def test_files_that_are_known_to_be_broken_are_set_aside_and_said(pets: Path, run: Callable[..., Path]) -> None:
    Image.new("RGB", (80, 60)).save(pets / "images/beagle_116.gif")
    (pets / "images/beagle_116.gif").rename(pets / "images/beagle_116.jpg")
    found = skipped(run(pets, asks(pets)))
    assert found == {"beagle_116": "cannot be used: images/beagle_116.jpg (is none of PNG, JPEG, WEBP, BMP, TIFF)"}


def test_other_broken_files_are_an_error(pets: Path, refused: Callable[..., str]) -> None:
    for name in ("Birman_3", "beagle_116"):
        (pets / "images" / f"{name}.jpg").write_bytes(b"broken")
    said = refused(pets, asks(pets))
    assert "1 file that cannot be used: images/Birman_3.jpg (is none of" in said
    assert "beagle_116" not in said


def test_what_the_authors_have_in_both_splits_is_trained_on_no_more(pets: Path, run: Callable[..., Path]) -> None:
    with Image.open(pets / "images/pug_2.jpg") as image:
        image.save(pets / "images/Birman_4.jpg", quality=70)
    prepared = run(pets, asks(pets))
    (reason,) = skipped(prepared).values()
    assert skipped(prepared).keys() == {"Birman_4"}
    assert reason.startswith("looks the same as one of another split: images/Birman_4.jpg (in ")
    assert reason.endswith(", as images/pug_2.jpg in test)")
    assert table(prepared)["pug_2"]["split"] == "test"
    (split,) = (name for name in ("train", "validation") if f"(in {name}," in reason)
    assert PreparedData(prepared).stats.notices == (
        f"1 image was left out of {split}, because test has the same image too: a known leak of the published data "
        "set. Trained on, such images would make the scores and the gap look better than they are.",
    )


def test_a_folder_that_lacks_a_part_names_the_command(pets: Path, refused: Callable[..., str]) -> None:
    shutil.rmtree(pets / "annotations")
    said = refused(pets, asks(pets))
    assert f"{pets / 'annotations'} is missing." in said
    assert f"`pipeline data download {pets}`" in said
