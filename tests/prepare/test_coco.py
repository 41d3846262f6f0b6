"""COCO instance annotations as a source: drawn masks, and errors in the annotation file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools import mask as rle

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS, PreparedData
from pipeline.imaging import IGNORE
from pipeline.params import Params
from pipeline.params.data.image_data import AnnotatedData
from pipeline.params.file import read_params
from pipeline.prepare.formats.outlines import draw_annotations, measure_areas
from pipeline.prepare.prepare_data import prepare
from tests.prepare.conftest import MASK, NAMES, ROOT, SECTION, load_showcase

PETS = ROOT.parent / "shared/data/oxford-pets-mini"
CATEGORIES = [{"id": 7, "name": "cell"}, {"id": 9, "name": "wall"}]
CLASSES = [
    {key: value for key, value in item.items() if key != "mask_value"} | {"category": category}
    for item, category in zip(SECTION["classes"], ("cell", None, "wall"), strict=True)
]
VALUES = {7: 1, 9: 2}  # category id to value in the masks of `cells`


def encode_rle(mask: np.ndarray, as_list: bool = False) -> dict[str, Any]:
    """Encode a binary mask as RLE: as text, or as a list of counts as in COCO's crowds."""
    if as_list:
        flat = np.concatenate([[0], mask.T.ravel(), [2]]).astype(int)
        counts = np.diff(np.flatnonzero(np.diff(flat) != 0), prepend=0).tolist()
        return {"size": list(mask.shape), "counts": counts}
    compressed = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": compressed["counts"].decode()}


def export_annotations(folder: Path, values: dict[int, int], names: list[str]) -> dict[str, Any]:
    """Export a folder's masks as COCO annotations."""
    images, annotations = [], []
    for number, name in enumerate(names):
        mask = np.asarray(Image.open(folder / "masks" / f"{name}.png"))
        (file,) = (folder / "images").glob(f"{name}.*")
        images.append({"id": number, "file_name": file.name, "height": mask.shape[0], "width": mask.shape[1]})
        annotations += [
            {"id": len(annotations) + index, "image_id": number, "category_id": category, "iscrowd": 0}
            | {"segmentation": encode_rle(mask == value), "bbox": [0, 0, 1, 1], "area": 1}
            for index, (category, value) in enumerate(values.items())
        ]
    return {"images": images, "annotations": annotations, "categories": CATEGORIES}


def create_section(path: Path, **changes: Any) -> AnnotatedData:
    data = {**SECTION, "source": "coco", "path": str(path), "annotations": "instances.json", "classes": CLASSES}
    del data["ignore_value"]
    return AnnotatedData.model_validate({**data, **changes})


@pytest.fixture
def coco(cells: Path) -> Path:
    """The `cells` folder with COCO annotations instead of masks."""
    (cells / "instances.json").write_text(json.dumps(export_annotations(cells, VALUES, NAMES)))
    shutil.move(cells / "masks", cells.parent / "masks")
    return cells


@pytest.fixture
def create_coco_params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Params]:
    params = read_params(ROOT / "params.yaml")
    monkeypatch.chdir(tmp_path)
    return lambda data: params.model_copy(update={"data": data})


@pytest.fixture
def get_annotation_error(get_prepare_error: Callable[..., str], coco: Path) -> Callable[..., str]:
    """Return a function that changes the annotations and returns the error of `prepare`."""

    def get_error(change: Callable[[dict[str, Any]], object] = lambda _: None, **changes: Any) -> str:
        file = coco / "instances.json"
        content = json.loads(file.read_text())
        change(content)
        file.write_text(json.dumps(content))
        return get_prepare_error(coco, data=create_section(coco, **changes))

    return get_error


def test_annotations_and_masks_of_the_same_objects_give_the_same_data(
    cells: Path, coco: Path, create_coco_params: Callable[..., Params], run: Callable[..., Path], tmp_path: Path
) -> None:
    dataset = prepare(create_coco_params(create_section(coco)), tmp_path / "coco")
    assert [item.name for item in dataset.classes] == ["cell", "ground", "wall"]
    shutil.move(cells.parent / "masks", cells / "masks")
    from_masks = json.loads((run(cells) / PreparedData.CLASSES).read_text())
    assert dataset.fingerprint == from_masks["fingerprint"]


