"""Patterns that pair images and masks: what they match, how files are combined, and the message for each error."""

import json
from pathlib import PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.artifacts.prepared_data import PreparedData
from pipeline.params.data.file_pattern import FilePattern
from pipeline.params.file import read_params
from pipeline.prepare.sources.affixes import find_affixes
from tests.prepare.conftest import (
    MASK,
    create_classes,
    create_image,
    create_section,
    load_showcase,
    read_samples,
    validate_data,
    write_folder_params,
)

ENDINGS = (".png", ".tif")
MATCHES = {
    ("images/**/*", "images/a.png"): "a",
    ("images/**/*", "images/day 2/x/a.b.PNG"): "day 2/x/a.b",
    ("images/**/*", "masks/a.png"): None,
    ("images/**/*", "images/a.gif"): None,
    ("images/*", "images/x/a.png"): None,
    ("*_mask.png", "a_mask.png"): "a",
    ("*_mask.png", "a_mask.tif"): None,
    ("*_mask.png", "_mask.png"): None,
    ("*.ome.tif", "cell.1.ome.tif"): "cell.1",
    ("gtFine/*/*/*_gtFine_labelIds", "gtFine/val/bonn/bonn_1_gtFine_labelIds.png"): "val/bonn/bonn_1",
    ("{train,val}/*", "train/a.png"): "train/a",
    ("{train,val}/*", "test/a.png"): None,
    ("ISIC_*_Input/*", "ISIC_Test_v2_Input/a.png"): "Test_v2/a",
    ("*/{any}/*", "p1/x/a.png"): "p1/a",
    ("*/images/{any}", "p1/images/a.png"): "p1",
    ("**/img/*", "img/a.png"): "a",
    ("**/img/*", "a/img/img/a.png"): "a/img/a",
}


@pytest.mark.parametrize(("pattern", "path"), MATCHES)
def test_pattern_matches_the_texts_that_make_the_name(pattern, path):
    match = FilePattern.parse(pattern).match(PurePosixPath(path), ENDINGS)
    assert (match and match.name) == MATCHES[pattern, path]


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ([], ("a_b_c", "1")),
        ([("a_b",)], ("a_b", "c_1")),
        ([("a",), ("a_b",)], ("a_b", "c_1")),
        ([("x",)], ("a_b_c", "1")),
    ],
)
def test_star_next_to_a_class_matches_the_longest_known_name(known, expected):
    match = FilePattern.parse("masks/*_{class}").match(PurePosixPath("masks/a_b_c_1.png"), ENDINGS, known)
    assert (match.name, match.part) == expected


@given(st.lists(st.text("ab*_-", min_size=1, max_size=8), min_size=1, max_size=4), st.text("ab_-", max_size=3))
def test_path_matches_the_pattern_with_its_names_replaced_by_stars(names, suffix):
    path = PurePosixPath("root", *names[:-1], f"{names[-1]}{suffix}.png")
    match = FilePattern.parse(f"root/{'*/' * (len(names) - 1)}*{suffix}").match(path, ENDINGS)
    assert match.texts == tuple(names)
    assert FilePattern.parse(f"root/**/*{suffix}").match(path, ENDINGS).name == "/".join(names)


INVALID = {
    "": "must be a pattern of paths in quotes",
    "/data/*": "must be a path below the folder",
    "../other/*": "must be a path below the folder",
    "a//*": "must be a path below the folder",
    "images/**": "must have ** as the whole name of a folder",
    "images/a**/*": "must have ** as the whole name of a folder",
    "**/a/**/*": "must have ** only once",
    "images/a.png": "must have a wildcard",
    "images/*_*": "must have at most one *",
    "images/{name}": "may have only {class}, {object}, {any}",
    "images/{a,b/*": "has a brace without its counterpart",
    "images/*{class}": "must have text between two wildcards",
    "{class}/*_{object}": "must have only one of {class} and {object}",
    "*_{any}/*_{class}": "must have two wildcards in at most one name",
}


