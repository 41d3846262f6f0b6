"""Object numbers in the prepared data: those of the masks or annotations, resized like the classes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.artifacts.image_stack import ImageStack
from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS, PreparedData
from pipeline.artifacts.project import PREPARED
from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE
from pipeline.imaging.instances import classify_instances
from pipeline.params.data.image_data import AnnotatedData, FolderData
from pipeline.params.file import read_params
from pipeline.prepare import image_mask_pair
from pipeline.prepare.prepare_data import prepare
from tests.conftest import write_params
from tests.nuclei import COCO_SECTION, SECTION, SIDE, annotate_nuclei, write_nuclei

PrepareNuclei = Callable[..., PreparedData]


@pytest.fixture
def prepare_nuclei(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PrepareNuclei:
    """Return a function that prepares the folder `nuclei` with changes to its section, or with COCO annotations."""
    params = read_params(write_params(tmp_path, {}))
    monkeypatch.chdir(tmp_path)

    def run(coco: bool = False, **changes: object) -> PreparedData:
        model, section = (AnnotatedData, COCO_SECTION) if coco else (FolderData, SECTION)
        data = model.model_validate({**section, **changes})
        prepare(params.model_copy(update={"data": data}))
        return PreparedData(PREPARED)

    return run


def read_numbers(prepared: PreparedData) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the class mask and the object numbers of each sample."""
    found = {}
    for split in (*SPLITS, SHOWCASE):
        samples = prepared.open_split(split)
        assert samples.instances is not None
        assert samples.instances.dtype == np.uint16
        for name, mask, numbers in zip(samples.ids, samples.masks, samples.instances, strict=True):
            found[name] = np.array(mask), np.array(numbers)
    return found


def read_file(name: str) -> np.ndarray:
    with Image.open(f"nuclei/masks/{name}.png") as image:
        return np.asarray(image)


def test_prepare_keeps_every_object_of_the_files(prepare_nuclei: PrepareNuclei) -> None:
    write_nuclei(Path("nuclei"))
    found = read_numbers(prepare_nuclei())
    assert len(found) == 20
    for name, (mask, numbers) in found.items():
        written = read_file(name)
        _, expected = np.unique(np.append(written.ravel(), 0), return_inverse=True)
        np.testing.assert_array_equal(numbers, expected[:-1].reshape(written.shape))
        np.testing.assert_array_equal(mask, classify_instances(written, 1))


def test_prepare_resizes_numbers_like_classes(prepare_nuclei: PrepareNuclei) -> None:
    write_nuclei(Path("nuclei"), shape=(60, 90))
    for mask, numbers in read_numbers(prepare_nuclei(image_size=48)).values():
        assert numbers.shape == mask.shape == (48, 48)
        assert (numbers[mask == 1] > 0).all()
        assert not numbers[(mask == 0) | (mask == IGNORE)].any()
        assert (mask == IGNORE).sum() == 48 * 16


def test_prepare_native_images_keep_their_numbers(prepare_nuclei: PrepareNuclei) -> None:
    write_nuclei(Path("nuclei"), 10, (40, 50))
    write_nuclei(Path("nuclei"), 5, (64, 40))
    for name, (_, numbers) in read_numbers(prepare_nuclei(image_size="native")).items():
        assert numbers.shape == read_file(name).shape
        assert len(np.unique(numbers)) == len(np.unique(read_file(name)))


def test_prepare_again_from_the_cache_gives_the_same_numbers(prepare_nuclei: PrepareNuclei) -> None:
    write_nuclei(Path("nuclei"))
    paths = [PREPARED / split / PreparedData.INSTANCES for split in (*SPLITS, SHOWCASE)]
    prepared = prepare_nuclei()
    before, fingerprint = [path.read_bytes() for path in paths], prepared.dataset.fingerprint
    again = prepare_nuclei()
    assert [path.read_bytes() for path in paths] == before
    assert again.dataset.fingerprint == fingerprint


def test_prepare_masks_of_classes_have_no_numbers(project: Path) -> None:
    assert PreparedData(PREPARED).open_split("train").instances is None
    assert not list(PREPARED.rglob(PreparedData.INSTANCES))


def test_prepare_a_mask_with_too_many_objects_is_invalid(
    prepare_nuclei: PrepareNuclei, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_mask_pair, "MAX_INSTANCES", 3)
    write_nuclei(Path("nuclei"))
    with pytest.raises(PipelineError, match="objects, but at most 3 per image are allowed; cut the image and its mask"):
        prepare_nuclei()


