"""Masks with different palettes: an index whose color differs between masks is reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.errors import PipelineError
from pipeline.imaging.mask_decoding import GRAY, Palette
from pipeline.prepare.data_issues import IssueKind
from pipeline.prepare.image_mask_pair import ImageMaskPair
from pipeline.prepare.palette_check import PaletteCheck
from tests.prepare.conftest import MASK, NAMES, SECTION, create_classes, load_showcase

BLACK, WHITE, RED, GREEN = 0x000000, 0xFFFFFF, 0xFF0000, 0x00FF00
COLORS = st.sampled_from([BLACK, WHITE, RED, GREEN, 0x0000FF, 0x010101, 0x020202])


def check_palettes(*palettes: Palette) -> list[str]:
    """Return the files whose palettes contradict earlier ones."""
    checks = PaletteCheck()
    pairs = [ImageMaskPair(f"{index}", f"images/{index}.png", f"masks/{index}.png") for index in range(len(palettes))]
    issues = [issue for pair, entries in zip(pairs, palettes, strict=True) for issue in checks.check(pair, entries)]
    assert all(issue.kind is IssueKind.PALETTE for issue in issues)
    return [issue.file for issue in issues]


@pytest.mark.parametrize(
    ("first", "second", "differs"),
    [
        (((0, BLACK), (1, RED)), ((0, BLACK), (1, GREEN)), True),  # another color
        (((0, BLACK), (1, RED)), ((0, RED), (1, BLACK)), True),  # swapped
        (((0, BLACK), (1, RED)), ((0, BLACK), (2, RED)), True),  # another index
        (((0, BLACK), (1, RED)), ((0, BLACK), (1, RED), (2, GREEN)), False),  # one more class
        (((0, BLACK), (1, RED)), ((2, GREEN),), False),  # nothing in common
        (((0, BLACK), (1, RED)), ((0, BLACK), (1, 0xFE0000)), True),  # off by one level
        (((0, BLACK), (1, RED)), ((0, BLACK), (1, 0x010101)), False),  # the index itself as gray
        (((0, BLACK), (1, RED), (5, RED)), ((0, BLACK), (1, RED)), False),  # two indices of one color
        (((0, BLACK),), ((0, RED), (1, GREEN)), True),  # an empty mask
        (GRAY, ((0, BLACK), (1, RED)), False),
        (GRAY, ((0, WHITE), (1, BLACK)), True),
        (((0, WHITE), (1, BLACK)), GRAY, True),
        (GRAY, ((0, WHITE), (1, RED)), False),  # a palette without black
    ],
)
def test_palette_check_finds_contradictions(first: Palette, second: Palette, differs: bool) -> None:
    assert check_palettes(first, second) == (["masks/1.png"] if differs else [])


@given(st.dictionaries(st.integers(0, 5), COLORS, min_size=1), st.data())
def test_palette_check_accepts_parts_of_one_palette(entries: dict[int, int], data: st.DataObject) -> None:
    palette = tuple(sorted(entries.items()))
    parts = [
        tuple(sorted(data.draw(st.lists(st.sampled_from(palette), unique=True))))
        for _ in range(data.draw(st.integers(1, 4)))
    ]
    if len(set(entries.values())) == len(entries):  # otherwise an index may have the color of another one
        assert check_palettes(palette, *parts) == []


@given(st.permutations([BLACK, WHITE, RED, GREEN]))
def test_palette_check_finds_every_permutation(colors: list[int]) -> None:
    first = tuple(enumerate([BLACK, WHITE, RED, GREEN]))
    assert bool(check_palettes(first, tuple(enumerate(colors)))) is (tuple(enumerate(colors)) != first)


def create_palette_mask(indices: np.ndarray, colors: list[int]) -> Image.Image:
    image = Image.frombytes("P", indices.shape[::-1], indices.astype(np.uint8).tobytes())
    image.putpalette([level for color in colors for level in color.to_bytes(3, "big")])
    return image


def write_masks(cells: Path, masks: Any, kind: str = "png") -> None:
    """Write the masks of all pairs, repeating the given ones."""
    for index, name in enumerate(NAMES):
        (cells / "masks" / f"{name}.png").unlink()
        masks[index % len(masks)].save(cells / "masks" / f"{name}.{kind}")


@pytest.mark.parametrize("kind", ["png", "gif", "tif", "bmp"])
def test_masks_with_swapped_palettes_are_refused_by_index_and_read_by_color(
    cells: Path, run: Any, get_prepare_error: Any, kind: str
) -> None:
    swapped = np.array([0, 2, 1])[MASK]
    write_masks(
        cells, [create_palette_mask(MASK, [BLACK, RED, GREEN]), create_palette_mask(swapped, [BLACK, GREEN, RED])], kind
    )
    assert "6 masks with a different palette than the others" in get_prepare_error(cells)
    prepared = run(cells, classes=create_classes(["#ff0000", "#000000", "#00ff00"]))
    for split in ("train", "validation", "test", "showcase"):
        for mask in np.load(prepared / split / "masks.npy"):
            np.testing.assert_array_equal(mask, np.kron([[1, 0], [0, 2]], np.ones((8, 8))))


@pytest.mark.parametrize("mode", ["1", "L"])
def test_inverted_palette_among_gray_masks_is_refused(cells: Path, get_prepare_error: Any, mode: str) -> None:
    labels = MASK > 0
    gray = Image.fromarray(labels) if mode == "1" else Image.fromarray(labels.astype(np.uint8))
    write_masks(cells, [gray, create_palette_mask(~labels, [WHITE, BLACK])])
    assert "6 masks with a different palette than the others" in get_prepare_error(
        cells, classes=SECTION["classes"][:2]
    )


def test_gray_masks_among_palette_masks_are_read_by_value(cells: Path, run: Any) -> None:
    write_masks(cells, [create_palette_mask(MASK, [BLACK, RED, GREEN]), Image.fromarray(MASK)])
    _, mask = load_showcase(run(cells))
    np.testing.assert_array_equal(mask, np.kron([[1, 0], [0, 2]], np.ones((8, 8))))


def test_instance_masks_may_have_any_colors_but_one_background(cells: Path, run: Any) -> None:
    classes = [
        {
            "name": name,
            "color": f"#0072b{value}",
            "foreground": name == "object",
            "is_boundary": name == "border",
            "mask_value": value,
        }
        for value, name in enumerate(["ground", "object", "border"])
    ]
    changes = {"classes": classes, "instances": {"border": 1}}
    write_masks(
        cells, [create_palette_mask(MASK, [BLACK, RED, GREEN]), create_palette_mask(MASK, [BLACK, GREEN, WHITE])]
    )
    _, mask = load_showcase(run(cells, **changes))
    assert set(np.unique(mask)) == {0, 1, 2}
    (cells / "masks" / "cell3.png").unlink()
    create_palette_mask(1 - np.minimum(MASK, 1), [RED, BLACK]).save(cells / "masks" / "cell3.png")
    with pytest.raises(PipelineError, match=r"1 mask with a different palette than the others: masks/cell3\.png"):
        run(cells, **changes)
