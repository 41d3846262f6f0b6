"""COCO annotations that may be mistakes: crowds, unused categories, geometry that cannot be drawn, odd annotations."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS, PreparedData
from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE
from tests.prepare.conftest import NAMES, WHOLE, table
from tests.prepare.test_coco import CATEGORIES, VALUE, encoded, export, section

SMALL = np.asarray(Image.fromarray(WHOLE).resize((16, 16), 0))  # the masks as they are prepared
CELL, GROUND, WALL = 0, 1, 2  # class indices of `section`
Content = dict[str, Any]


class Export:
    """A folder of `cells` with annotations, and what `prepare` makes of it."""

    def __init__(self, folder: Path, run: Callable[..., Path]) -> None:
        self.folder, self._run = folder, run
        self.content = {**export(folder, VALUE, NAMES), "categories": [*CATEGORIES]}

    @property
    def annotations(self) -> list[Content]:
        return self.content["annotations"]  # of image 0: 0 is a cell, 1 a wall; of image 1: 2, 3; ...

    def cells(self) -> list[Content]:
        return [annotation for annotation in self.annotations if annotation["category_id"] == 7]

    def add(self, image: int, category: int, segmentation: Any, **more: Any) -> None:
        number = max(annotation["id"] for annotation in self.annotations) + 1
        self.annotations.append(
            {"id": number, "image_id": image, "category_id": category, "segmentation": segmentation, **more}
        )

    def prepare(self, **changes: Any) -> Path:
        (self.folder / "instances.json").write_text(json.dumps(self.content))
        return self._run(self.folder, data=section(self.folder, **changes))

    def notices(self, **changes: Any) -> list[str]:
        found = json.loads((self.prepare(**changes) / PreparedData.STATS).read_text())["notices"]
        assert isinstance(found, list)
        return found


@pytest.fixture
def exported(cells: Path, run: Callable[..., Path]) -> Export:
    return Export(cells, run)


def masks(prepared: Path) -> np.ndarray:
    """Read the masks of all splits and of the showcase."""
    return np.concatenate([np.load(prepared / split / PreparedData.MASKS) for split in (*SPLITS, SHOWCASE)])


def pixels(prepared: Path) -> dict[int, int]:
    return {
        int(index): int(count) for index, count in zip(*np.unique(masks(prepared), return_counts=True), strict=True)
    }


def skipped(prepared: Path) -> dict[str, str]:
    with (prepared / PreparedData.SKIPPED).open(encoding="utf-8", newline="") as file:
        return {row["id"]: row["reason"] for row in csv.DictReader(file)}


def polygon(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    return [[left, top, right, top, right, bottom, left, bottom]]


def with_gap() -> dict[str, Any]:
    """Encode two regions as RLE, as a real crowd may have."""
    mask = np.zeros(WHOLE.shape, np.uint8)
    mask[2:5, 2:5] = mask[2:5, 10:13] = 1
    return encoded(mask, as_list=True)


@pytest.mark.parametrize("crowd", [1, True, 1.0, "1", "true"])
def test_crowd_ignored_or_object_gives_the_pixels_of_each(exported: Export, crowd: Any) -> None:
    each = {index: int(np.count_nonzero(value == SMALL)) for index, value in ((CELL, 1), (GROUND, 0), (WALL, 2))}
    for annotation in exported.cells()[::2]:
        annotation["iscrowd"] = crowd
    count = len(NAMES)
    assert pixels(exported.prepare(crowd="object")) == {index: count * found for index, found in each.items()}
    ignored = pixels(exported.prepare())
    assert ignored[IGNORE] == ignored[CELL] == count // 2 * each[CELL]
    assert ignored[WALL] == count * each[WALL]


@pytest.mark.parametrize("crowd", [0, False, None, "0", "", ...])
def test_crowd_not_set_is_an_object_and_not_counted(exported: Export, crowd: Any) -> None:
    for annotation in exported.annotations:
        annotation["iscrowd"] = crowd
        if crowd is ...:
            del annotation["iscrowd"]
    prepared = exported.prepare()
    assert IGNORE not in pixels(prepared)
    assert json.loads((prepared / PreparedData.STATS).read_text())["notices"] == []


@pytest.mark.parametrize("shape", ["polygon", "text", "list"])
def test_crowd_in_any_encoding_looks_like_a_single_object(exported: Export, shape: str) -> None:
    mask = (WHOLE == 1).astype(np.uint8)
    mask[8:] = 0  # the cells of WHOLE are two regions; this is one of them
    for annotation in exported.cells():
        as_rle = encoded(mask, as_list=shape == "list")
        annotation.update(iscrowd=1, segmentation=polygon(12, 0, 24, 8) if shape == "polygon" else as_rle)
    exported.add(0, 7, polygon(0, 0, 1, 1))
    for split in (1, 2, 3):
        exported.add(split, 7, polygon(0, 0, 4, 4))
    (notice,) = (notice for notice in exported.notices() if "iscrowd" in notice)
    assert notice.startswith("12 of 28 annotations are marked as crowds (iscrowd: 1): the pixels of crowds are ignored")
    assert "12 of 12 cover one connected region" in notice
    assert "set data.crowd: object." in notice
    (notice,) = (notice for notice in exported.notices(crowd="object") if "crowd" in notice)
    assert "12 of 12 cover one connected region" in notice
    assert "set data.crowd: ignore." in notice


@pytest.mark.parametrize(
    ("crowds", "objects", "segmentation"),
    [
        (3, 60, polygon(2, 2, 5, 5)),  # a handful in a larger file
        (2, 0, polygon(2, 2, 5, 5)),  # too few to conclude anything
        (12, 0, with_gap()),  # groups
    ],
)
def test_crowd_without_evidence_is_only_counted(exported: Export, crowds: int, objects: int, segmentation: Any) -> None:
    total = len(exported.annotations) + crowds + objects
    for number in range(crowds):
        exported.add(number, 7, segmentation, iscrowd=1)
    for number in range(objects):
        exported.add(number % 12, 7, polygon(0, 0, 1 + number // 12, 1))
    (notice,) = exported.notices()
    assert notice == (
        f"{crowds} of {total} annotations are marked as crowds (iscrowd: 1): the pixels of crowds are ignored, in "
        f"training and in scores."
    )


def test_crowd_over_an_object_hides_it_only_as_a_smaller_object(exported: Export) -> None:
    for image in range(12):
        exported.add(image, 9, polygon(12, 0, 18, 8), iscrowd=1)  # over a part of the cell there
    assert pixels(exported.prepare()) == {CELL: 12 * 128, GROUND: 12 * 64, WALL: 12 * 64}
    assert pixels(exported.prepare(crowd="object")) == {CELL: 12 * 96, GROUND: 12 * 64, WALL: 12 * 96}


def test_crowd_everywhere_as_objects_draws_all_of_them(exported: Export) -> None:
    for annotation in exported.annotations:
        annotation["iscrowd"] = 1
    notice = next(iter(exported.notices(crowd="object")))
    assert notice.startswith("24 of 24 annotations are marked as crowds")
    assert pixels(exported.prepare(crowd="object"))[CELL] == 12 * 128


@pytest.mark.parametrize(
    ("segmentation", "said"),
    [
        ([], "annotation 2: no segmentation"),
        (None, "annotation 2: no segmentation"),
        (..., "annotation 2: no segmentation"),
        ({}, "annotation 2: no segmentation"),
        ([[]], "annotation 2: a polygon of 0 numbers"),
        ([[1, 2, 3, 4]], "annotation 2: a polygon of 4 numbers"),
        ([[1, 2, 3, 4, 5, 6, 7]], "annotation 2: a polygon of 7 numbers"),
        ([1, 2, 3, 4, 5, 6], "annotation 2: is neither a list of polygons nor RLE"),
        ([[1, 2, 3, 4, 5, None]], "annotation 2: is neither a list of polygons nor RLE"),
        ("text", "annotation 2: is neither a list of polygons nor RLE"),
        ({"size": [16, 24]}, "annotation 2: is neither a list of polygons nor RLE with size and counts"),
        ({"size": [24, 16], "counts": [384]}, "annotation 2: RLE of 16 × 24 px, the image 24 × 16"),
        ({"size": [16, 24], "counts": "~"}, "annotation 2: RLE with broken counts"),
        ({"size": [16, 24], "counts": [383]}, "annotation 2: RLE whose counts are of 383 pixels"),
    ],
)
def test_annotation_without_geometry_sets_its_image_aside(exported: Export, segmentation: Any, said: str) -> None:
    exported.annotations[2]["segmentation"] = segmentation
    if segmentation is ...:
        del exported.annotations[2]["segmentation"]
    prepared = exported.prepare(on_invalid="skip")
    assert list(skipped(prepared)) == ["cell1"]
    assert said in skipped(prepared)["cell1"]
    assert set(table(prepared)) == set(NAMES) - {"cell1"}
    with pytest.raises(PipelineError, match="1 image with annotations that cannot be drawn: cell1") as error:
        exported.prepare()
    assert said in str(error.value)
    assert "write data.on_invalid: skip" in str(error.value)


@pytest.mark.parametrize(
    "size", [{"height": 0}, {"width": None}, {"height": "16"}, {"height": 10**6}, {"height": 99_999, "width": 99_999}]
)
def test_image_without_a_size_is_set_aside(exported: Export, size: dict[str, Any]) -> None:
    exported.content["images"][1].update(size)
    prepared = exported.prepare(on_invalid="skip")
    assert list(skipped(prepared)) == ["cell1"]
    assert set(table(prepared)) == set(NAMES) - {"cell1"}


def test_image_with_an_unlisted_category_is_set_aside(exported: Export) -> None:
    exported.annotations[2]["category_id"] = 1
    prepared = exported.prepare(on_invalid="skip")
    assert skipped(prepared)["cell1"].endswith("cell1.png (annotation 2: category 1)")
    assert set(table(prepared)) == set(NAMES) - {"cell1"}


def test_many_broken_annotations_name_three_of_each_image(exported: Export) -> None:
    for _ in range(5):
        exported.add(1, 7, [])
    reason = skipped(exported.prepare(on_invalid="skip"))["cell1"]
    assert reason.endswith("(annotation 24: no segmentation, annotation 25: no segmentation, annotation 26: no "
                           "segmentation and 2 more)")  # fmt: skip


def test_category_without_annotations_is_reported(exported: Export) -> None:
    exported.content["categories"] = [{"id": 0, "name": "cells-x1yz"}, *CATEGORIES]
    said = "1 category has no usable annotation in the images, so `pipeline init` makes no class of it: 'cells-x1yz'."
    assert exported.notices() == [said]
    assert exported.notices(ignore_value=["cells-x1yz"]) == [said]


def test_category_of_missing_images_only_is_unused(exported: Export) -> None:
    exported.content["categories"].append({"id": 3, "name": "debris"})
    exported.content["images"].append({"id": 99, "file_name": "gone.png", "height": 16, "width": 24})
    exported.add(99, 3, polygon(0, 0, 5, 5))
    (notice,) = exported.notices(on_invalid="skip", ignore_value=["debris"])
    assert notice.endswith("makes no class of it: 'debris'.")


def test_category_of_crowds_only_is_reported(exported: Export) -> None:
    exported.content["categories"].append({"id": 3, "name": "debris"})
    exported.add(0, 3, polygon(0, 0, 5, 5), iscrowd=1)
    assert exported.notices(ignore_value=["debris"])[1:] == [
        "Only crowds have the category 'debris': none of their pixels has a class while crowds are ignored."
    ]


@pytest.mark.parametrize("name", ["Cell", "cell ", " CELL", "cell\u00a0", "\uff43ell"])
def test_categories_that_look_alike_are_reported(exported: Export, name: str) -> None:
    exported.content["categories"].append({"id": 3, "name": name})
    exported.annotations[0]["category_id"] = 3
    (notice,) = exported.notices(classes=_with_category(name))
    assert "differ only in case, spaces or Unicode form" in notice


def test_category_with_several_ids_is_one_class_and_reported(exported: Export) -> None:
    before = pixels(exported.prepare())
    exported.content["categories"].append({"id": 3, "name": "cell"})
    exported.annotations[0]["category_id"] = 3
    assert exported.notices() == ["The category 'cell' has several ids (7, 3): they are one class."]
    assert pixels(exported.prepare()) == before


def _with_category(name: str) -> list[dict[str, Any]]:
    cell, *others = section(Path("cells")).model_dump()["classes"]
    return [{**cell, "category": ["cell", name]}, *others]


@pytest.mark.parametrize(
    "segmentation",
    [
        polygon(-9, -9, -3, -3),
        polygon(30, 3, 40, 9),
        polygon(24, 3, 30, 9),  # begins where the image ends
        polygon(3, 3, 3, 9),  # without a width
        polygon(3.1, 3.1, 3.2, 3.2),
        {"size": [16, 24], "counts": [384]},
        encoded(np.zeros(WHOLE.shape, np.uint8)),
    ],
)
def test_annotation_that_covers_no_pixel_is_reported(exported: Export, segmentation: Any) -> None:
    before = pixels(exported.prepare())
    exported.add(1, 7, segmentation)
    assert exported.notices() == [
        "1 annotation covers no pixel of the image: outside of it, too small or empty: annotation 24 in cell1.png."
    ]
    assert pixels(exported.prepare()) == before


def test_annotation_drawn_twice_is_reported(exported: Export) -> None:
    before = pixels(exported.prepare())
    for image, category in ((0, 7), (1, 7), (2, 9)):
        exported.add(image, category, exported.cells()[image]["segmentation"])
    same, other = exported.notices()
    assert same.startswith("2 annotations repeat another one")
    assert other.startswith("1 annotation has the outline of another one of the same image, but another category")
    after = pixels(exported.prepare())
    assert after[WALL] - before[WALL] == before[CELL] - after[CELL] == np.count_nonzero(SMALL == 1)


def test_images_without_annotations_are_reported(exported: Export) -> None:
    exported.content["annotations"] = [one for one in exported.annotations if one["image_id"] not in (1, 2)]
    (notice,) = exported.notices()
    assert notice.startswith("2 of 12 images have no annotation, so all of them is background.")