@pytest.mark.parametrize(("pattern", "message"), INVALID.items())
def test_invalid_pattern_is_reported(tmp_path, pattern, message):
    path = write_folder_params(tmp_path, {"images": pattern})
    with pytest.raises(Exception, match=r"data\.images") as error:
        read_params(path)
    assert message in str(error.value)


MISTAKES = {
    "different wildcards": ({"images": "*/*/*"}, "data.masks: 'masks/**/*' has 2 wildcards to compare"),
    "class of images": ({"images": "images/**/{class}_*"}, "data.images: 'images/**/{class}_*' must not have"),
    "text without class": ({"classes": create_classes(["a", 0, 1])}, "the mask value 'a' must be a whole number"),
    "null without class": ({"classes": create_classes([None, 0, 1])}, "the class 'cell' has mask_value: null"),
    "number with class": (
        {"masks": "masks/**/*_{class}", "classes": create_classes([1, None, 2])},
        "mask_value must be a text that it matches, but is 1",
    ),
    "no background": (
        {"masks": "masks/**/*_{class}", "classes": create_classes(["cell", "ground", "wall"])},
        "exactly one class must have mask_value: null",
    ),
    "text twice": (
        {"masks": "masks/**/*_{class}", "classes": create_classes(["cell", None, "cell"])},
        "the mask value 'cell' is repeated",
    ),
    "three classes of objects": ({"masks": "masks/**/{object}_*"}, "masks of one object per file are converted to two"),
    "instances of classes": (
        {"masks": "masks/**/*_{class}", "classes": create_classes(["a", None, "b"]), "instances": {"border": 2}},
        "data.instances: must be null",
    ),
}