def test_open_split_with_numbers_of_another_shape_is_inconsistent(prepare_nuclei: PrepareNuclei) -> None:
    write_nuclei(Path("nuclei"))
    prepare_nuclei()
    np.save(PREPARED / "test" / PreparedData.INSTANCES, np.zeros((2, 3, 3), np.uint16))
    with pytest.raises(PipelineError, match=r"that of instances.npy is \(2, 3, 3\)"):
        PreparedData(PREPARED).open_split("test")


def test_take_selects_numbers_with_their_images(prepare_nuclei: PrepareNuclei) -> None:
    write_nuclei(Path("nuclei"))
    split = prepare_nuclei().open_split("train")
    chosen = split.take(np.array([2, 0]))
    assert isinstance(chosen.instances, ImageStack)
    assert split.instances is not None
    np.testing.assert_array_equal(chosen.instances[0], split.instances[2])


def test_prepare_coco_annotations_has_the_same_objects_as_masks_that_number_them(prepare_nuclei: PrepareNuclei) -> None:
    write_nuclei(Path("nuclei"), shape=(60, 90))
    expected = read_numbers(prepare_nuclei(image_size=[48, 64]))
    annotate_nuclei(Path("nuclei"))
    found = read_numbers(prepare_nuclei(coco=True, image_size=[48, 64]))
    assert found.keys() == expected.keys()
    for name, (mask, numbers) in found.items():
        np.testing.assert_array_equal(numbers, expected[name][1])
        np.testing.assert_array_equal(mask == 1, numbers > 0)


# Label, group, and left, top, right and bottom edge of squares. Later ones are on top.
SQUARES = (
    ("nucleus", 1, (5, 5, 25, 25)),
    ("nucleus", None, (15, 5, 35, 25)),
    ("nucleus", 1, (30, 5, 50, 25)),
    ("cyst", 1, (5, 40, 25, 60)),
    ("nucleus", 2, (40, 40, 60, 60)),
)


def list_corners(box: tuple[int, int, int, int]) -> list[list[int]]:
    left, top, right, bottom = box
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def write_grouped_labelme(folder: Path) -> dict[str, Any]:
    shapes = [
        {"label": label, "group_id": group, "points": list_corners(box), "shape_type": "polygon"}
        for label, group, box in SQUARES
    ]
    for path in folder.glob("images/*.png"):
        content = {"shapes": shapes, "imagePath": path.name, "imageHeight": SIDE, "imageWidth": SIDE}
        path.with_suffix(".json").write_text(json.dumps(content))
    return {"source": "labelme", "annotations": "images/*.json"}


def write_grouped_cvat(folder: Path) -> dict[str, Any]:
    polygons = ""
    for label, group, box in SQUARES:
        points = ";".join(f"{x},{y}" for x, y in list_corners(box))
        polygons += f'<polygon label="{label}" points="{points}" z_order="0" group_id="{group or 0}"/>'
    images = (
        f'<image name="{path.name}" width="{SIDE}" height="{SIDE}">{polygons}</image>'
        for path in folder.glob("images/*.png")
    )
    (folder / "annotations.xml").write_text(f"<annotations>{''.join(images)}</annotations>")
    return {"source": "cvat", "annotations": "annotations.xml"}


@pytest.mark.parametrize("write", [write_grouped_labelme, write_grouped_cvat])
def test_prepare_shapes_of_a_label_and_group_as_one_object(
    prepare_nuclei: PrepareNuclei, write: Callable[[Path], dict[str, Any]]
) -> None:
    write_nuclei(Path("nuclei"))
    background, nucleus = COCO_SECTION["classes"]
    classes = [background, {**nucleus, "category": ["nucleus", "cyst"]}]
    expected = np.zeros((SIDE, SIDE), int)
    for number, (_, _, (left, top, right, bottom)) in zip((1, 2, 1, 3, 4), SQUARES, strict=True):
        expected[top:bottom, left:right] = number
    for mask, numbers in read_numbers(prepare_nuclei(coco=True, classes=classes, **write(Path("nuclei")))).values():
        np.testing.assert_array_equal(numbers, expected)
        np.testing.assert_array_equal(mask == 1, expected > 0)


def test_prepare_coco_image_with_too_many_objects_is_invalid(
    prepare_nuclei: PrepareNuclei, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_mask_pair, "MAX_INSTANCES", 3)
    write_nuclei(Path("nuclei"))
    annotate_nuclei(Path("nuclei"))
    with pytest.raises(PipelineError, match="objects, but at most 3 per image are allowed; cut the image"):
        prepare_nuclei(coco=True)
