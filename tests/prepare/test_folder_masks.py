"""Masks of a folder: modes, values, and errors for undeclared values."""

import numpy as np
import pytest
from PIL import Image

from pipeline.imaging import IGNORE
from tests.prepare.conftest import (
    MASK,
    NAMES,
    SECTION,
    create_classes,
    create_section,
    load_showcase,
    read_samples,
    validate_data,
)

PALETTE = [0, 0, 0, 255, 0, 0, 0, 0, 255]  # of the indices 0, 1, 2
COLORS = np.array(PALETTE, np.uint8).reshape(3, 3)[MASK]


def create_palette_mask():
    mask = Image.fromarray(MASK).convert("P")  # keeps the values and adds a gray palette
    mask.putpalette(PALETTE)
    return mask


MASKS = {
    "gray": (Image.fromarray(MASK * 100), [100, 0, 200]),
    "gray in three channels": (Image.fromarray(MASK).convert("RGB"), [1, 0, 2]),
    "gray with alpha": (Image.fromarray(MASK).convert("LA"), [1, 0, 2]),
    "16 bits": (Image.fromarray(MASK.astype(np.uint16) * 1000), [1000, 0, 2000]),
    "palette by index": (create_palette_mask(), [1, 0, 2]),
    "palette by color": (create_palette_mask(), ["#ff0000", "#000000", "#0000FF"]),
    "colors": (Image.fromarray(COLORS), ["#ff0000", "#000000", "#0000ff"]),
    "colors with alpha": (Image.fromarray(COLORS).convert("RGBA"), ["#ff0000", "#000000", "#0000ff"]),
}


@pytest.mark.parametrize(("mask", "values"), MASKS.values(), ids=MASKS.keys())
def test_masks_of_any_mode_give_the_same_indices(cells, run, mask, values):
    for name in NAMES:
        mask.save(cells / "masks" / f"{name}.png")
    _, prepared = load_showcase(run(cells, classes=create_classes(values)))
    np.testing.assert_array_equal(prepared, np.kron([[1, 0], [0, 2]], np.ones((8, 8))))


def test_one_bit_masks_have_values_0_and_1(cells, run):
    for name in NAMES:
        Image.fromarray(MASK == 1).save(cells / "masks" / f"{name}.png")
    _, prepared = load_showcase(run(cells, classes=SECTION["classes"][:2]))
    np.testing.assert_array_equal(prepared, np.kron([[1, 0], [0, 1]], np.ones((8, 8))))


def test_ignored_values_are_not_evaluated(cells, run):
    mask = MASK.copy()
    mask[:, :12] = 99
    Image.fromarray(mask).save(cells / "masks/cell0.png")
    prepared = run(cells, ignore_value=99)
    assert (load_showcase(prepared)[1][:, :8] == IGNORE).all()
    assert read_samples(prepared)["cell0"]["pixels"] == "128"


def test_masks_whose_foreground_is_below_the_threshold_give_a_notice(cells, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for index, name in enumerate(NAMES):
        values = (MASK > 0) if index == 9 else (MASK > 0).astype(np.uint8) * (255, 0, 100)[index // 4]
        Image.fromarray(values).save(cells / "masks" / f"{name}.png")
    section = create_section(cells, classes=create_classes([255, 0, 2])[:2], mask_threshold=128)
    for _ in ("decoded", "cached"):
        [notice] = [one for one in validate_data(section).data.stats.notices if "data.mask_threshold" in one]
        assert notice.startswith("4 mask files have only one class, because the highest value, 100, is below")
        assert "masks/cell10.png, masks/cell11.png, masks/cell8.png, masks/cell9.png" in notice


def test_jpeg_masks_are_refused_with_the_reason(cells, get_prepare_error):
    for name in NAMES:
        (cells / "masks" / f"{name}.png").unlink()
        Image.fromarray(np.kron(MASK[::8, ::12], np.ones((16, 24))).astype(np.uint8) * 100).resize((24, 16)).save(
            cells / "masks" / f"{name}.jpg", quality=30
        )
    assert "JPEG changes pixel values: export these masks as PNG." in get_prepare_error(
        cells, classes=create_classes([100, 0, 200])
    )


REFUSED_FILES = {
    "colors": (
        Image.fromarray(COLORS),
        SECTION["classes"],
        "has colors, but the class values are numbers",
    ),
    "16-bit gray": (
        Image.fromarray(MASK.astype(np.uint16)),
        create_classes(["#ff0000", "#000000", "#0000ff"]),
        "but the class values are colors",
    ),
    "fractions": (Image.fromarray(MASK / np.float32(3)), SECTION["classes"], "has fractional pixel values"),
    "negative": (Image.fromarray(-MASK.astype(np.int32)), SECTION["classes"], "but only 0 to 65535 are allowed"),
}


@pytest.mark.parametrize(("mask", "classes", "message"), REFUSED_FILES.values(), ids=REFUSED_FILES.keys())
def test_masks_of_an_unsupported_mode_are_refused(cells, get_prepare_error, mask, classes, message):
    (cells / "masks/cell0.png").unlink()
    mask.save(cells / "masks/cell0.tif")
    assert message in get_prepare_error(cells, classes=classes)


def test_undeclared_value_is_reported_with_both_ways_to_declare_it(cells, get_prepare_error):
    for name in ("cell3", "cell4"):
        Image.fromarray(np.where(MASK == 2, 255, MASK).astype(np.uint8)).save(cells / "masks" / f"{name}.png")
    message = get_prepare_error(cells)
    assert "2 masks with values that no class declares, 255 (192 pixels)" in message
    assert (
        "masks/cell3.png, masks/cell4.png. Write mask_value: 255 for one of data.classes, or data.ignore_value: 255"
        in message
    )
    for name in NAMES:
        Image.fromarray(COLORS).save(cells / "masks" / f"{name}.png")
    assert 'data.ignore_value: "#0000ff"' in get_prepare_error(
        cells, classes=create_classes(["#ff0000", "#000000", "#123456"])
    )


def test_undeclared_values_are_listed_by_frequency(cells, get_prepare_error):
    mask = np.array(MASK)
    mask[0, :3], mask[1, :5] = 9, 8
    Image.fromarray(mask).save(cells / "masks/cell3.png")
    message = get_prepare_error(cells)
    assert (
        "no class declares, 8 (5 pixels), 9 (3 pixels): masks/cell3.png. Declare each value in data.classes" in message
    )
