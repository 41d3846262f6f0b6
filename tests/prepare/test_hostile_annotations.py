"""Malicious and broken annotation files of every format: one clear message each, and nothing is written."""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.params.data.image_data import AnnotatedData
from tests.prepare.conftest import NAMES, SECTION, create_image

HEIGHT, WIDTH = 16, 24
CORNERS = [[2, 2], [20, 2], [20, 12], [2, 12]]
CLASSES = [
    {key: value for key, value in item.items() if key != "mask_value"} | {"category": category}
    for item, category in zip(SECTION["classes"][:2], ("cell", None), strict=True)
]
DEEP = "[" * 100_000


@dataclass(frozen=True)
class Case:
    """A change to the annotations of one image, and the message that it causes.

    Attributes:
        change: changes the folder.
        message: text that the error must contain.
    """

    change: Callable[[Path], object]
    message: str


def create_annotated_section(path: Path, source: str, annotations: str, **changes: Any) -> AnnotatedData:
    classes = changes.pop("classes", CLASSES)
    section = {**SECTION, "path": str(path), "source": source, "annotations": annotations, "classes": classes}
    return AnnotatedData.model_validate({**section, "ignore_value": [], "showcase_ids": None, **changes})


def change_json(file: str, change: Callable[[Any], object]) -> Callable[[Path], object]:
    """Return a function that loads a JSON file, changes its content, and saves it again."""

    def apply(folder: Path) -> None:
        content = json.loads((folder / file).read_text())
        change(content)
        (folder / file).write_text(json.dumps(content))

    return apply


def write(file: str, text: str | bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / file).write_bytes(text if isinstance(text, bytes) else text.encode())


def replace(file: str, old: str, new: str) -> Callable[[Path], object]:
    def apply(folder: Path) -> None:
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1))

    return apply


def write_labelme(folder: Path) -> None:
    for index, name in enumerate(NAMES):
        create_image(index).save(folder / f"{name}.png")
        shapes = [{"label": "cell", "points": CORNERS, "shape_type": "polygon"}]
        content = {"shapes": shapes, "imagePath": f"{name}.png", "imageHeight": HEIGHT, "imageWidth": WIDTH}
        (folder / f"{name}.json").write_text(json.dumps(content))


def set_shape(**changes: Any) -> Callable[[Path], object]:
    return change_json("cell3.json", lambda content: content["shapes"][0].update(changes))


def lead_outside(folder: Path) -> None:
    change_json("cell3.json", lambda content: content.update(imagePath="../../../../etc/x.png"))(folder)
    (folder / "cell3.json").rename(folder / "other.json")


LABELME = {
    "two points": Case(set_shape(points=CORNERS[:2]), "cell3.png (shape 0 (cell): a polygon of 4 numbers"),
    "NaN": Case(set_shape(points=[*CORNERS, [float("nan"), 1]]), "shape 0 (cell): a polygon with infinite"),
    "text": Case(set_shape(points="all"), "shape 0 (cell): has points that are not pairs of numbers"),
    "huge": Case(set_shape(points=[*CORNERS, [1e12, 1]]), "extends over more than 1,000,000 px"),
    "line": Case(set_shape(shape_type="linestrip"), "shape 0 (cell): is of type linestrip, which has no area"),
    "mask": Case(set_shape(shape_type="mask", points=CORNERS[::2], mask="?"), "shape 0 (cell): has an invalid mask"),
    "no label": Case(set_shape(label=None), "cell3.png (shape 0: has no label)"),
    "unknown label": Case(set_shape(label="moss"), "1 image with objects of categories that no class declares, moss"),
    "traversal": Case(lead_outside, "is listed in the annotations but is missing: ../../../../etc/x.png"),
    "deep": Case(write("cell3.json", DEEP), "cell3.json is not JSON"),
    "not UTF-8": Case(write("cell3.json", b"\xff\xfe{"), "cell3.json is not JSON"),
    "list": Case(write("cell3.json", "[]"), "cell3.json must be a JSON object, but is a list"),
    "missing": Case(lambda folder: (folder / "cell3.json").unlink(), "is not listed in the annotations: cell3"),
    "no size": Case(
        change_json("cell3.json", lambda content: content.update(imageHeight="tall")),
        "without a usable height and width",
    ),
    "other size": Case(
        change_json("cell3.json", lambda content: content.update(imageHeight=17)), "different size than its image"
    ),
    "twice": Case(
        lambda folder: (folder / "copy.json").write_bytes((folder / "cell3.json").read_bytes()),
        "1 name that is shared by several files: cell3.png (annotated as cell3.png and cell3.png)",
    ),
}