@pytest.mark.parametrize(("changes", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_contradictory_patterns_and_classes_are_reported(tmp_path, changes, message):
    with pytest.raises(Exception, match="data") as error:
        read_params(write_folder_params(tmp_path, changes))
    assert message in str(error.value)


@pytest.fixture
def rename(cells):
    """Return a function that moves the images and masks of `cells` to paths with {name}."""

    def move(images, masks):
        (cells / "splits.csv").unlink()
        for kind, target in (("images", images), ("masks", masks)):
            for index, path in enumerate(sorted((cells / kind).iterdir())):
                moved = cells / target.format(name=path.stem, split=("train", "val", "test")[index % 3])
                moved.parent.mkdir(parents=True, exist_ok=True)
                path.rename(moved)
        return cells

    return move


LAYOUTS = {
    "Cityscapes": (
        ("leftImg8bit/{split}/bonn/{name}_leftImg8bit.png", "gtFine/{split}/bonn/{name}_gtFine_labelIds.png"),
        ("leftImg8bit/*/*/*_leftImg8bit.png", "gtFine/*/*/*_gtFine_labelIds.png"),
    ),
    "one folder": (("{name}.png", "{name}_mask.png"), ("*", "*_mask")),
    "folders of a folder": (("{split}/images/{name}.png", "{split}/masks/{name}.png"), ("*/images/*", "*/masks/*")),
    "SegNet": (("{split}/{name}.png", "{split}annot/{name}.png"), ("*/*", "*annot/*")),
}


@pytest.mark.parametrize(("paths", "patterns"), LAYOUTS.values(), ids=LAYOUTS.keys())
def test_patterns_pair_files_and_their_stars_name_splits(run, rename, paths, patterns):
    folder = rename(*paths)
    prepared = run(folder, images=patterns[0], masks=patterns[1], showcase_ids=None)
    rows = read_samples(prepared)
    assert len(rows) == 12
    _, masks = np.load(prepared / "showcase" / PreparedData.IMAGES), np.load(prepared / "showcase" / PreparedData.MASKS)
    np.testing.assert_array_equal(masks[0], np.kron([[1, 0], [0, 2]], np.ones((8, 8))))
    if "{split}" in paths[0]:
        expected = {"train": "train", "val": "validation", "test": "test"}
        splits = {row["split"] for name, row in rows.items() if name.startswith("val__")}
        assert splits == {expected["val"]}


def test_first_unpaired_files_and_the_patterns_are_reported_with_patterns_that_fit(rename, get_prepare_error):
    folder = rename("images/img_{name}.png", "masks/{name}_mask.png")
    message = get_prepare_error(folder)
    for part in (
        "data.masks: no image has a mask",
        "data.images: 'images/**/*': images/img_cell0.png, ",
        "data.masks: 'masks/**/*': masks/cell0_mask.png, ",
        'Write data.images: "images/**/img_*" and data.masks: "masks/**/*_mask".',
    ):
        assert part in message


def test_files_that_match_no_pattern_are_reported_as_a_notice(rename, run):
    folder = rename("images/{name}.png", "masks/{name}_mask.png")
    create_image().save(folder / "masks/overview.png")
    prepared = run(folder, masks="masks/**/*_mask", images="images/**/*", showcase_ids=None)
    notices = json.loads((prepared / PreparedData.STATS).read_text())["notices"]
    assert any("1 image file matches neither" in notice and "masks/overview.png" in notice for notice in notices)


AFFIXES = {
    "none": (["a", "b", "c"], ["a", "b", "c"], (("", ""), ("", ""))),
    "suffix": (["a", "b"], ["a_mask", "b_mask", "c_mask"], (("", ""), ("", "_mask"))),
    "label": (["x/a", "y/b"], ["x/a-label", "y/b-label"], (("", ""), ("", "-label"))),
    "both": (["a_leftImg8bit", "b_leftImg8bit"], ["a_gt", "b_gt"], (("", "_leftImg8bit"), ("", "_gt"))),
    "prefixes": (["img_1", "img_2"], ["mask_1", "mask_2"], (("img_", ""), ("mask_", ""))),
    "letters": (["image001", "image002"], ["label001", "label002"], (("image", ""), ("label", ""))),
    "nothing in common": (["a", "b"], ["c", "d"], None),
    "too few": (["a", "b"], ["a_mask", "other"], None),
}


@pytest.mark.parametrize(("images", "masks", "expected"), AFFIXES.values(), ids=AFFIXES.keys())
def test_find_affixes_returns_the_shortest_that_pair_most_files(images, masks, expected):
    assert find_affixes(images, masks) == expected


def write_parts(folder, texts):
    """Replace the masks with one file per value of `MASK`, whose name ends in a text."""
    (folder / "splits.csv").unlink()
    for path in list((folder / "masks").iterdir()):
        path.unlink()
        for value, text in texts.items():
            Image.fromarray((value == MASK).astype(np.uint8) * 255).save(path.with_name(f"{path.stem}_{text}.png"))
    return folder


PARTS = {"masks": "masks/**/*_{class}", "classes": create_classes(["cell", None, "wall_2"])}


def test_files_of_one_class_are_combined(cells, run):
    _, mask = load_showcase(run(write_parts(cells, {1: "cell", 2: "wall_2"}), **PARTS))
    np.testing.assert_array_equal(mask, np.kron([[1, 0], [0, 2]], np.ones((8, 8))))


def test_class_declared_last_is_on_top_and_missing_files_are_background(cells, run):
    write_parts(cells, {1: "cell", 2: "wall_2"})
    Image.fromarray(np.full_like(MASK, 255)).save(cells / "masks/cell0_wall_2.png")
    (cells / "masks/cell1_wall_2.png").unlink()
    prepared = run(cells, **PARTS)
    _, mask = load_showcase(prepared)
    assert np.unique(mask).tolist() == [2]
    split = read_samples(prepared)["cell1"]["split"]
    names = sorted(name for name, row in read_samples(prepared).items() if row["split"] == split)
    other = np.load(prepared / split / PreparedData.MASKS)[names.index("cell1")]
    np.testing.assert_array_equal(other, np.kron([[1, 0], [0, 1]], np.ones((8, 8))))


def test_files_of_one_object_are_numbered_and_keep_their_numbers(cells, run):
    write_parts(cells, {1: "a", 2: "b"})
    classes = [{**item, "is_boundary": False} for item in create_classes([1, 0, 2])]
    prepared = run(cells, masks="masks/**/*_{object}", classes=classes, instances={"border": 1})
    numbers = np.load(prepared / "showcase" / PreparedData.INSTANCES)[0]
    np.testing.assert_array_equal(numbers, np.kron([[0, 1], [1, 2]], np.ones((8, 8))))


def test_files_of_one_object_become_two_classes_without_instances(cells, run):
    write_parts(cells, {1: "a", 2: "b"})
    classes = create_classes([1, 0, 2])[:2]
    _, mask = load_showcase(run(cells, masks="masks/**/*_{object}", classes=classes))
    np.testing.assert_array_equal(mask, np.kron([[1, 0], [0, 0]], np.ones((8, 8))))


def gray(folder):
    Image.fromarray(MASK * 100).save(folder / "masks/cell3_cell.png")


BROKEN_PARTS = {
    "undeclared": (
        lambda folder: (folder / "masks/cell3_cell.png").rename(folder / "masks/cell3_moss.png"),
        "values that no class declares, moss (192 pixels): masks/cell3_moss.png and 1 more files",
    ),
    "soft": (gray, "masks/cell3_cell.png has 2 values above 0, but a file of one object or class must have one; set"),
    "size": (
        lambda folder: Image.new("L", (9, 9)).save(folder / "masks/cell3_cell.png"),
        "has files of different sizes: 9 × 9 and 24 × 16",
    ),
    "unreadable": (lambda folder: (folder / "masks/cell3_cell.png").write_bytes(b""), "masks/cell3_cell.png is not in"),
    "twice": (
        lambda folder: Image.new("L", (24, 16)).save(folder / "masks/cell3_cell.tif"),
        "shared by several files: masks/cell3_cell.png and masks/cell3_cell.tif",
    ),
}


@pytest.mark.parametrize(("change", "message"), BROKEN_PARTS.values(), ids=BROKEN_PARTS.keys())
def test_invalid_files_of_one_class_are_reported(cells, get_prepare_error, change, message):
    change(write_parts(cells, {1: "cell", 2: "wall_2"}))
    assert message in get_prepare_error(cells, **PARTS)


def test_threshold_divides_soft_files_of_one_class(cells, run):
    write_parts(cells, {1: "cell", 2: "wall_2"})
    Image.fromarray(MASK * 100).save(cells / "masks/cell0_cell.png")
    (cells / "masks/cell0_wall_2.png").unlink()
    _, mask = load_showcase(run(cells, **PARTS, mask_threshold=150))
    np.testing.assert_array_equal(mask, np.kron([[1, 1], [1, 0]], np.ones((8, 8))))


@pytest.mark.parametrize("part", ["class", "object"])
def test_files_of_one_class_or_object_below_the_threshold_give_a_notice(cells, tmp_path, monkeypatch, part):
    monkeypatch.chdir(tmp_path)
    write_parts(cells, {1: "cell", 2: "wall_2"})
    Image.fromarray((MASK == 1).astype(np.uint8)).save(cells / "masks/cell3_cell.png")
    Image.new("L", MASK.shape[::-1]).save(cells / "masks/cell4_cell.png")
    classes = [{**item, "is_boundary": False} for item in create_classes([1, 0, 2])]
    objects = {"masks": "masks/**/*_{object}", "classes": classes, "instances": {"border": 1}}
    section = create_section(cells, **(PARTS if part == "class" else objects), mask_threshold=100)
    [notice] = [one for one in validate_data(section).data.stats.notices if "data.mask_threshold" in one]
    assert notice.startswith("1 mask file has only one class, because the highest value, 1, is below")
    assert "masks/cell3_cell.png" in notice