def test_annotations_and_masks_of_pets_give_the_same_arrays(
    create_coco_params: Callable[..., Params], run: Callable[..., Path], tmp_path: Path
) -> None:
    """RLE gives equal masks; polygons, whose corners are between pixels, differ by rounding at the outlines."""
    if not PETS.is_dir():
        pytest.skip("oxford-pets-mini is not next to the repository")
    names = [path.stem for path in sorted((PETS / "images").iterdir())[:40]]
    for kind in ("folder", "coco"):
        (tmp_path / kind / "images").mkdir(parents=True)
        for name in names:
            (tmp_path / kind / "images" / f"{name}.jpg").symlink_to(PETS / "images" / f"{name}.jpg")
    (tmp_path / "folder/masks").mkdir()
    for name in names:
        (tmp_path / "folder/masks" / f"{name}.png").symlink_to(PETS / "masks" / f"{name}.png")
    pets = {7: 1, 9: 3}
    content = export_annotations(tmp_path / "folder", pets, names)
    changes = {"image_size": 64, "showcase_ids": [names[0]], "on_invalid": "skip"}
    classes = [{**item, "mask_value": value} for item, value in zip(SECTION["classes"], (1, 2, 3), strict=True)]
    folder = run(tmp_path / "folder", classes=classes, **changes)
    for shape in ("rle", "polygons"):
        if shape == "polygons":
            for annotation in content["annotations"]:
                name, value = names[annotation["image_id"]], pets[annotation["category_id"]]
                mask = np.asarray(Image.open(PETS / "masks" / f"{name}.png"))
                annotation["segmentation"] = _create_polygons(mask == value)
        (tmp_path / "coco/instances.json").write_text(json.dumps(content))
        out = tmp_path / shape
        prepare(create_coco_params(create_section(tmp_path / "coco", **changes)), out)
        assert (out / PreparedData.SAMPLES).read_text().splitlines()[0] == (
            folder / PreparedData.SAMPLES
        ).read_text().splitlines()[0]
        for split in (*SPLITS, SHOWCASE):
            ours, theirs = (np.load(root / split / PreparedData.MASKS) for root in (out, folder))
            np.testing.assert_array_equal(*(np.load(root / split / PreparedData.IMAGES) for root in (out, folder)))
            assert (ours != theirs).mean() <= (0 if shape == "rle" else 0.002)


def _create_polygons(mask: np.ndarray) -> list[list[float]]:
    """Create one rectangle per run of pixels in a row."""
    polygons: list[list[float]] = []
    for y, row in enumerate(mask):
        borders = np.flatnonzero(np.diff(np.concatenate([[0], row, [0]])))
        for begin, end in borders.reshape(-1, 2).tolist():
            polygons.append([begin, y, end, y, end, y + 1, begin, y + 1])
    return polygons


@given(arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 1)), st.booleans())
@settings(max_examples=60, deadline=None)
def test_draw_annotations_decodes_any_rle(mask: np.ndarray, as_list: bool) -> None:
    text = json.dumps([{"id": 1, "category_id": 3, "iscrowd": 0, "segmentation": encode_rle(mask, as_list)}])
    found = draw_annotations(text, *mask.shape, {3: 5}, 2, objects=[5])
    np.testing.assert_array_equal(found.classes, np.where(mask, 5, 2))
    np.testing.assert_array_equal(found.numbers, mask)


def create_rectangle(number: int, category: int, box: tuple[int, int, int, int], crowd: int = 0) -> dict[str, Any]:
    """Create an annotation of an image of 10 x 10 px from the top, left, bottom and right of a rectangle."""
    top, left, bottom, right = box
    mask = np.zeros((10, 10), np.uint8)
    mask[top:bottom, left:right] = 1
    polygon = [[left, top, right, top, right, bottom, left, bottom]]
    segmentation = encode_rle(mask, as_list=True) if crowd else polygon
    return {"id": number, "category_id": category, "iscrowd": crowd, "segmentation": segmentation}


def test_draw_annotations_puts_small_objects_on_top_and_crowds_at_the_bottom() -> None:
    small, large = create_rectangle(1, 1, (2, 2, 4, 4)), create_rectangle(2, 2, (0, 0, 8, 8))
    crowd = create_rectangle(3, 1, (6, 6, 10, 10), crowd=1)
    expected = np.zeros((10, 10), np.uint8)
    expected[6:10, 6:10] = IGNORE
    expected[0:8, 0:8] = 2
    expected[2:4, 2:4] = 1
    for order in ([small, large, crowd], [crowd, large, small], [large, crowd, small]):
        found = draw_annotations(json.dumps(order), 10, 10, {1: 1, 2: 2}, 0, objects=[1, 2])
        np.testing.assert_array_equal(found.classes, expected)
        np.testing.assert_array_equal(found.numbers, np.where(expected == IGNORE, 0, expected))


