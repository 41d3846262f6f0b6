"""Which values of masks are classes, ignored, background, boundary or numbered objects: guessed by evidence."""

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
from tests.init.conftest import SIZE, Seen, disc

See = Callable[..., Seen]
COUNT = 24
NAMES = [f"a{index:02}" for index in range(COUNT)]


def regions(index: int, values: list[int], count: int = 12) -> np.ndarray:
    """Divide a mask into regions around random points, with values drawn from a list."""
    rng = np.random.default_rng(index)
    points, labels = rng.integers(0, SIZE, (count, 2)), rng.choice(values, count)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    nearest = ((rows[..., None] - points[:, 0]) ** 2 + (columns[..., None] - points[:, 1]) ** 2).argmin(-1)
    return labels[nearest].astype(np.uint8)


def scatter(mask: np.ndarray, value: int, index: int) -> np.ndarray:
    """Draw small pieces of a value, evenly over the mask."""
    shift = index % 4
    for row in range(shift, SIZE - 1, 8):
        mask[row, shift::8] = value
    return mask


def street(index: int) -> np.ndarray:
    """Draw a sky (0) above ten other classes."""
    mask = regions(index, list(range(1, 11)))
    mask[: 5 + index % 6] = 0
    return mask


def masks(draw: Callable[[int], Any]) -> dict[str, Any]:
    return {name: draw(index) for index, name in enumerate(NAMES)}


def names(found: Seen) -> dict[Any, str]:
    return {item["mask_value"]: item["name"] for item in found.data["classes"]}


def of(found: Seen, key: str) -> dict[Any, Any]:
    return {item["mask_value"]: item.get(key, False) for item in found.data["classes"]}


def notice(found: Seen, part: str) -> str:
    [sentence] = [sentence for sentence in found.notices if part in sentence]
    return sentence


VOID_BESIDE_CLASSES = {
    "254": (lambda index: [254], list(range(12))),
    "250": (lambda index: [250], [0, 1, 2]),
    "two values": (lambda index: [254, 255], list(range(12))),
    "255 above many classes": (lambda index: [255], list(range(100))),
}


@pytest.mark.parametrize("case", VOID_BESIDE_CLASSES)
def test_init_reserved_values_beside_classes_are_ignored(see: See, case: str) -> None:
    voids, values = VOID_BESIDE_CLASSES[case]

    def draw(index: int) -> np.ndarray:
        mask = regions(index, values)
        for row, void in enumerate(voids(index)):
            mask[row] = void
        return mask

    found = see(masks(draw))
    expected = voids(0)
    assert found.data["ignore_value"] == (expected[0] if len(expected) == 1 else expected)
    assert not set(expected) & set(found.values)
    for void in expected:
        assert "write ignore_value: null" in notice(found, f"{void} is taken for unknown pixels (ignore_value: {void})")


@pytest.mark.parametrize("values", [[0, 64, 128, 254], [0, 50, 100, 150, 200, 250]])
def test_init_gray_levels_up_to_a_reserved_value_stay_classes(see: See, values: list[int]) -> None:
    found = see(masks(lambda index: regions(index, values)))
    assert found.data["ignore_value"] is None
    assert sorted(found.values) == values


@pytest.mark.parametrize("void", [0, 11])
def test_init_a_value_scattered_between_all_classes_is_ignored(see: See, void: int) -> None:
    classes = [value for value in range(12) if value != void]
    found = see(masks(lambda index: scatter(regions(index, classes), void, index)))
    assert found.data["ignore_value"] == void
    assert sorted(found.values) == classes
    assert "write ignore_value: null" in notice(found, f"{void} is taken for unlabeled pixels (ignore_value: {void})")


def test_init_a_last_class_like_the_others_is_not_ignored(see: See) -> None:
    found = see(masks(lambda index: regions(index, list(range(12)))))
    assert found.data["ignore_value"] is None
    assert sorted(found.values) == list(range(12))


