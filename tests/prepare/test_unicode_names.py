"""Names in composed (NFC) and decomposed (NFD, as on macOS) Unicode forms are equal."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from pipeline.params.data.image_data import AnnotatedData
from pipeline.prepare.sample_ids import to_image_id
from tests.prepare.conftest import NAMES, SECTION, create_image, read_samples, write_splits

UNICODE_NAMES = [f"Größe/Präparat {index}" for index in range(12)]
IDS = [name.replace("/", "__") for name in UNICODE_NAMES]


def normalize(text: str, form: str) -> str:
    return unicodedata.normalize(form, text)  # type: ignore[arg-type]


@pytest.fixture
def rename_cells(cells: Path) -> Any:
    """Return a function that renames the images and masks of `cells` in the given Unicode forms."""

    def rename(images: str, masks: str) -> Path:
        for folder, form in (("images", images), ("masks", masks)):
            for name, unicode_name in zip(NAMES, UNICODE_NAMES, strict=True):
                target = cells / folder / f"{normalize(unicode_name, form)}.png"
                target.parent.mkdir(exist_ok=True)
                (cells / folder / f"{name}.png").rename(target)
        (cells / "splits.csv").unlink()
        return cells

    return rename


@pytest.mark.parametrize("splits", ["NFC", "NFD"])
@pytest.mark.parametrize(("images", "masks"), [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
def test_names_in_any_unicode_form_are_matched(
    rename_cells: Any, run: Any, images: str, masks: str, splits: str
) -> None:
    cells = rename_cells(images, masks)
    kinds = ["train", "validation", "test"]
    write_splits(cells, [f"{normalize(name, splits)},{kinds[index % 3]}" for index, name in enumerate(UNICODE_NAMES)])
    rows = read_samples(run(cells, showcase_ids=[normalize(UNICODE_NAMES[3], splits)]))
    assert sorted(rows) == sorted(normalize(name, "NFC") for name in IDS)
    assert rows[normalize(IDS[4], "NFC")]["split"] == "validation"
    assert rows[normalize(IDS[3], "NFC")]["split"] == "showcase"


def test_files_with_equal_normalized_names_are_refused(rename_cells: Any, get_prepare_error: Any) -> None:
    cells = rename_cells("NFC", "NFC")
    create_image(99).save(cells / "images" / f"{normalize('Größe', 'NFC')}" / f"{normalize('Präparat 0', 'NFD')}.png")
    message = get_prepare_error(cells, showcase_ids=None)
    assert "1 name that is shared by several files" in message
    assert "the Unicode form" in message


@pytest.mark.parametrize(("files", "annotations"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_coco_file_names_in_any_unicode_form_are_matched(cells: Path, run: Any, files: str, annotations: str) -> None:
    images, objects = [], []
    for index, name in enumerate(NAMES):
        (cells / "images" / f"{name}.png").rename(cells / "images" / f"{normalize(f'Zähler{index}', files)}.png")
        file = f"{normalize(f'Zähler{index}', annotations)}.png"
        images.append({"id": index, "file_name": file, "width": 24, "height": 16})
        square = [2, 2, 12, 2, 12, 12, 2, 12]
        objects.append({"id": index, "image_id": index, "category_id": 1, "iscrowd": 0, "segmentation": [square]})
    (cells / "splits.csv").unlink()
    content = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "cell"}]}
    (cells / "instances.json").write_text(json.dumps(content))
    classes = [
        {"name": "ground", "color": "#0072b2", "foreground": False, "category": None},
        {"name": "cell", "color": "#e69f00", "foreground": True, "category": "cell"},
    ]
    section = {**SECTION, "source": "coco", "annotations": "instances.json", "classes": classes, "showcase_ids": None}
    section["splits"] = {"validation": 0.3, "test": 0.3}
    data = AnnotatedData.model_validate({**section, "path": str(cells), "ignore_value": []})
    assert sorted(read_samples(run(cells, data))) == sorted(f"Zähler{index}" for index in range(12))


def test_image_id_normalizes_and_keeps_compatible_letters_apart() -> None:
    assert to_image_id(normalize("é/한국어", "NFD")) == normalize("é__한국어", "NFC")
    assert to_image_id("\u212b") == to_image_id("Å")  # the angstrom sign
    assert to_image_id("ﬁsh") != to_image_id("fish")  # a ligature is a different name
