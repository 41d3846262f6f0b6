"""Suspicious COCO annotations: crowds, unused categories, invalid geometry and repeated annotations."""

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
from pipeline.prepare.formats.outlines import decode_segmentation
from tests.prepare.conftest import MASK, NAMES, read_samples
from tests.prepare.test_coco import CATEGORIES, VALUES, create_section, encode_rle, export_annotations

SMALL = np.asarray(Image.fromarray(MASK).resize((16, 16), 0))  # the prepared masks
CELL, GROUND, WALL = 0, 1, 2  # class indices of `section`
Content = dict[str, Any]


class Export:
    """The `cells` folder with COCO annotations, which can be changed and prepared."""

    def __init__(self, folder: Path, run: Callable[..., Path]) -> None:
        self.folder, self._run = folder, run
        self.content = {**export_annotations(folder, VALUES, NAMES), "categories": [*CATEGORIES]}

    @property
    def annotations(self) -> list[Content]:
        return self.content["annotations"]  # of image 0: 0 is a cell, 1 a wall; of image 1: 2, 3; ...

    def get_cells(self) -> list[Content]:
        return [annotation for annotation in self.annotations if annotation["category_id"] == 7]

    def add(self, image: int, category: int, segmentation: Any, **more: Any) -> None:
        number = max(annotation["id"] for annotation in self.annotations) + 1
        self.annotations.append(
            {"id": number, "image_id": image, "category_id": category, "segmentation": segmentation, **more}
        )

    def prepare(self, **changes: Any) -> Path:
        (self.folder / "instances.json").write_text(json.dumps(self.content))
        return self._run(self.folder, data=create_section(self.folder, **changes))

    def prepare_notices(self, **changes: Any) -> list[str]:
        notices = json.loads((self.prepare(**changes) / PreparedData.STATS).read_text())["notices"]
        assert isinstance(notices, list)
        return notices


@pytest.fixture
def exported(cells: Path, run: Callable[..., Path]) -> Export:
    return Export(cells, run)


def load_masks(prepared: Path) -> np.ndarray:
    """Read the masks of all splits and of the showcase."""
    return np.concatenate([np.load(prepared / split / PreparedData.MASKS) for split in (*SPLITS, SHOWCASE)])


def count_pixels(prepared: Path) -> dict[int, int]:
    return {
        int(index): int(count)
        for index, count in zip(*np.unique(load_masks(prepared), return_counts=True), strict=True)
    }


def read_skipped(prepared: Path) -> dict[str, str]:
    with (prepared / PreparedData.SKIPPED).open(encoding="utf-8", newline="") as file:
        return {row["id"]: row["reason"] for row in csv.DictReader(file)}


def count_annotated(segmentation: Any, height: int, width: int) -> int:
    """Count the pixels of an annotation."""
    return int(decode_segmentation(segmentation, height, width).sum())