def test_init_value_0_beside_many_classes_is_a_class_and_reported(see: See) -> None:
    found = see(masks(street))
    assert names(found) == {value: f"class_{value}" for value in range(11)}
    assert all(of(found, "foreground").values())
    said = notice(found, "No value looks like a background")
    assert "including 0 (class_0)" in said
    assert "write foreground: false" in said
    assert "write ignore_value: 0" in said
    assert not any("surrounded" in sentence or "inverted" in sentence for sentence in found.notices)


def test_init_value_0_that_surrounds_small_classes_is_the_background(see: See) -> None:
    def draw(index: int) -> np.ndarray:
        mask = np.zeros((SIZE, SIZE), np.uint8)
        mask[4:28, 4:28] = regions(index, list(range(1, 11)))[4:28, 4:28]
        return mask

    found = see(masks(draw))
    assert names(found)[0] == "background"
    assert of(found, "foreground") == {value: value > 0 for value in range(11)}


def trimap(index: int, inside: int, outside: int, border: int) -> np.ndarray:
    grown = ndimage.binary_dilation(disc(index), iterations=1)
    mask = np.where(disc(index), inside, outside)
    mask[grown & ~ndimage.binary_erosion(disc(index), iterations=1)] = border
    return mask.astype(np.uint8)


@pytest.mark.parametrize("values", [(1, 2, 3), (1, 0, 2), (255, 0, 128), (2, 1, 0)])
def test_init_the_boundary_of_trimaps_is_an_edge(see: See, values: tuple[int, int, int]) -> None:
    inside, outside, border = values
    found = see(masks(lambda index: trimap(index, *values)))
    assert names(found) == {outside: "background", inside: "foreground", border: "border"}
    assert [value for value, is_edge in of(found, "is_boundary").items() if is_edge] == [border]
    assert [value for value, is_foreground in of(found, "foreground").items() if is_foreground] == [inside]
    assert "write is_boundary: false and foreground: true" in notice(found, f"{border} is taken for the boundary")


def test_init_a_class_around_another_one_is_no_boundary(see: See) -> None:
    def draw(index: int) -> np.ndarray:
        nucleus = ndimage.binary_erosion(disc(index), iterations=3)
        return np.where(nucleus, 2, disc(index)).astype(np.uint8)

    assert not any(of(see(masks(draw)), "is_boundary").values())


