"""What masks may hold, and what is said of values that no class declares."""

import numpy as np
import pytest
from PIL import Image

from pipeline.imaging import IGNORE
from tests.prepare.conftest import NAMES, SECTION, WHOLE, coloured, shown, table

PALETTE = [0, 0, 0, 255, 0, 0, 0, 0, 255]  # of the indices 0, 1, 2
AS_COLOURS = np.array(PALETTE, np.uint8).reshape(3, 3)[WHOLE]


def with_palette():
    mask = Image.fromarray(WHOLE).convert("P")  # convert keeps values, and lays a grey palette over them
    mask.putpalette(PALETTE)
    return mask


MASKS = {
    "grey": (Image.fromarray(WHOLE * 100), [100, 0, 200]),
    "grey in three channels": (Image.fromarray(WHOLE).convert("RGB"), [1, 0, 2]),
    "grey with alpha": (Image.fromarray(WHOLE).convert("LA"), [1, 0, 2]),
    "16 bits": (Image.fromarray(WHOLE.astype(np.uint16) * 1000), [1000, 0, 2000]),
    "palette by index": (with_palette(), [1, 0, 2]),
    "palette by colour": (with_palette(), ["#ff0000", "#000000", "#0000FF"]),
    "colours": (Image.fromarray(AS_COLOURS), ["#ff0000", "#000000", "#0000ff"]),
    "colours with alpha": (Image.fromarray(AS_COLOURS).convert("RGBA"), ["#ff0000", "#000000", "#0000ff"]),
}


@pytest.mark.parametrize(("mask", "values"), MASKS.values(), ids=MASKS.keys())
def test_every_kind_of_mask_gives_the_same_indices(cells, run, mask, values):
    for name in NAMES:
        mask.save(cells / "masks" / f"{name}.png")
    _, prepared = shown(run(cells, classes=coloured(values)))
    np.testing.assert_array_equal(prepared, np.kron([[1, 0], [0, 2]], np.ones((8, 8))))


def test_masks_of_one_bit_hold_0_and_1(cells, run):
    for name in NAMES:
        Image.fromarray(WHOLE == 1).save(cells / "masks" / f"{name}.png")
    _, prepared = shown(run(cells, classes=SECTION["classes"][:2]))
    np.testing.assert_array_equal(prepared, np.kron([[1, 0], [0, 1]], np.ones((8, 8))))


def test_ignored_values_count_nowhere(cells, run):
    mask = WHOLE.copy()
    mask[:, :12] = 99
    Image.fromarray(mask).save(cells / "masks/cell0.png")
    prepared = run(cells, ignore_value=99)
    assert (shown(prepared)[1][:, :8] == IGNORE).all()
    assert table(prepared)["cell0"]["pixels"] == "128"


def test_jpeg_masks_are_told_why_their_values_are_strange(cells, refused):
    for name in NAMES:
        (cells / "masks" / f"{name}.png").unlink()
        Image.fromarray(np.kron(WHOLE[::8, ::12], np.ones((16, 24))).astype(np.uint8) * 100).resize((24, 16)).save(
            cells / "masks" / f"{name}.jpg", quality=30
        )
    assert "JPEG changes pixel values: export such masks as PNG." in refused(cells, classes=coloured([100, 0, 200]))


REFUSED_FILES = {
    "colours": (
        Image.fromarray(AS_COLOURS),
        SECTION["classes"],
        "has colors, but the values of the classes are numbers",
    ),
    "grey of 16 bits": (
        Image.fromarray(WHOLE.astype(np.uint16)),
        coloured(["#ff0000", "#000000", "#0000ff"]),
        "but the values of the classes are colors",
    ),
    "fractions": (Image.fromarray(WHOLE / np.float32(3)), SECTION["classes"], "has pixels with fractions"),
    "negative": (Image.fromarray(-WHOLE.astype(np.int32)), SECTION["classes"], "has values outside 0 to 65535"),
}


@pytest.mark.parametrize(("mask", "classes", "said"), REFUSED_FILES.values(), ids=REFUSED_FILES.keys())
def test_masks_of_the_wrong_kind(cells, refused, mask, classes, said):
    (cells / "masks/cell0.png").unlink()
    mask.save(cells / "masks/cell0.tif")
    assert said in refused(cells, classes=classes)


def test_a_single_undeclared_value_is_given_its_choice(cells, refused):
    for name in ("cell3", "cell4"):
        Image.fromarray(np.where(WHOLE == 2, 255, WHOLE).astype(np.uint8)).save(cells / "masks" / f"{name}.png")
    said = refused(cells)
    assert "2 masks with values that no class declares, 255 (192 pixels)" in said
    assert (
        "masks/cell3.png, masks/cell4.png. Write mask_value: 255 for one of data.classes, or data.ignore_value: 255"
        in said
    )
    for name in NAMES:
        Image.fromarray(AS_COLOURS).save(cells / "masks" / f"{name}.png")
    assert 'data.ignore_value: "#0000ff"' in refused(cells, classes=coloured(["#ff0000", "#000000", "#123456"]))


def test_several_undeclared_values_are_counted_the_most_common_first(cells, refused):
    strange = np.array(WHOLE)
    strange[0, :3], strange[1, :5] = 9, 8
    Image.fromarray(strange).save(cells / "masks/cell3.png")
    said = refused(cells)
    assert (
        "no class declares, 8 (5 pixels), 9 (3 pixels): masks/cell3.png. Declare each as a value of data.classes"
        in said
    )