def write_yolo(folder: Path) -> None:
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    for index, name in enumerate(NAMES):
        create_image(index).save(folder / f"images/{name}.png")
        (folder / f"labels/{name}.txt").write_text("0 0.1 0.1 0.9 0.1 0.9 0.9\n")
    (folder / "data.yaml").write_text("names: {0: cell}\n")


def copy_image(folder: Path) -> None:
    for name in ("a", "b"):
        (folder / "images" / name).mkdir()
        create_image(99).save(folder / f"images/{name}/cell3.png")
    (folder / "images/cell3.png").unlink()


YOLO = {
    "box": Case(write("labels/cell3.txt", "0 0.5 0.5 0.2 0.2"), "images/cell3.png (line 1: a box)"),
    "two points": Case(write("labels/cell3.txt", "0 0.5 0.5 0.2 0.2 0.3 "), "line 1: a polygon of 5 numbers"),
    "NaN": Case(write("labels/cell3.txt", "0 nan 0.5 0.2 0.2 0.3 0.4"), "line 1: coordinates that are not fractions"),
    "pixels": Case(write("labels/cell3.txt", "0 5 5 20 5 20 12"), "line 1: coordinates that are not fractions"),
    "text": Case(write("labels/cell3.txt", "cell 0.1 0.1"), "line 1: not numbers"),
    "class": Case(write("labels/cell3.txt", "7 0 0 1 0 1 1"), "images/cell3.png (line 1: class 7)"),
    "binary": Case(write("labels/cell3.txt", b"\xff\xfe\x00"), "cannot be used: images/cell3.png (cell3.txt"),
    "broken image": Case(write("images/cell3.png", b"no image"), "without a usable height and width"),
    "no names": Case(write("data.yaml", "train: images"), "data.yaml must have names"),
    "YAML code": Case(write("data.yaml", "names: !!python/object/apply:os.system [ls]"), "data.yaml is not YAML"),
    "deep YAML": Case(write("data.yaml", f"names: {DEEP}"), "data.yaml is not YAML"),
    "no labels": Case(lambda folder: [path.unlink() for path in folder.glob("labels/*")], "none of the images in"),
}


POLYGON = '<polygon label="cell" points="2,2;20,2;20,12"/>'


def write_cvat(folder: Path) -> None:
    (folder / "images").mkdir()
    parts = []
    for index, name in enumerate(NAMES):
        create_image(index).save(folder / f"images/{name}.png")
        size = f'width="{WIDTH}" height="{HEIGHT}"'
        parts.append(f'<image name="{name}.png" {size}>{POLYGON}</image>')
    (folder / "annotations.xml").write_text(f"<annotations>{''.join(parts)}</annotations>")


BOMB = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(9))
XML = "annotations.xml"
CVAT = {
    "entity bomb": Case(
        write(XML, f'<!DOCTYPE a [<!ENTITY e0 "ha">{BOMB}]><annotations>&e9;</annotations>'),
        "annotations.xml has a document type (<!DOCTYPE>), which is refused",
    ),
    "external entity": Case(
        write(XML, '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotations>&x;</annotations>'),
        "has a document type (<!DOCTYPE>), which is refused",
    ),
    "deep": Case(write(XML, "<annotations>" + "<a>" * 1000), "is nested more than 100 levels deep"),
    "cut off": Case(write(XML, "<annotations><image"), "annotations.xml is not XML"),
    "video": Case(write(XML, "<annotations><track/></annotations>"), "has tracks, as CVAT for video"),
    "empty": Case(write(XML, "<annotations/>"), "has no images"),
    "two points": Case(replace(XML, "2,2;20,2;20,12", "2,2;20,2"), "polygon 1 (cell): a polygon of 4 numbers"),
    "NaN": Case(replace(XML, "2,2;20,2;20,12", "2,2;20,nan;20,12"), "polygon 1 (cell): a polygon with infinite"),
    "text": Case(replace(XML, "2,2;20,2;20,12", "2,2;a,b"), "polygon 1 (cell): has points that are not pairs"),
    "traversal": Case(
        replace(XML, 'name="cell0.png"', 'name="../../x.png"'),
        "in the annotations but is missing: ../../x.png",
    ),
    "size": Case(replace(XML, 'height="16"', 'height="99999999"'), "without a usable height and width"),
    "huge mask": Case(
        replace(
            XML,
            POLYGON,
            '<mask label="cell" rle="0, 10000000000" left="0" top="0" width="100000" height="100000"/>',
        ),
        "mask 1 (cell): is a mask of 100000 × 100000 px in an image of 24 × 16",
    ),
    "wrong runs": Case(
        replace(
            XML,
            POLYGON,
            '<mask label="cell" rle="3, -3, 5" left="0" top="0" width="2" height="3"/>',
        ),
        "mask 1 (cell): has run lengths that do not add up to 2 × 3",
    ),
    "same names": Case(copy_image, "cell3.png (the end of the paths of a__cell3, b__cell3)"),
    "polyline": Case(replace(XML, "<polygon", "<polyline"), "polyline 1 (cell): has no area"),
    "twice": Case(
        replace(XML, 'name="cell1.png"', 'name="cell0.png"'),
        "several files: cell0.png (annotated as cell0.png",
    ),
}