def test_init_an_outline_that_leaves_contacts_is_no_boundary(see: See) -> None:
    def draw(index: int) -> np.ndarray:
        mask = trimap(index, 1, 0, 2)
        mask[:, : SIZE // 2] = np.minimum(disc(index), 1)[:, : SIZE // 2]
        return mask

    assert not any(of(see(masks(draw)), "is_boundary").values())


def label_image(side: int, step: int = 9) -> np.ndarray:
    """Draw squares with numbers of their own, far apart from each other."""
    rng = np.random.default_rng(0)
    rows = side // step
    numbers = np.sort(rng.choice(np.arange(17, 60_000), rows * rows, replace=False)).reshape(rows, rows)
    labels = np.kron(numbers, np.ones((step, step), int))
    inner = np.kron(np.ones((rows, rows), int), np.pad(np.ones((step - 3, step - 3), int), ((1, 2), (1, 2))))
    return np.pad(labels * inner, ((0, side - rows * step),) * 2)


def test_init_crops_of_a_label_image_are_numbered_objects(see: See) -> None:
    whole = label_image(SIZE * 5)
    tiles = [whole[top : top + SIZE, left : left + SIZE] for top in range(0, 128, SIZE) for left in range(0, 160, SIZE)]
    tiles += tiles[:4]  # shown again, as overlapping crops show objects twice
    found = see(masks(lambda index: tiles[index].astype(np.uint16)))
    assert found.data["instances"] == {"border": 2}


def test_init_few_objects_with_numbers_of_their_own_are_numbered(see: See) -> None:
    numbers = np.random.default_rng(1).permutation(np.arange(17, 250))

    def draw(index: int) -> np.ndarray:
        mask = np.zeros((SIZE, SIZE), np.uint8)
        for place in range(1 + index % 2):
            mask[3 + 14 * place : 13 + 14 * place, 5:20] = numbers[2 * index + place]
        return mask

    found = see(masks(draw))
    assert found.data["instances"] == {"border": 2}
    assert "write instances: null" in notice(found, "numbered objects (instances)")


def test_init_more_numbers_than_classes_may_be_are_numbered(see: See) -> None:
    def draw(index: int) -> np.ndarray:
        rng = np.random.default_rng(index)
        mask = np.zeros((SIZE, SIZE), np.uint16)
        for place, number in enumerate(rng.choice(np.arange(1, 301), 36, replace=False)):
            row, column = divmod(place, 6)
            mask[5 * row : 5 * row + 4, 5 * column : 5 * column + 4] = number
        return mask

    assert see(masks(draw)).data["instances"] == {"border": 2}


def test_init_crops_with_the_same_few_classes_stay_classes(see: See) -> None:
    found = see(masks(lambda index: np.where(disc(index), (17, 23, 41)[index % 3], 0).astype(np.uint8)))
    assert "instances" not in found.data
    assert found.values == [0, 17, 23, 41]


def color_mask(palette: Palette, index: int, shown: list[str]) -> np.ndarray:
    colors = np.array([palette.colors[name] for name in shown])[regions(index, list(range(len(shown))))]
    return np.dstack([colors >> shift & 255 for shift in (16, 8, 0)]).astype(np.uint8)


def test_init_color_masks_of_camvid_get_its_names(see: See) -> None:
    shown = ["Sky", "Building", "Road", "Tree", "Car", "Pedestrian", "Void"]
    found = see(masks(lambda index: color_mask(CAMVID, index, shown)))
    assert names(found) == {f"#{CAMVID.colors[name]:06x}": name for name in shown[:-1]}
    assert of(found, "color") == {value: value for value in names(found)}
    assert found.data["ignore_value"] == "#000000"
    assert "change data.classes and data.ignore_value" in notice(found, "those of CamVid")


def test_init_color_masks_of_cityscapes_get_its_names(see: See) -> None:
    shown = ["road", "sidewalk", "building", "vegetation", "sky", "car", "pole", "parking"]
    found = see(masks(lambda index: color_mask(CITYSCAPES, index, shown)))
    assert set(names(found).values()) == set(shown) - {"parking"}
    assert found.data["ignore_value"] == "#faaaa0"
    assert "those of Cityscapes" in found.output


def voc_indices(labels: np.ndarray) -> Image.Image:
    colors = [*PASCAL_VOC.classes.values(), *[0] * (255 - len(PASCAL_VOC.classes)), PASCAL_VOC.ignored["void"]]
    image = Image.fromarray(labels.astype(np.uint8), "P")
    image.putpalette([level for color in colors for level in color.to_bytes(3, "big")])
    return image


def test_init_indices_with_the_palette_of_pascal_voc_get_its_names(see: See) -> None:
    found = see(masks(lambda index: voc_indices(trimap(index, (1, 12, 15)[index % 3], 0, 255))))
    assert names(found) == {0: "background", 1: "aeroplane", 12: "dog", 15: "person"}
    assert of(found, "color") == {0: "#000000", 1: "#800000", 12: "#400080", 15: "#c08080"}
    assert of(found, "foreground") == {0: False, 1: True, 12: True, 15: True}
    assert found.data["ignore_value"] == 255
    assert "those of PASCAL VOC" in found.output


@pytest.mark.parametrize("has_palette", [True, False])
def test_init_few_classes_without_void_get_no_names_of_pascal_voc(see: See, has_palette: bool) -> None:
    def draw(index: int) -> Any:
        labels = np.where(disc(index), (1, 2, 3)[index % 3], 0)
        return voc_indices(labels) if has_palette else labels.astype(np.uint8)

    found = see(masks(draw))
    assert names(found) == {0: "background", 1: "class_1", 2: "class_2", 3: "class_3"}
    assert "PASCAL" not in found.output


LABEL_FILES = {
    "labelmap.txt": "# label:color_rgb:parts:actions\nbackground:0,0,0::\nleaf/stem:10,200,30::\nsoil:90,60,30::\n",
    "class_dict.csv": "name,r,g,b\nbackground,0,0,0\nleaf/stem, 10, 200, 30\nsoil,90,60,30\nunused,1,2,3\n",
    "label_colors.txt": "0 0 0\tbackground\n10 200 30\tleaf/stem\n90 60 30\t\tsoil\n",
}


@pytest.mark.parametrize("file", LABEL_FILES)
def test_init_a_label_file_names_the_colors_of_masks(see: See, file: str) -> None:
    Path("cells", file).write_text(LABEL_FILES[file])
    colors = np.array([[0, 0, 0], [10, 200, 30], [90, 60, 30]], np.uint8)
    found = see(masks(lambda index: colors[trimap(index, 1, 0, 2)]))
    assert names(found) == {"#000000": "background", "#0ac81e": "leaf_stem", "#5a3c1e": "soil"}
    assert of(found, "foreground") == {"#000000": False, "#0ac81e": True, "#5a3c1e": True}
    assert file in notice(found, "The colors of the masks are those of")


@pytest.mark.parametrize("text", ["", "leaf:300,0,0::", "leaf:1,2,3::", "\xff"])
def test_init_a_label_file_of_other_colors_is_left_alone(see: See, text: str) -> None:
    Path("cells/labelmap.txt").write_bytes(text.encode("latin-1"))
    colors = np.array([[0, 0, 0], [10, 200, 30]], np.uint8)
    assert names(see(masks(lambda index: colors[disc(index).astype(int)]))) == {
        "#000000": "background",
        "#0ac81e": "foreground",
    }


def init_coco(categories: list[str]) -> tuple[str, dict[str, str]]:
    """Run `pipeline init` on annotations of these categories; return its output and the colors by category."""
    from pipeline.params.data.image_data import CocoData
    from pipeline.params.file import read_params

    listed = [{"id": place, "name": name} for place, name in enumerate(categories, 1)]
    write_coco(
        Path("coco"),
        listed,
        lambda index, outline, _: {"segmentation": [outline], "category_id": 1 + index % len(categories)},
    )
    result = CliRunner().invoke(main, ["init", "coco"])
    assert result.exit_code == 0, result.output
    data = read_params().data
    assert isinstance(data, CocoData)
    return result.output, {item.name: item.color for item in data.classes}


@pytest.mark.usefixtures("project")
def test_init_categories_of_cityscapes_get_its_colors() -> None:
    output, colors = init_coco(["Road", "Sidewalk", "Traffic Light", "Vegetation", "Sky", "tram stop"])
    assert colors["Road"] == "#804080"
    assert colors["Traffic Light"] == "#faaa1e"
    assert len(set(colors.values())) == 7
    assert "5 of 6 categories have the names of Cityscapes" in output


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("categories", [["nucleus", "cell", "debris", "wall"], ["car", "person", "train", "bus"]])
def test_init_categories_of_no_one_data_set_get_the_usual_colors(categories: list[str]) -> None:
    output, colors = init_coco(categories)
    assert list(colors.values()) == ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#f0e442"]
    assert "have the names of" not in output


def test_init_of_many_classes_names_the_first_and_keeps_all_colors_apart(see: See) -> None:
    found = see(masks(lambda index: regions(index, list(range(40)), 30)))
    assert len(set(of(found, "color").values())) == 40
    assert "40 classes: class_0, " in found.output
    assert "class_11 and 28 more." in found.output