def test_draw_annotations_numbers_visible_objects_in_the_order_of_their_ids() -> None:
    annotations = [
        create_rectangle(40, 1, (0, 0, 3, 3)),
        create_rectangle(30, 1, (4, 4, 6, 6)),  # hidden by the next one
        create_rectangle(31, 1, (4, 4, 6, 6)),
        create_rectangle(20, 2, (7, 0, 9, 9)),  # no object
        create_rectangle(10, 3, (0, 4, 3, 9)),  # ignored
        create_rectangle(50, 1, (2, 2, 5, 5), crowd=1),
    ]
    index_of = {1: 1, 2: 2, 3: IGNORE}
    found = draw_annotations(json.dumps(annotations), 10, 10, index_of, 0, objects=[1])
    expected = np.zeros((10, 10), np.int32)
    expected[4:6, 4:6], expected[0:3, 0:3] = 1, 2
    np.testing.assert_array_equal(found.numbers, expected)
    found = draw_annotations(json.dumps(annotations), 10, 10, index_of, 0, objects=[1], crowds_are_objects=True)
    expected[2:5, 2:5] = 3  # its area is that of object 40, but its id is higher
    expected[4:6, 4:6] = 1
    np.testing.assert_array_equal(found.numbers, expected)


@given(st.lists(arrays(bool, (5, 7), elements=st.booleans()), max_size=6))
def test_measure_areas_counts_the_pixels_of_masks(masks: list[np.ndarray]) -> None:
    found = measure_areas([encode_rle(mask)["counts"] for mask in masks])
    assert found == (sum(int(mask.sum()) for mask in masks), int(np.any(masks, axis=0).sum()) if masks else 0)


def test_category_in_ignore_value_is_ignored(
    coco: Path, create_coco_params: Callable[..., Params], tmp_path: Path
) -> None:
    classes = [item for item in CLASSES if item["name"] != "wall"]
    prepare(create_coco_params(create_section(coco, classes=classes, ignore_value=["wall"])), tmp_path / "out")
    _, mask = load_showcase(tmp_path / "out")
    assert set(np.unique(mask)) == {0, 1, IGNORE}
    np.testing.assert_array_equal(mask == IGNORE, np.asarray(Image.fromarray(MASK).resize((16, 16), 0)) == 2)


def test_several_categories_can_be_one_class(
    coco: Path, create_coco_params: Callable[..., Params], tmp_path: Path
) -> None:
    classes = [{**CLASSES[0], "category": ["cell", "wall"]}, CLASSES[1]]
    prepare(create_coco_params(create_section(coco, classes=classes)), tmp_path / "out")
    _, mask = load_showcase(tmp_path / "out")
    np.testing.assert_array_equal(mask == 0, np.asarray(Image.fromarray(MASK).resize((16, 16), 0)) > 0)


def test_file_name_with_the_image_folder_is_accepted(
    coco: Path, create_coco_params: Callable[..., Params], tmp_path: Path
) -> None:
    content = json.loads((coco / "instances.json").read_text())
    for image in content["images"]:
        image["file_name"] = f"images/{image['file_name']}"
    (coco / "instances.json").write_text(json.dumps(content))
    prepare(create_coco_params(create_section(coco)), tmp_path / "out")
    assert (tmp_path / "out" / PreparedData.SAMPLES).read_text().count("cell") >= len(NAMES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("categories"), "'categories' must be a list, but is missing"),
        (lambda c: c.update(images={}), "'images' must be a list, but is an object"),
        (lambda c: c["images"].append(7), "1 entry that cannot be read: images[12] (not an object)"),
        (lambda c: c["images"][0].pop("id"), "1 entry that cannot be read: images[0] (id)"),
        (
            lambda c: c["images"][1].update(id=0),
            "1 image id that is shared by several images: 0 (cell0.png and cell1.png)",
        ),
        (
            lambda c: c["images"][0].update(width=0),
            "1 image without a usable height and width in the annotations: cell0",
        ),
        (lambda c: c["images"][0].update(width=99_999, height=99_999), "cell0.png (height 99999, width 99999)"),
        (lambda c: c["images"][0].update(file_name="../cell0.png"), "../cell0.png (leads outside the folder)"),
        (lambda c: c["images"][0].update(file_name="/cell0.png"), "/cell0.png (is an absolute path)"),
        (lambda c: c["images"][0].update(file_name="C:\\a.png"), "C:\\a.png (is an absolute path)"),
        (lambda c: c["images"][0].update(file_name="a\nb.png"), "a\\nb.png (has a line break"),
        (
            lambda c: c["images"][1].update(file_name="cell0.jpg"),
            "1 name that is shared by several images: cell0.png and",
        ),
        (
            lambda c: c["annotations"][0].update(image_id=99),
            "1 annotation of an image that is not in images: annotation 0",
        ),
        (
            lambda c: c["annotations"][0].update(category_id=1),
            "1 image with annotations of categories that are not listed: cell0.png (annotation 0: category 1)",
        ),
        (
            lambda c: c["annotations"][0].update(segmentation=[]),
            "1 image with annotations that cannot be drawn: cell0.png (annotation 0: no segmentation). Draw",
        ),
        (
            lambda c: [annotation.pop("segmentation") for annotation in c["annotations"]],
            "24 annotations without a segmentation: annotation 0, annotation 1, annotation 2,",
        ),
        (lambda c: c["annotations"][0].update(iscrowd=2), "1 entry that cannot be read: annotation 0 (iscrowd)"),
        (lambda c: c["annotations"][0].update(iscrowd=[]), "1 entry that cannot be read: annotation 0 (iscrowd)"),
        (lambda c: c["annotations"][0].update(segmentation=[[1, 2, 3, 4]]), "a polygon of 4 numbers"),
        (lambda c: c["annotations"][0].update(segmentation=[[1e9] * 6]), "extends over more than 1,000,000 px"),
        (lambda c: c["annotations"][0].update(segmentation=[["1"] * 6]), "is neither a list of polygons nor RLE"),
        (
            lambda c: c["annotations"][0]["segmentation"].update(size=[3, 3]),
            "RLE of 3 × 3 px, but the image is 24 × 16",
        ),
        (lambda c: c["annotations"][0]["segmentation"].update(counts="~"), "RLE with invalid counts"),
        (
            lambda c: c["annotations"][0]["segmentation"].update(counts=[5]),
            "counts add up to 5 pixels, but the image has 384",
        ),
        (lambda c: c["annotations"][0]["segmentation"].update(counts=[-5, 389]), "RLE with invalid counts"),
        (lambda c: c["annotations"][0].update(segments_info=[]), "1 panoptic annotation"),
        (lambda c: c["categories"].append({"id": 7, "name": "dog"}), "7 (cell and dog)"),
    ],
)
def test_invalid_annotations_are_refused(
    get_annotation_error: Callable[..., str], change: Callable[[Any], object], message: str
) -> None:
    assert message in get_annotation_error(change)