def write_label_studio(folder: Path) -> None:
    (folder / "images").mkdir()
    tasks = []
    for index, name in enumerate(NAMES):
        create_image(index).save(folder / f"images/{name}.png")
        value = {"points": [[10, 10], [90, 10], [90, 90]], "polygonlabels": ["cell"]}
        result = {"type": "polygonlabels", "original_width": WIDTH, "original_height": HEIGHT, "value": value}
        tasks.append({"data": {"image": f"/data/upload/1/{name}.png"}, "annotations": [{"result": [result]}]})
    (folder / "export.json").write_text(json.dumps(tasks))


def set_value(**changes: Any) -> Callable[[Path], object]:
    return change_json("export.json", lambda tasks: tasks[3]["annotations"][0]["result"][0]["value"].update(changes))


def set_brush(codes: object) -> Callable[[Path], object]:
    def change(tasks: Any) -> None:
        result = tasks[3]["annotations"][0]["result"][0]
        result.update(type="brushlabels", value={"rle": codes, "brushlabels": ["cell"]})

    return change_json("export.json", change)


def set_bitmask(url: object) -> Callable[[Path], object]:
    def change(tasks: Any) -> None:
        result = tasks[3]["annotations"][0]["result"][0]
        result.update(type="bitmasklabels", value={"imageDataURL": url, "bitmasklabels": ["cell"]})

    return change_json("export.json", change)


def encode_data_url(mode: str, size: tuple[int, int] = (WIDTH, HEIGHT), kind: str = "PNG") -> str:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, kind)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def set_type(name: str) -> Callable[[Path], object]:
    return change_json("export.json", lambda tasks: tasks[3]["annotations"][0]["result"][0].update(type=name))


LABEL_STUDIO = {
    "bitmask without a URL": Case(set_bitmask(None), "region 0 (bitmask): has no imageDataURL with a PNG"),
    "bitmask elsewhere": Case(set_bitmask("http://127.0.0.1/a.png"), "(bitmask): has no imageDataURL with a PNG"),
    "bitmask that is not base64": Case(set_bitmask("data:image/png;base64,é"), "(bitmask): has an invalid PNG"),
    "bitmask that ends": Case(set_bitmask(encode_data_url("RGBA")[:60]), "(bitmask): has an invalid PNG"),
    "bitmask in another format": Case(set_bitmask(encode_data_url("RGB", kind="BMP")), "(bitmask): has an invalid PNG"),
    "bitmask that is huge": Case(
        set_bitmask(encode_data_url("1", (20_000, 20_000))), "region 0 (bitmask): has an invalid PNG"
    ),
    "bitmask of another size": Case(
        set_bitmask(encode_data_url("RGBA", (9, 9))), "has a PNG of 9 × 9 px, but the image has 24 × 16 px"
    ),
    "opaque bitmask": Case(set_bitmask(encode_data_url("L")), "(bitmask): has a PNG without transparency"),
    "unknown type": Case(set_type("newlabels"), "cell3.png (region 0 (new): is of a type that is not read)"),
    "labels apart from shapes": Case(set_type("labels"), "(region 0 (labels): is of a type that is not read)"),
    "two points": Case(set_value(points=[[1, 1], [2, 2]]), "cell3.png (region 0 (polygon): a polygon of 4 numbers"),
    "NaN": Case(set_value(points=[[1, 1], [2, float("nan")], [3, 3]]), "region 0 (polygon): a polygon with infinite"),
    "no label": Case(set_value(polygonlabels=[]), "region 0 (polygon): has no label"),
    "brush of bytes": Case(set_brush([1, 300]), "region 0 (brush): has an rle that is not a list of bytes"),
    "brush of another size": Case(set_brush([255] * 20), "region 0 (brush): has an rle of 4,294,967,295 bytes, but"),
    "brush that ends": Case(set_brush([0, 0, 6, 0, 59]), "region 0 (brush): has an rle that ends early"),
    "empty brush": Case(set_brush([]), "region 0 (brush): has an rle that ends early"),
    "JSON-MIN": Case(write("export.json", '[{"image": "a.png", "label": []}]'), "as JSON, not JSON-MIN"),
    "deep": Case(write("export.json", DEEP), "export.json is not JSON"),
    "traversal": Case(
        change_json("export.json", lambda tasks: tasks[3]["data"].update(image="/data/local-files/?d=../../x.png")),
        "in the annotations but is missing: ../../x.png",
    ),
    "no annotation": Case(
        change_json("export.json", lambda tasks: tasks[3].update(annotations=[])),
        "1 image that is not listed in the annotations: /data/upload/1/cell3.png (no annotation)",
    ),
}


