"""Palettes that differ: an index may not change its color from mask to mask without anybody noticing."""

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
from pipeline.prepare.image_mask_pair import ImageMaskPair, PaletteCheck
from tests.prepare.conftest import NAMES, SECTION, WHOLE, coloured, shown

BLACK, WHITE, RED, GREEN = 0x000000, 0xFFFFFF, 0xFF0000, 0x00FF00
COLORS = st.sampled_from([BLACK, WHITE, RED, GREEN, 0x0000FF, 0x010101, 0x020202])


def check(*palettes: Palette) -> list[str]:
    """Name the files that contradict earlier ones."""
    checks = PaletteCheck()
    pairs = [ImageMaskPair(f"{place}", f"images/{place}.png", f"masks/{place}.png") for place in range(len(palettes))]
    faults = [fault for pair, entries in zip(pairs, palettes, strict=True) for fault in checks.check(pair, entries)]
    assert all(fault.kind is IssueKind.PALETTE for fault in faults)
    return [fault.file for fault in faults]


@pytest.mark.parametrize(
    ("first", "second", "differs"),
    [
        (((0, BLACK), (1, RED)), ((0, BLACK), (1, GREEN)), True),  # another color
        (((0, BLACK), (1, RED)), ((0, RED), (1, BLACK)), True),  # exchanged
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
    assert check(first, second) == (["masks/1.png"] if differs else [])


@given(st.dictionaries(st.integers(0, 5), COLORS, min_size=1), st.data())
def test_palette_check_accepts_parts_of_one_palette(entries: dict[int, int], data: st.DataObject) -> None:
    whole = tuple(sorted(entries.items()))
    parts = [
        tuple(sorted(data.draw(st.lists(st.sampled_from(whole), unique=True))))
        for _ in range(data.draw(st.integers(1, 4)))
    ]
    if len(set(entries.values())) == len(entries):  # else an index alone may stand for the color of two
        assert check(whole, *parts) == []


@given(st.permutations([BLACK, WHITE, RED, GREEN]))
def test_palette_check_finds_every_exchange(colors: list[int]) -> None:
    first = tuple(enumerate([BLACK, WHITE, RED, GREEN]))
    assert bool(check(first, tuple(enumerate(colors)))) is (tuple(enumerate(colors)) != first)


def palette(indices: np.ndarray, colors: list[int]) -> Image.Image:
    image = Image.frombytes("P", indices.shape[::-1], indices.astype(np.uint8).tobytes())
    image.putpalette([level for color in colors for level in color.to_bytes(3, "big")])
    return image


def write(cells: Path, images: Any, kind: str = "png") -> None:
    """Write the masks of all pairs, in turns those that are given."""
    for place, name in enumerate(NAMES):
        (cells / "masks" / f"{name}.png").unlink()
        images[place % len(images)].save(cells / "masks" / f"{name}.{kind}")


@pytest.mark.parametrize("kind", ["png", "gif", "tif", "bmp"])
def test_masks_of_exchanged_palettes_are_refused_by_index_and_right_by_color(
    cells: Path, run: Any, refused: Any, kind: str
) -> None:
    swapped = np.array([0, 2, 1])[WHOLE]
    write(cells, [palette(WHOLE, [BLACK, RED, GREEN]), palette(swapped, [BLACK, GREEN, RED])], kind)
    assert "6 masks with another palette than the others" in refused(cells)
    prepared = run(cells, classes=coloured(["#ff0000", "#000000", "#00ff00"]))
    for split in ("train", "validation", "test", "showcase"):
        for mask in np.load(prepared / split / "masks.npy"):
            np.testing.assert_array_equal(mask, np.kron([[1, 0], [0, 2]], np.ones((8, 8))))


@pytest.mark.parametrize("mode", ["1", "L"])
def test_an_inverted_palette_among_gray_masks_is_refused(cells: Path, refused: Any, mode: str) -> None:
    labels = WHOLE > 0
    gray = Image.fromarray(labels) if mode == "1" else Image.fromarray(labels.astype(np.uint8))
    write(cells, [gray, palette(~labels, [WHITE, BLACK])])
    assert "6 masks with another palette than the others" in refused(cells, classes=SECTION["classes"][:2])


def test_gray_masks_among_those_of_a_palette_are_taken_by_value(cells: Path, run: Any) -> None:
    write(cells, [palette(WHOLE, [BLACK, RED, GREEN]), Image.fromarray(WHOLE)])
    _, mask = shown(run(cells))
    np.testing.assert_array_equal(mask, np.kron([[1, 0], [0, 2]], np.ones((8, 8))))


def test_numbered_objects_may_have_any_colors_but_one_background(cells: Path, run: Any) -> None:
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
    write(cells, [palette(WHOLE, [BLACK, RED, GREEN]), palette(WHOLE, [BLACK, GREEN, WHITE])])
    _, mask = shown(run(cells, **changes))
    assert set(np.unique(mask)) == {0, 1, 2}
    (cells / "masks" / "cell3.png").unlink()
    palette(1 - np.minimum(WHOLE, 1), [RED, BLACK]).save(cells / "masks" / "cell3.png")
    with pytest.raises(PipelineError, match=r"1 mask with another palette than the others: masks/cell3\.png"):
        run(cells, **changes)