def create_polygon(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    return [[left, top, right, top, right, bottom, left, bottom]]


def encode_two_regions() -> dict[str, Any]:
    """Encode two separate regions as RLE, as in a real crowd."""
    mask = np.zeros(MASK.shape, np.uint8)
    mask[2:5, 2:5] = mask[2:5, 10:13] = 1
    return encode_rle(mask, as_list=True)


@pytest.mark.parametrize("crowd", [1, True, 1.0, "1", "true"])
def test_crowd_pixels_are_ignored_or_of_the_object(exported: Export, crowd: Any) -> None:
    counts = {index: int(np.count_nonzero(value == SMALL)) for index, value in ((CELL, 1), (GROUND, 0), (WALL, 2))}
    for annotation in exported.get_cells()[::2]:
        annotation["iscrowd"] = crowd
    count = len(NAMES)
    assert count_pixels(exported.prepare(crowd="object")) == {index: count * pixels for index, pixels in counts.items()}
    ignored = count_pixels(exported.prepare())
    assert ignored[IGNORE] == ignored[CELL] == count // 2 * counts[CELL]
    assert ignored[WALL] == count * counts[WALL]


@pytest.mark.parametrize("crowd", [0, False, None, "0", "", ...])
def test_annotation_without_crowd_is_an_object_and_not_reported(exported: Export, crowd: Any) -> None:
    for annotation in exported.annotations:
        annotation["iscrowd"] = crowd
        if crowd is ...:
            del annotation["iscrowd"]
    prepared = exported.prepare()
    assert IGNORE not in count_pixels(prepared)
    assert json.loads((prepared / PreparedData.STATS).read_text())["notices"] == []


@pytest.mark.parametrize("shape", ["polygon", "text", "list"])
def test_crowds_of_one_region_are_reported_as_possible_objects(exported: Export, shape: str) -> None:
    mask = (MASK == 1).astype(np.uint8)
    mask[8:] = 0  # keep one of the two regions of MASK
    for annotation in exported.get_cells():
        as_rle = encode_rle(mask, as_list=shape == "list")
        annotation.update(iscrowd=1, segmentation=create_polygon(12, 0, 24, 8) if shape == "polygon" else as_rle)
    exported.add(0, 7, create_polygon(0, 0, 1, 1))
    for split in (1, 2, 3):
        exported.add(split, 7, create_polygon(0, 0, 4, 4))
    (notice,) = (notice for notice in exported.prepare_notices() if "iscrowd" in notice)
    assert notice.startswith("12 of 28 annotations are marked as crowds (iscrowd: 1). The pixels of crowds are ignored")
    assert "12 of 12 cover one connected region" in notice
    assert "set data.crowd: object." in notice
    (notice,) = (notice for notice in exported.prepare_notices(crowd="object") if "crowd" in notice)
    assert "12 of 12 cover one connected region" in notice
    assert "set data.crowd: ignore." in notice


@pytest.mark.parametrize(
    ("crowds", "objects", "segmentation"),
    [
        (3, 60, create_polygon(2, 2, 5, 5)),  # few in a large file
        (2, 0, create_polygon(2, 2, 5, 5)),  # too few to conclude anything
        (12, 0, encode_two_regions()),  # groups
    ],
)
def test_crowds_without_evidence_are_only_counted(
    exported: Export, crowds: int, objects: int, segmentation: Any
) -> None:
    total = len(exported.annotations) + crowds + objects
    for number in range(crowds):
        exported.add(number, 7, segmentation, iscrowd=1)
    for number in range(objects):
        exported.add(number % 12, 7, create_polygon(0, 0, 1 + number // 12, 1))
    (notice,) = (notice for notice in exported.prepare_notices() if "iscrowd" in notice)
    assert notice == (
        f"{crowds} of {total} annotations are marked as crowds (iscrowd: 1). The pixels of crowds are ignored in "
        f"training and scores."
    )


def test_crowd_over_an_object_hides_it_only_as_an_object(exported: Export) -> None:
    for image in range(12):
        exported.add(image, 9, create_polygon(12, 0, 18, 8), iscrowd=1)  # over a part of the cell
    assert count_pixels(exported.prepare()) == {CELL: 12 * 128, GROUND: 12 * 64, WALL: 12 * 64}
    assert count_pixels(exported.prepare(crowd="object")) == {CELL: 12 * 96, GROUND: 12 * 64, WALL: 12 * 96}


def test_crowds_as_objects_are_all_drawn(exported: Export) -> None:
    for annotation in exported.annotations:
        annotation["iscrowd"] = 1
    notice = next(iter(exported.prepare_notices(crowd="object")))
    assert notice.startswith("24 of 24 annotations are marked as crowds")
    assert count_pixels(exported.prepare(crowd="object"))[CELL] == 12 * 128


@pytest.mark.parametrize(
    ("segmentation", "message"),
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
        ({"size": [24, 16], "counts": [384]}, "annotation 2: RLE of 16 × 24 px, but the image is 24 × 16"),
        ({"size": [16, 24], "counts": "~"}, "annotation 2: RLE with invalid counts"),
        ({"size": [16, 24], "counts": [383]}, "annotation 2: RLE whose counts add up to 383 pixels"),
    ],
)
def test_image_with_invalid_geometry_is_skipped(exported: Export, segmentation: Any, message: str) -> None:
    exported.annotations[2]["segmentation"] = segmentation
    if segmentation is ...:
        del exported.annotations[2]["segmentation"]
    prepared = exported.prepare(on_invalid="skip")
    assert list(read_skipped(prepared)) == ["cell1"]
    assert message in read_skipped(prepared)["cell1"]
    assert set(read_samples(prepared)) == set(NAMES) - {"cell1"}
    with pytest.raises(PipelineError, match="1 image with annotations that cannot be drawn: cell1") as error:
        exported.prepare()
    assert message in str(error.value)
    assert "write data.on_invalid: skip" in str(error.value)


@pytest.mark.parametrize(
    "size", [{"height": 0}, {"width": None}, {"height": "16"}, {"height": 10**6}, {"height": 99_999, "width": 99_999}]
)
def test_image_without_a_valid_size_is_skipped(exported: Export, size: dict[str, Any]) -> None:
    exported.content["images"][1].update(size)
    prepared = exported.prepare(on_invalid="skip")
    assert list(read_skipped(prepared)) == ["cell1"]
    assert set(read_samples(prepared)) == set(NAMES) - {"cell1"}


def test_image_with_an_unlisted_category_is_skipped(exported: Export) -> None:
    exported.annotations[2]["category_id"] = 1
    prepared = exported.prepare(on_invalid="skip")
    assert read_skipped(prepared)["cell1"].endswith("cell1.png (annotation 2: category 1)")
    assert set(read_samples(prepared)) == set(NAMES) - {"cell1"}


def test_skipped_image_names_at_most_three_annotations(exported: Export) -> None:
    for _ in range(5):
        exported.add(1, 7, [])
    reason = read_skipped(exported.prepare(on_invalid="skip"))["cell1"]
    assert reason.endswith("(annotation 24: no segmentation, annotation 25: no segmentation, annotation 26: no "
                           "segmentation and 2 more)")  # fmt: skip


def test_category_without_annotations_is_reported(exported: Export) -> None:
    exported.content["categories"] = [{"id": 0, "name": "cells-x1yz"}, *CATEGORIES]
    message = (
        "1 category has no usable annotation in the images, so `pipeline init` creates no class for it: 'cells-x1yz'."
    )
    assert exported.prepare_notices() == [message]
    assert exported.prepare_notices(ignore_value=["cells-x1yz"]) == [message]


def test_category_of_missing_images_is_reported_as_unused(exported: Export) -> None:
    exported.content["categories"].append({"id": 3, "name": "debris"})
    exported.content["images"].append({"id": 99, "file_name": "gone.png", "height": 16, "width": 24})
    exported.add(99, 3, create_polygon(0, 0, 5, 5))
    (notice,) = exported.prepare_notices(on_invalid="skip", ignore_value=["debris"])
    assert notice.endswith("creates no class for it: 'debris'.")


def test_category_with_crowds_only_is_reported(exported: Export) -> None:
    exported.content["categories"].append({"id": 3, "name": "debris"})
    exported.add(0, 3, create_polygon(0, 0, 5, 5), iscrowd=1)
    assert exported.prepare_notices(ignore_value=["debris"])[1:] == [
        "The category 'debris' occurs only in crowds, whose pixels have no class while crowds are ignored."
    ]


@pytest.mark.parametrize("name", ["Cell", "cell ", " CELL", "cell\u00a0", "\uff43ell"])
def test_categories_that_look_alike_are_reported(exported: Export, name: str) -> None:
    exported.content["categories"].append({"id": 3, "name": name})
    exported.annotations[0]["category_id"] = 3
    (notice,) = exported.prepare_notices(classes=_create_classes_with(name))
    assert "differ only in case, spaces or Unicode form" in notice


def test_category_with_several_ids_is_reported_as_one_class(exported: Export) -> None:
    before = count_pixels(exported.prepare())
    exported.content["categories"].append({"id": 3, "name": "cell"})
    exported.annotations[0]["category_id"] = 3
    assert exported.prepare_notices() == ["The category 'cell' has several ids (7, 3), which are treated as one class."]
    assert count_pixels(exported.prepare()) == before


def _create_classes_with(name: str) -> list[dict[str, Any]]:
    cell, *others = create_section(Path("cells")).model_dump()["classes"]
    return [{**cell, "category": ["cell", name]}, *others]


@pytest.mark.parametrize(
    "segmentation",
    [
        create_polygon(-9, -9, -3, -3),
        create_polygon(30, 3, 40, 9),
        create_polygon(24, 3, 30, 9),  # starts at the image's edge
        create_polygon(3, 3, 3, 9),  # has no width
        create_polygon(3.1, 3.1, 3.2, 3.2),
        {"size": [16, 24], "counts": [384]},
        encode_rle(np.zeros(MASK.shape, np.uint8)),
    ],
)
def test_annotation_that_covers_no_pixel_is_reported(exported: Export, segmentation: Any) -> None:
    before = count_pixels(exported.prepare())
    exported.add(1, 7, segmentation)
    assert exported.prepare_notices() == [
        "1 annotation covers no pixel of the image (outside it, too small or empty): annotation 24 in cell1.png."
    ]
    assert count_pixels(exported.prepare()) == before


def test_repeated_annotations_are_reported(exported: Export) -> None:
    before = count_pixels(exported.prepare())
    for image, category in ((0, 7), (1, 7), (2, 9)):
        exported.add(image, category, exported.get_cells()[image]["segmentation"])
    repeated, conflicting = exported.prepare_notices()
    assert repeated.startswith("2 annotations have the same image, outline and category as another one")
    assert conflicting.startswith(
        "1 annotation has the same image and outline as another one, but a different category"
    )
    after = count_pixels(exported.prepare())
    assert after[WALL] - before[WALL] == before[CELL] - after[CELL] == np.count_nonzero(SMALL == 1)


def test_images_without_annotations_are_reported(exported: Export) -> None:
    exported.content["annotations"] = [
        annotation for annotation in exported.annotations if annotation["image_id"] not in (1, 2)
    ]
    (notice,) = exported.prepare_notices()
    assert notice.startswith("2 of 12 images have no annotations, so they are all background.")


def test_overlapping_annotations_are_reported_with_their_share_of_the_pixels(exported: Export) -> None:
    before = [annotation["segmentation"] for annotation in exported.annotations]
    pixels = sum(count_annotated(annotation, 16, 24) for annotation in before)
    assert not any("overlap" in notice for notice in exported.prepare_notices())
    exported.add(0, 7, create_polygon(0, 0, 24, 16))  # everywhere
    exported.add(1, 9, create_polygon(0, 0, 24, 16), iscrowd=1)
    shared = sum(count_annotated(annotation, 16, 24) for annotation in before[:2])
    (notice,) = (notice for notice in exported.prepare_notices() if "overlap" in notice)
    assert notice.startswith(
        f"Annotations overlap in 1 of 12 images, with {shared / (pixels + 384):.2%} of all annotated pixels."
    )
    (notice,) = (notice for notice in exported.prepare_notices(crowd="object") if "overlap" in notice)
    share = 2 * shared / (pixels + 2 * 384)
    assert notice.startswith(f"Annotations overlap in 2 of 12 images, with {share:.2%} of all annotated pixels.")
    exported.annotations.reverse()
    assert notice in exported.prepare_notices(crowd="object")