def write_supervisely(folder: Path) -> None:
    for kind in ("img", "ann"):
        (folder / "ds" / kind).mkdir(parents=True)
    for index, name in enumerate(NAMES):
        create_image(index).save(folder / f"ds/img/{name}.png")
        shape = {"geometryType": "polygon", "classTitle": "cell", "points": {"exterior": CORNERS, "interior": []}}
        content = {"size": {"height": HEIGHT, "width": WIDTH}, "objects": [shape]}
        (folder / f"ds/ann/{name}.png.json").write_text(json.dumps(content))
    (folder / "meta.json").write_text(json.dumps({"classes": [{"title": "cell"}]}))


def set_object(**changes: Any) -> Callable[[Path], object]:
    return change_json("ds/ann/cell3.png.json", lambda content: content["objects"][0].update(changes))


def set_bitmap(content: bytes, **changes: Any) -> Callable[[Path], object]:
    bitmap = {"data": base64.b64encode(content).decode(), "origin": [0, 0], **changes}
    return set_object(geometryType="bitmap", bitmap=bitmap)


def encode_large_png() -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    return buffer.getvalue()


SUPERVISELY = {
    "two points": Case(set_object(points={"exterior": CORNERS[:2]}), "object 0 (cell): a polygon of 4 numbers"),
    "hole of two points": Case(
        set_object(points={"exterior": CORNERS, "interior": [CORNERS[:2]]}), "object 0 (cell): a polygon of 4 numbers"
    ),
    "unknown class": Case(set_object(classTitle="moss"), "ds/img/cell3.png (object 0: class moss)"),
    "point": Case(set_object(geometryType="point"), "object 0 (cell): is of type point, which has no area"),
    "no bitmap": Case(set_bitmap(b"no zlib"), "object 0 (cell): has an invalid bitmap"),
    "zlib bomb": Case(set_bitmap(zlib.compress(bytes(200_000_000))), "has a bitmap of more than 100,000,000 bytes"),
    "PNG bomb": Case(set_bitmap(zlib.compress(encode_large_png())), "has an invalid bitmap (is too large"),
    "no origin": Case(set_bitmap(zlib.compress(b""), origin="left"), "object 0 (cell): has no origin"),
    "deep": Case(write("ds/ann/cell3.png.json", DEEP), "ds/ann/cell3.png.json is not JSON"),
    "no classes": Case(write("meta.json", "{}"), "meta.json must have a list of classes"),
    "missing image": Case(
        lambda folder: (folder / "ds/img/cell3.png").unlink(),
        "in the annotations but is missing: ds/img/cell3",
    ),
}


def write_panoptic(folder: Path) -> None:
    for kind in ("images", "panoptic"):
        (folder / kind).mkdir()
    content: dict[str, list[Any]] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cell"}]}
    for index, name in enumerate(NAMES):
        create_image(index).save(folder / f"images/{name}.png")
        pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        pixels[4:, :, 0] = 5
        Image.fromarray(pixels).save(folder / f"panoptic/{name}.png")
        content["images"].append({"id": index, "file_name": f"{name}.png", "height": HEIGHT, "width": WIDTH})
        segments = [{"id": 5, "category_id": 1}]
        content["annotations"].append({"image_id": index, "file_name": f"{name}.png", "segments_info": segments})
    (folder / "panoptic.json").write_text(json.dumps(content))


def set_entry(part: str, **changes: Any) -> Callable[[Path], object]:
    return change_json("panoptic.json", lambda content: content[part][3].update(changes))


