"""The `data` section of a folder in params.yaml: valid sections, and the message for each error."""

import pytest

from pipeline.errors import PipelineError
from pipeline.params.data.image_data import FolderData
from pipeline.params.file import read_params
from tests.prepare.conftest import SECTION, create_classes, write_folder_params


def create_coco_section(*categories):
    """Create the changes that turn the folder's section into one of COCO annotations."""
    classes = [
        {key: value for key, value in item.items() if key != "mask_value"} | {"category": category}
        for item, category in zip(SECTION["classes"], categories, strict=True)
    ]
    return {"source": "coco", "annotations": "a.json", "classes": classes, "ignore_value": []}


MISTAKES = {
    "key of the other source": ({"samples": {}}, "data.samples: unknown key"),
    "unknown source": (
        {"source": "disk"},
        "data: must have a source that is one of 'composites', 'image_mask_folder', 'huggingface', 'coco', "
        "'coco_panoptic', 'cvat', 'label_studio', 'labelme', 'supervisely', 'yolo', 'geo_vectors', "
        "'oxford_iiit_pet', but is 'disk'.",
    ),
    "no source": ({"source": ...}, "data: must be a section with a source: key"),
    "key of a class": (
        {"classes": [{}, {**SECTION["classes"][0], "colour": "x"}]},
        "classes[1].colour: unknown key; did you mean color?",
    ),
    "unquoted color": ({"classes": [{"color": None}, {}]}, "data.classes[0].color: must be a color in quotes"),
    "color name": (
        {"ignore_value": "black"},
        "data.ignore_value: must be a mask's pixel value, a whole number from 0 to",
    ),
    "boolean for a value": ({"ignore_value": True}, "data.ignore_value: must be a mask's pixel value"),
    "name": ({"classes": [{"name": "a,b"}, {}]}, "data.classes[0].name: must be a name made up of letters"),
    "one class": ({"classes": SECTION["classes"][:1]}, "data.classes: must have at least 2 entr"),
    "resize": ({"resize": "crop"}, "data.resize: must be one of 'stretch' or 'letterbox'"),
    "empty showcase": ({"showcase_ids": []}, "data.showcase_ids: must have at least 1 entry"),
    "showcase twice": ({"showcase_ids": ["a", "a"]}, "data.showcase_ids: 'a' is repeated"),
    "no training fraction": (
        {"splits": {"validation": 0.5, "test": 0.5}},
        "data.splits: validation 0.5 and test 0.5 leave",
    ),
    "value twice": ({"classes": create_classes([1, 0, 1])}, "data.classes: the mask value 1 is repeated"),
    "value ignored": ({"ignore_value": 2}, "data.classes: the mask value 2 is repeated, here or in data.ignore_value"),
    "color twice": (
        {"classes": create_classes(["#00000A", "#00000a", "#000001"])},
        "the mask value '#00000a' is repeated",
    ),
    "numbers and colors": (
        {"classes": create_classes([1, 0, "#00ff00"])},
        "some mask values are numbers and some are col",
    ),
    "no foreground": (
        {"classes": [{**item, "foreground": False} for item in SECTION["classes"]]},
        "data.classes: no class is foreground",
    ),
    "no validation": ({"splits": {"test": 0.2}}, "data.splits.validation: is missing; add it, or write folds"),
    "fraction above 1": ({"splits": {"validation": 1.5, "test": 0}}, "data.splits.validation: must be at most 1"),
    "list without a column": (
        {"splits": {**SECTION["splits"], "split_file": {"file": "a.csv", "id": "name", "split": None}}},
        "data.splits.split_file.group: is missing",
    ),
    "list outside the folder": (
        {"splits": {**SECTION["splits"], "split_file": {"file": "../a.csv", "id": "a", "split": "b", "group": None}}},
        "data.splits.split_file.file: '../a.csv' must be a file in the folder cells",
    ),
    "invalid pattern": (
        {"splits": {**SECTION["splits"], "group_regex": "("}},
        "group_regex: must be a regular expression (",
    ),
    "pattern without a group": (
        {"splits": {**SECTION["splits"], "group_regex": "^p"}},
        "data.splits.group_regex: must be a regular expression with one ( ) around the group",
    ),
    "no channel": ({"channels": 0}, "data.channels: must be at least 1, but is 0"),
    "no border": ({"instances": {"border": 0}}, "data.instances.border: must be at least 1"),
    "instances with other classes": (
        {"instances": {"border": 2}, "ignore_value": 255},
        "data.instances: masks of numbered objects are converted to three classes",
    ),
    "unknown on_invalid": ({"on_invalid": "ignore"}, "data.on_invalid: must be one of 'error' or 'skip'"),
    "two remaining classes": (create_coco_section(["a"], None, None), "data.classes: 2 classes have category: null"),
    "no remaining class": (create_coco_section("a", "b", "c"), "data.classes: 0 classes have category: null"),
    "a category twice": (create_coco_section(["a", "b"], "b", None), "data.classes: the category 'b' is repeated"),
    "annotations outside the folder": (
        {**create_coco_section("a", "b", None), "annotations": "/a.json"},
        "data.annotations: '/a.json' must be a file in the folder cells",
    ),
    "splits of Oxford-IIIT Pet": (
        {"source": "oxford_iiit_pet", "classes": ..., "ignore_value": ...},
        "data.splits: Oxford-IIIT Pet has an official test split and no groups; write test: 0",
    ),
    "two classes of one color": (
        {"classes": [*SECTION["classes"][:2], {**SECTION["classes"][2], "color": "#E69F00"}]},
        "data.classes: 'cell' and 'wall' have the same color, #e69f00, so images would show them as one class. Write "
        "another `color` for one of them.",
    ),
    "categories of one color": (
        {
            **create_coco_section("a", "b", None),
            "classes": [{**item, "color": "#0072b2"} for item in create_coco_section("a", "b", None)["classes"]],
        },
        "data.classes: 'cell', 'ground' and 'wall' have the same color, #0072b2",
    ),
    "downscale of resized images": (
        {"downscale": 2.0},
        "data.downscale: must be 1.0 with image_size: 32, but is 2.0; only native images are downscaled.",
    ),
    "native size without patches": (
        {"image_size": "native"},
        "train.patch_size: variant 'unet' has none, but data.image_size is native. Set the side of the patches",
    ),
    "other words": ({"image_size": "original"}, "data.image_size: must be a whole number of pixels from 16 to 2048"),
    "name twice": ({"classes": [*SECTION["classes"], {**SECTION["classes"][0], "mask_value": 9}]}, "are named 'cell'"),
}


@pytest.mark.parametrize(("changes", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_invalid_section_is_reported(tmp_path, changes, message):
    with pytest.raises(PipelineError) as error:
        read_params(write_folder_params(tmp_path, changes))
    assert message in str(error.value)


def test_max_train_images_may_exceed_the_number_of_images(tmp_path):
    params = read_params(write_folder_params(tmp_path, {"max_train_images": 10_000}))
    assert isinstance(params.data, FolderData)
    assert params.cells()[0].max_train_images == 10_000
