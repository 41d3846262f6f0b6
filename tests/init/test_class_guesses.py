"""`init` guesses which mask values are classes, ignored, background, boundary or numbered objects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from scipy import ndimage

from pipeline.cli import main
from pipeline.init.palettes import CAMVID, CITYSCAPES, PASCAL_VOC, Palette
from tests.cases.inputs import write_coco
from tests.init.conftest import SIZE, InitResult, draw_disc

RunInit = Callable[..., InitResult]
COUNT = 24
NAMES = [f"a{index:02}" for index in range(COUNT)]


def draw_regions(index: int, values: list[int], count: int = 12) -> np.ndarray:
    """Divide a mask into regions around random points, with values drawn from a list."""
    rng = np.random.default_rng(index)
    points, labels = rng.integers(0, SIZE, (count, 2)), rng.choice(values, count)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    nearest = ((rows[..., None] - points[:, 0]) ** 2 + (columns[..., None] - points[:, 1]) ** 2).argmin(-1)
    return labels[nearest].astype(np.uint8)


def draw_scattered(mask: np.ndarray, value: int, index: int) -> np.ndarray:
    """Draw pixels of a value, evenly spread over the mask."""
    shift = index % 4
    for row in range(shift, SIZE - 1, 8):
        mask[row, shift::8] = value
    return mask


def draw_street(index: int) -> np.ndarray:
    """Draw a sky (0) above ten other classes."""
    mask = draw_regions(index, list(range(1, 11)))
    mask[: 5 + index % 6] = 0
    return mask


def make_masks(draw: Callable[[int], Any]) -> dict[str, Any]:
    return {name: draw(index) for index, name in enumerate(NAMES)}


def get_names(result: InitResult) -> dict[Any, str]:
    return {item["mask_value"]: item["name"] for item in result.data["classes"]}


def get_attribute(result: InitResult, key: str) -> dict[Any, Any]:
    return {item["mask_value"]: item.get(key, False) for item in result.data["classes"]}


def find_notice(result: InitResult, part: str) -> str:
    [sentence] = [sentence for sentence in result.notices if part in sentence]
    return sentence


RESERVED_VALUES = {
    "254": (lambda index: [254], list(range(12))),
    "250": (lambda index: [250], [0, 1, 2]),
    "two values": (lambda index: [254, 255], list(range(12))),
    "255 above many classes": (lambda index: [255], list(range(100))),
}


@pytest.mark.parametrize("case", RESERVED_VALUES)
def test_init_ignores_reserved_values(run_init: RunInit, case: str) -> None:
    voids, values = RESERVED_VALUES[case]

    def draw(index: int) -> np.ndarray:
        mask = draw_regions(index, values)
        for row, void in enumerate(voids(index)):
            mask[row] = void
        return mask

    result = run_init(make_masks(draw))
    expected = voids(0)
    assert result.data["ignore_value"] == (expected[0] if len(expected) == 1 else expected)
    assert not set(expected) & set(result.values)
    for void in expected:
        assert "write ignore_value: null" in find_notice(
            result, f"{void} is interpreted as unknown (ignore_value: {void})"
        )


@pytest.mark.parametrize("values", [[0, 64, 128, 254], [0, 50, 100, 150, 200, 250]])
def test_init_keeps_gray_levels_up_to_a_reserved_value_as_classes(run_init: RunInit, values: list[int]) -> None:
    result = run_init(make_masks(lambda index: draw_regions(index, values)))
    assert result.data["ignore_value"] is None
    assert sorted(result.values) == values


@pytest.mark.parametrize("void", [0, 11])
def test_init_ignores_a_value_scattered_between_all_classes(run_init: RunInit, void: int) -> None:
    classes = [value for value in range(12) if value != void]
    result = run_init(make_masks(lambda index: draw_scattered(draw_regions(index, classes), void, index)))
    assert result.data["ignore_value"] == void
    assert sorted(result.values) == classes
    assert "write ignore_value: null" in find_notice(
        result, f"{void} is interpreted as unlabeled (ignore_value: {void})"
    )


def test_init_keeps_a_last_class_that_is_like_the_others(run_init: RunInit) -> None:
    result = run_init(make_masks(lambda index: draw_regions(index, list(range(12)))))
    assert result.data["ignore_value"] is None
    assert sorted(result.values) == list(range(12))


def test_init_keeps_value_0_of_many_classes_as_a_class_and_reports_it(run_init: RunInit) -> None:
    result = run_init(make_masks(draw_street))
    assert get_names(result) == {value: f"class_{value}" for value in range(11)}
    assert all(get_attribute(result, "foreground").values())
    sentence = find_notice(result, "No value looks like a background")
    assert "including 0 (class_0)" in sentence
    assert "write foreground: false" in sentence
    assert "write ignore_value: 0" in sentence
    assert not any("surrounded" in other or "inverted" in other for other in result.notices)


def test_init_takes_value_0_that_surrounds_small_classes_as_background(run_init: RunInit) -> None:
    def draw(index: int) -> np.ndarray:
        mask = np.zeros((SIZE, SIZE), np.uint8)
        mask[4:28, 4:28] = draw_regions(index, list(range(1, 11)))[4:28, 4:28]
        return mask

    result = run_init(make_masks(draw))
    assert get_names(result)[0] == "background"
    assert get_attribute(result, "foreground") == {value: value > 0 for value in range(11)}


@pytest.mark.parametrize("background", [3, 10])
def test_init_takes_another_value_than_0_that_surrounds_classes_as_background(
    run_init: RunInit, background: int
) -> None:
    classes = [value for value in range(11) if value != background]

    def draw(index: int) -> np.ndarray:
        mask = np.full((SIZE, SIZE), background, np.uint8)
        mask[4:28, 4:28] = draw_regions(index, classes)[4:28, 4:28]
        return mask

    result = run_init(make_masks(draw))
    assert get_names(result)[background] == "background"
    assert get_attribute(result, "foreground") == {value: value != background for value in range(11)}
    sentence = find_notice(result, f"{background} is interpreted as the background, because it is 43.8% of the pixels")
    assert "100.0% of those at the edges of masks. 0 is interpreted as a class (class_0)" in sentence
    assert "write foreground: true" in sentence
    assert not any("looks like a background" in other for other in result.notices)


def test_init_of_a_palette_whose_last_color_is_the_background(run_init: RunInit) -> None:
    def draw(index: int) -> Image.Image:
        indices = np.full((SIZE, SIZE), 3, np.uint8)
        indices[4:10, 4:10], indices[14:20, 14:20], indices[4:10, 20:26] = 0, 1, 2
        image = Image.fromarray(np.roll(indices, index % 4, 0))
        image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0])
        return image

    result = run_init(make_masks(draw))
    assert get_attribute(result, "foreground") == {value: value < 3 for value in range(4)}
    assert not any("instances: {border: 2}" in sentence for sentence in result.notices)


def draw_trimap(index: int, inside: int, outside: int, border: int) -> np.ndarray:
    grown = ndimage.binary_dilation(draw_disc(index), iterations=1)
    mask = np.where(draw_disc(index), inside, outside)
    mask[grown & ~ndimage.binary_erosion(draw_disc(index), iterations=1)] = border
    return mask.astype(np.uint8)


@pytest.mark.parametrize("values", [(1, 2, 3), (1, 0, 2), (255, 0, 128), (2, 1, 0)])
def test_init_takes_the_border_of_trimaps_as_boundary(run_init: RunInit, values: tuple[int, int, int]) -> None:
    inside, outside, border = values
    result = run_init(make_masks(lambda index: draw_trimap(index, *values)))
    assert get_names(result) == {outside: "background", inside: "foreground", border: "border"}
    assert [value for value, is_boundary in get_attribute(result, "is_boundary").items() if is_boundary] == [border]
    assert [value for value, is_foreground in get_attribute(result, "foreground").items() if is_foreground] == [inside]
    assert "write is_boundary: false and foreground: true" in find_notice(
        result, f"{border} is interpreted as the boundary"
    )


def test_init_keeps_a_class_around_another_one(run_init: RunInit) -> None:
    def draw(index: int) -> np.ndarray:
        nucleus = ndimage.binary_erosion(draw_disc(index), iterations=3)
        return np.where(nucleus, 2, draw_disc(index)).astype(np.uint8)

    assert not any(get_attribute(run_init(make_masks(draw)), "is_boundary").values())


def test_init_keeps_an_incomplete_outline_as_a_class(run_init: RunInit) -> None:
    def draw(index: int) -> np.ndarray:
        mask = draw_trimap(index, 1, 0, 2)
        mask[:, : SIZE // 2] = np.minimum(draw_disc(index), 1)[:, : SIZE // 2]
        return mask

    assert not any(get_attribute(run_init(make_masks(draw)), "is_boundary").values())


def draw_label_image(side: int, step: int = 9) -> np.ndarray:
    """Draw squares with unique random numbers."""
    rng = np.random.default_rng(0)
    rows = side // step
    numbers = np.sort(rng.choice(np.arange(17, 60_000), rows * rows, replace=False)).reshape(rows, rows)
    labels = np.kron(numbers, np.ones((step, step), int))
    inner = np.kron(np.ones((rows, rows), int), np.pad(np.ones((step - 3, step - 3), int), ((1, 2), (1, 2))))
    return np.pad(labels * inner, ((0, side - rows * step),) * 2)


def test_init_takes_crops_of_a_label_image_as_numbered_objects(run_init: RunInit) -> None:
    whole = draw_label_image(SIZE * 5)
    tiles = [whole[top : top + SIZE, left : left + SIZE] for top in range(0, 128, SIZE) for left in range(0, 160, SIZE)]
    tiles += tiles[:4]  # overlapping crops contain an object twice
    result = run_init(make_masks(lambda index: tiles[index].astype(np.uint16)))
    assert result.data["instances"] == {"border": 2}


def test_init_takes_few_objects_with_unique_numbers_as_numbered(run_init: RunInit) -> None:
    numbers = np.random.default_rng(1).permutation(np.arange(17, 250))

    def draw(index: int) -> np.ndarray:
        mask = np.zeros((SIZE, SIZE), np.uint8)
        for position in range(1 + index % 2):
            mask[3 + 14 * position : 13 + 14 * position, 5:20] = numbers[2 * index + position]
        return mask

    result = run_init(make_masks(draw))
    assert result.data["instances"] == {"border": 2}
    assert "write instances: null" in find_notice(result, "numbered objects (instances)")


def test_init_takes_more_values_than_the_maximum_of_classes_as_numbered(run_init: RunInit) -> None:
    def draw(index: int) -> np.ndarray:
        rng = np.random.default_rng(index)
        mask = np.zeros((SIZE, SIZE), np.uint16)
        for position, number in enumerate(rng.choice(np.arange(1, 301), 36, replace=False)):
            row, column = divmod(position, 6)
            mask[5 * row : 5 * row + 4, 5 * column : 5 * column + 4] = number
        return mask

    assert run_init(make_masks(draw)).data["instances"] == {"border": 2}


def test_init_keeps_few_common_values_as_classes(run_init: RunInit) -> None:
    result = run_init(make_masks(lambda index: np.where(draw_disc(index), (17, 23, 41)[index % 3], 0).astype(np.uint8)))
    assert "instances" not in result.data
    assert result.values == [0, 17, 23, 41]


def draw_color_mask(palette: Palette, index: int, class_names: list[str]) -> np.ndarray:
    colors = np.array([palette.colors[name] for name in class_names])[
        draw_regions(index, list(range(len(class_names))))
    ]
    return np.dstack([colors >> shift & 255 for shift in (16, 8, 0)]).astype(np.uint8)


def test_init_names_colors_of_camvid(run_init: RunInit) -> None:
    class_names = ["Sky", "Building", "Road", "Tree", "Car", "Pedestrian", "Void"]
    result = run_init(make_masks(lambda index: draw_color_mask(CAMVID, index, class_names)))
    assert get_names(result) == {f"#{CAMVID.colors[name]:06x}": name for name in class_names[:-1]}
    assert get_attribute(result, "color") == {value: value for value in get_names(result)}
    assert result.data["ignore_value"] == "#000000"
    assert "change data.classes and data.ignore_value" in find_notice(result, "those of CamVid")


def test_init_names_colors_of_cityscapes(run_init: RunInit) -> None:
    class_names = ["road", "sidewalk", "building", "vegetation", "sky", "car", "pole", "parking"]
    result = run_init(make_masks(lambda index: draw_color_mask(CITYSCAPES, index, class_names)))
    assert set(get_names(result).values()) == set(class_names) - {"parking"}
    assert result.data["ignore_value"] == "#faaaa0"
    assert "those of Cityscapes" in result.output


def make_voc_mask(labels: np.ndarray) -> Image.Image:
    colors = [*PASCAL_VOC.classes.values(), *[0] * (255 - len(PASCAL_VOC.classes)), PASCAL_VOC.ignored["void"]]
    image = Image.fromarray(labels.astype(np.uint8), "P")
    image.putpalette([level for color in colors for level in color.to_bytes(3, "big")])
    return image


def test_init_names_indices_with_the_palette_of_pascal_voc(run_init: RunInit) -> None:
    result = run_init(make_masks(lambda index: make_voc_mask(draw_trimap(index, (1, 12, 15)[index % 3], 0, 255))))
    assert get_names(result) == {0: "background", 1: "aeroplane", 12: "dog", 15: "person"}
    assert get_attribute(result, "color") == {0: "#000000", 1: "#800000", 12: "#400080", 15: "#c08080"}
    assert get_attribute(result, "foreground") == {0: False, 1: True, 12: True, 15: True}
    assert result.data["ignore_value"] == 255
    assert "those of PASCAL VOC" in result.output


@pytest.mark.parametrize("has_palette", [True, False])
def test_init_does_not_name_few_classes_without_void_after_pascal_voc(run_init: RunInit, has_palette: bool) -> None:
    def draw(index: int) -> Any:
        labels = np.where(draw_disc(index), (1, 2, 3)[index % 3], 0)
        return make_voc_mask(labels) if has_palette else labels.astype(np.uint8)

    result = run_init(make_masks(draw))
    assert get_names(result) == {0: "background", 1: "class_1", 2: "class_2", 3: "class_3"}
    assert "PASCAL" not in result.output


LABEL_FILES = {
    "labelmap.txt": "# label:color_rgb:parts:actions\nbackground:0,0,0::\nleaf/stem:10,200,30::\nsoil:90,60,30::\n",
    "class_dict.csv": "name,r,g,b\nbackground,0,0,0\nleaf/stem, 10, 200, 30\nsoil,90,60,30\nunused,1,2,3\n",
    "label_colors.txt": "0 0 0\tbackground\n10 200 30\tleaf/stem\n90 60 30\t\tsoil\n",
}


@pytest.mark.parametrize("file", LABEL_FILES)
def test_init_names_colors_by_a_label_file(run_init: RunInit, file: str) -> None:
    Path("cells", file).write_text(LABEL_FILES[file])
    colors = np.array([[0, 0, 0], [10, 200, 30], [90, 60, 30]], np.uint8)
    result = run_init(make_masks(lambda index: colors[draw_trimap(index, 1, 0, 2)]))
    assert get_names(result) == {"#000000": "background", "#0ac81e": "leaf_stem", "#5a3c1e": "soil"}
    assert get_attribute(result, "foreground") == {"#000000": False, "#0ac81e": True, "#5a3c1e": True}
    assert file in find_notice(result, "The colors of the masks are those of")


@pytest.mark.parametrize("text", ["", "leaf:300,0,0::", "leaf:1,2,3::", "\xff"])
def test_init_ignores_a_label_file_of_other_colors(run_init: RunInit, text: str) -> None:
    Path("cells/labelmap.txt").write_bytes(text.encode("latin-1"))
    colors = np.array([[0, 0, 0], [10, 200, 30]], np.uint8)
    assert get_names(run_init(make_masks(lambda index: colors[draw_disc(index).astype(int)]))) == {
        "#000000": "background",
        "#0ac81e": "foreground",
    }


def init_coco(categories: list[str]) -> tuple[str, dict[str, str]]:
    """Run `pipeline init` on annotations of these categories; return its output and the colors by category."""
    from pipeline.params.data.image_data import AnnotatedData
    from pipeline.params.file import read_params

    listed = [{"id": category_id, "name": name} for category_id, name in enumerate(categories, 1)]
    write_coco(
        Path("coco"),
        listed,
        lambda index, outline, _: {"segmentation": [outline], "category_id": 1 + index % len(categories)},
    )
    result = CliRunner().invoke(main, ["init", "coco"])
    assert result.exit_code == 0, result.output
    data = read_params().data
    assert isinstance(data, AnnotatedData)
    return result.output, {item.name: item.color for item in data.classes}


@pytest.mark.usefixtures("project")
def test_init_gives_categories_of_cityscapes_its_colors() -> None:
    output, colors = init_coco(["Road", "Sidewalk", "Traffic Light", "Vegetation", "Sky", "tram stop"])
    assert colors["Road"] == "#804080"
    assert colors["Traffic Light"] == "#faaa1e"
    assert len(set(colors.values())) == 7
    assert "5 of 6 categories have names from Cityscapes" in output


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("categories", [["nucleus", "cell", "debris", "wall"], ["car", "person", "train", "bus"]])
def test_init_gives_other_categories_the_default_colors(categories: list[str]) -> None:
    output, colors = init_coco(categories)
    assert list(colors.values()) == ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#f0e442"]
    assert "have names from" not in output


def test_init_of_many_classes_lists_the_first_and_gives_distinct_colors(run_init: RunInit) -> None:
    result = run_init(make_masks(lambda index: draw_regions(index, list(range(40)), 30)))
    assert len(set(get_attribute(result, "color").values())) == 40
    assert "40 classes: class_0, " in result.output
    assert "class_11 and 28 more." in result.output