def test_all_errors_in_annotations_are_reported_together(get_annotation_error: Callable[..., str]) -> None:
    def change(content: dict[str, Any]) -> None:
        for annotation in content["annotations"][:15]:
            annotation["segmentation"] = []
        content["images"][11]["width"] = "wide"

    message = get_annotation_error(change)
    assert (
        "8 images with annotations that cannot be drawn: cell0.png (annotation 0: no segmentation, annotation 1"
        in message
    )
    assert "1 image without a usable height and width in the annotations: cell11.png" in message


def test_missing_and_unlisted_images_are_named(coco: Path, get_annotation_error: Callable[..., str]) -> None:
    (coco / "images/cell3.png").unlink()
    shutil.copy(coco / "images/cell4.png", coco / "images/other.png")
    message = get_annotation_error()
    assert "1 image that is listed in the annotations but is missing: cell3.png." in message
    assert "1 image that is not listed in the annotations: images/other.png." in message


def test_category_without_a_class_is_named_with_its_objects(get_annotation_error: Callable[..., str]) -> None:
    message = get_annotation_error(classes=[item for item in CLASSES if item["name"] != "wall"])
    assert "12 images with objects of categories that no class declares, wall (12 objects): cell0.png (wall)" in message
    assert "or to data.ignore_value to ignore its pixels." in message


def test_missing_category_is_named(get_annotation_error: Callable[..., str]) -> None:
    message = get_annotation_error(classes=[{**CLASSES[0], "category": "cels"}, *CLASSES[1:]])
    assert message == (
        "data.classes: instances.json has no category 'cels'; its categories are cell, wall. Did you mean 'cell'?"
    )


def test_different_size_of_annotations_and_image_is_reported(get_annotation_error: Callable[..., str]) -> None:
    def swap_sides(content: dict[str, Any]) -> None:
        content["images"][2].update(height=24, width=16)
        for annotation in content["annotations"]:
            if annotation["image_id"] == 2:
                annotation["segmentation"]["size"] = [24, 16]

    assert "instances.json for images/cell2.png (16 × 24, but the image is 24 × 16)" in get_annotation_error(swap_sides)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "instances.json is not JSON"),
        (b"\xff\xfe", "instances.json is not JSON"),
        (b"[" * 100_000, "instances.json is not JSON"),
        (b"[]", "must be a JSON object, but is a list"),
    ],
)
def test_invalid_json_is_refused(
    coco: Path, get_prepare_error: Callable[..., str], content: bytes, message: str
) -> None:
    (coco / "instances.json").write_bytes(content)
    assert message in get_prepare_error(coco, data=create_section(coco))


def test_missing_annotation_file_is_named(coco: Path, get_prepare_error: Callable[..., str]) -> None:
    message = get_prepare_error(coco, data=create_section(coco, annotations="other.json"))
    assert message.startswith(f"data.annotations: {coco / 'other.json'} does not exist. Set data.annotations to")