PANOPTIC = {
    "traversal": Case(set_entry("images", file_name="../../x.png"), "../../x.png leads outside the folder"),
    "traversal of a mask": Case(
        set_entry("annotations", file_name="../images/cell3.png"), "annotation with the file name '../images/cell3.png'"
    ),
    "absolute mask": Case(set_entry("annotations", file_name="/etc/x.png"), "with the file name '/etc/x.png'"),
    "missing mask": Case(lambda folder: (folder / "panoptic/cell3.png").unlink(), "panoptic/cell3.png (No such file"),
    "unlisted segment": Case(
        set_entry("annotations", segments_info=[]),
        "panoptic/cell3.png (has the segment 5, which the annotations",
    ),
    "unknown category": Case(
        set_entry("annotations", segments_info=[{"id": 5, "category_id": 2}]), "cell3.png (segment 5: category 2)"
    ),
    "no annotation": Case(
        change_json("panoptic.json", lambda content: content["annotations"].pop(3)),
        "is not listed in the annotations: cell3",
    ),
    "unknown image": Case(set_entry("annotations", image_id=99), "the annotation cell3.png belongs to no image"),
    "deep": Case(write("panoptic.json", DEEP), "panoptic.json is not JSON"),
    "wrong parts": Case(write("panoptic.json", "{}"), "'images' must be a list of objects"),
    "size": Case(
        lambda folder: Image.new("RGB", (9, 9)).save(folder / "panoptic/cell3.png"),
        "a different size than its image",
    ),
}


@dataclass(frozen=True)
class Format:
    """A format and its cases."""

    write: Callable[[Path], None]
    annotations: str
    cases: dict[str, Case]
    section: dict[str, Any] = field(default_factory=dict)


FORMATS = {
    "labelme": Format(write_labelme, "**/*.json", LABELME, {"images": "**/*"}),
    "yolo": Format(write_yolo, "data.yaml", YOLO),
    "cvat": Format(write_cvat, XML, CVAT),
    "label_studio": Format(write_label_studio, "export.json", LABEL_STUDIO),
    "supervisely": Format(write_supervisely, "meta.json", SUPERVISELY, {"images": "**/img/*"}),
    "coco_panoptic": Format(write_panoptic, "panoptic.json", PANOPTIC),
}


def list_files(folder: Path) -> list[Path]:
    """List all files and folders, except the cache and the folder of the outputs."""
    return sorted(path for path in folder.rglob("*") if not {".cache", "out"} & set(path.parts))


@pytest.mark.parametrize(("source", "name"), [(source, name) for source, one in FORMATS.items() for name in one.cases])
def test_hostile_annotations_are_reported(
    tmp_path: Path, get_prepare_error: Callable[..., str], source: str, name: str
) -> None:
    one, folder = FORMATS[source], tmp_path / "cells"
    folder.mkdir()
    one.write(folder)
    one.cases[name].change(folder)
    before = list_files(tmp_path)
    message = get_prepare_error(folder, create_annotated_section(folder, source, one.annotations, **one.section))
    assert one.cases[name].message in message, message
    assert list_files(tmp_path) == before


@pytest.mark.parametrize("source", FORMATS)
def test_missing_annotations_and_linked_folders_are_refused(
    tmp_path: Path, get_prepare_error: Callable[..., str], source: str
) -> None:
    one, folder = FORMATS[source], tmp_path / "cells"
    folder.mkdir()
    one.write(folder)
    missing = "none/*.json" if source == "labelme" else "none.json"
    data = create_annotated_section(folder, source, missing, **one.section)
    assert "does not exist" in get_prepare_error(folder, data)
    (tmp_path / "outside").mkdir()
    (
        folder / ("images" if (folder / "images").exists() else "ds/img" if source == "supervisely" else ".") / "more"
    ).symlink_to(tmp_path / "outside")
    data = create_annotated_section(folder, source, one.annotations, **one.section)
    assert "more is a link to a folder" in get_prepare_error(folder, data)


@pytest.mark.parametrize("source", FORMATS)
def test_invalid_images_can_be_skipped(tmp_path: Path, run: Callable[..., Path], source: str) -> None:
    one, folder = FORMATS[source], tmp_path / "cells"
    folder.mkdir()
    one.write(folder)
    case = "two points" if "two points" in one.cases else "unlisted segment"
    one.cases[case].change(folder)
    data = create_annotated_section(folder, source, one.annotations, on_invalid="skip", **one.section)
    prepared = run(folder, data)
    assert len((prepared / "samples.csv").read_text().splitlines()) == len(NAMES)  # with the header
