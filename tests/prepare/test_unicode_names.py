"""Names that look equal are equal, whether accents are composed (NFC) or decomposed (NFD, as macOS writes them)."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from pipeline.params.data.image_data import CocoData
from pipeline.prepare.sample_ids import image_id
from tests.prepare.conftest import NAMES, SECTION, picture, table, write_splits

WRITTEN = [f"Größe/Präparat {index}" for index in range(12)]
IDS = [name.replace("/", "__") for name in WRITTEN]


def spelled(text: str, form: str) -> str:
    return unicodedata.normalize(form, text)  # type: ignore[arg-type]


@pytest.fixture
def named(cells: Path) -> Any:
    """Rename the pairs of `cells`, images and masks in forms of their own."""

    def naming(images: str, masks: str) -> Path:
        for folder, form in (("images", images), ("masks", masks)):
            for name, written in zip(NAMES, WRITTEN, strict=True):
                target = cells / folder / f"{spelled(written, form)}.png"
                target.parent.mkdir(exist_ok=True)
                (cells / folder / f"{name}.png").rename(target)
        (cells / "splits.csv").unlink()
        return cells

    return naming


@pytest.mark.parametrize("splits", ["NFC", "NFD"])
@pytest.mark.parametrize(("images", "masks"), [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
def test_pairs_splits_and_showcase_are_found_in_any_form(
    named: Any, run: Any, images: str, masks: str, splits: str
) -> None:
    cells = named(images, masks)
    kinds = ["train", "validation", "test"]
    write_splits(cells, [f"{spelled(name, splits)},{kinds[place % 3]}" for place, name in enumerate(WRITTEN)])
    found = table(run(cells, showcase_ids=[spelled(WRITTEN[3], splits)]))
    assert sorted(found) == sorted(spelled(name, "NFC") for name in IDS)
    assert found[spelled(IDS[4], "NFC")]["split"] == "validation"
    assert found[spelled(IDS[3], "NFC")]["split"] == "showcase"


def test_two_files_that_become_equal_are_refused_with_the_reason(named: Any, refused: Any) -> None:
    cells = named("NFC", "NFC")
    picture(99).save(cells / "images" / f"{spelled('Größe', 'NFC')}" / f"{spelled('Präparat 0', 'NFD')}.png")
    said = refused(cells, showcase_ids=None)
    assert "1 name that stands for several files" in said
    assert "the Unicode form" in said


@pytest.mark.parametrize(("files", "annotations"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_coco_names_its_images_in_any_form(cells: Path, run: Any, files: str, annotations: str) -> None:
    images, objects = [], []
    for place, name in enumerate(NAMES):
        (cells / "images" / f"{name}.png").rename(cells / "images" / f"{spelled(f'Zähler{place}', files)}.png")
        file = f"{spelled(f'Zähler{place}', annotations)}.png"
        images.append({"id": place, "file_name": file, "width": 24, "height": 16})
        square = [2, 2, 12, 2, 12, 12, 2, 12]
        objects.append({"id": place, "image_id": place, "category_id": 1, "iscrowd": 0, "segmentation": [square]})
    (cells / "splits.csv").unlink()
    content = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "cell"}]}
    (cells / "instances.json").write_text(json.dumps(content))
    classes = [
        {"name": "ground", "color": "#0072b2", "foreground": False, "category": None},
        {"name": "cell", "color": "#e69f00", "foreground": True, "category": "cell"},
    ]
    section = {**SECTION, "source": "coco", "annotations": "instances.json", "classes": classes, "showcase_ids": None}
    section["splits"] = {"validation": 0.3, "test": 0.3}
    data = CocoData.model_validate({**section, "path": str(cells), "ignore_value": []})
    assert sorted(table(run(cells, data))) == sorted(f"Zähler{place}" for place in range(12))


def test_image_id_normalizes_and_keeps_compatible_letters_apart() -> None:
    assert image_id(spelled("é/한국어", "NFD")) == spelled("é__한국어", "NFC")
    assert image_id("\u212b") == image_id("Å")  # the sign for the angstrom is that letter
    assert image_id("ﬁsh") != image_id("fish")  # one character for two letters stays what it is
