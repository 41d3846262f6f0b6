"""What masks mean: guesses give the right pixels or say what may be wrong; no class is inverted or lost silently."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.init.conftest import SIZE, RefusedError, Seen, disc

See = Callable[..., Seen]
COUNT = 12
NAMES = [f"a{index:02}" for index in range(COUNT)]
DISCS = {name: disc(index).astype(int) for index, name in enumerate(NAMES)}


def by_turns(*kinds: Callable[[np.ndarray], Any]) -> dict[str, Any]:
    """Encode the discs by turns in each of these ways."""
    return {name: kinds[place % len(kinds)](DISCS[name]) for place, name in enumerate(NAMES)}


def values(background: int, foreground: int, dtype: type = np.uint8) -> Callable[[np.ndarray], np.ndarray]:
    return lambda labels: np.where(labels > 0, foreground, background).astype(dtype)


def create_ema(drawn: np.ndarray) -> np.ndarray:
    """Take the mean of the 3 x 3 pixels around each one."""
    padded = np.pad(drawn.astype(float), 1, mode="edge")
    return np.mean(
        [padded[row : row + SIZE, column : column + SIZE] for row in range(3) for column in range(3)], axis=0
    )


def soft(low: int, high: int) -> Callable[[np.ndarray], np.ndarray]:
    def draw(labels: np.ndarray) -> np.ndarray:
        dtype = np.uint8 if max(low, high) < 256 else np.uint16
        return np.rint(low + (high - low) * create_ema(labels)).astype(dtype)

    return draw


def palette(indices: np.ndarray, colors: list[int]) -> Image.Image:
    image = Image.frombytes("P", indices.shape[::-1], indices.astype(np.uint8).tobytes())
    image.putpalette([level for color in colors for level in color.to_bytes(3, "big")])
    return image


ENCODINGS = {
    "0 and 1, or 0 and 255": [values(0, 1), values(0, 255)],
    "8 and 16 bits": [values(0, 1), values(0, 1, np.uint16)],
    "0 and 65535": [values(0, 1), values(0, 65_535, np.uint16)],
    "three encodings": [values(0, 1), values(0, 255), values(0, 65_535, np.uint16)],
    "bilevel": [lambda labels: Image.fromarray(labels > 0), values(0, 255)],
    "1 and 2": [values(1, 2)],
    "inverted palette among bilevel": [
        lambda labels: Image.fromarray(labels > 0),
        lambda labels: palette(1 - labels, [0xFFFFFF, 0x000000]),
    ],
}


@pytest.mark.parametrize("case", ENCODINGS)
def test_init_two_classes_in_any_encodings_gives_background_and_foreground(see: See, case: str) -> None:
    found = see(by_turns(*ENCODINGS[case]))
    assert found.indices(DISCS) == {0: {0}, 1: {1}}
    kinds = len(found.values[1]) if isinstance(found.values[1], list) else 1
    assert (f"foreground has {kinds} values" in found.output) is (kinds > 1)


@pytest.mark.parametrize(
    ("right", "wrong"), [(values(0, 255), values(255, 0)), (values(0, 1), values(1, 0)), (soft(0, 255), soft(255, 0))]
)
def test_init_some_inverted_masks_names_them(see: See, right: Any, wrong: Any) -> None:
    found = see({name: (wrong if place in (2, 7) else right)(DISCS[name]) for place, name in enumerate(NAMES)})
    [notice] = [notice for notice in found.notices if "look inverted" in notice]
    assert notice.startswith("2 of 12 masks look inverted")
    assert "masks/a02.png, masks/a07.png." in notice


@pytest.mark.parametrize("kind", [values(255, 0), values(1, 0), lambda labels: palette(1 - labels, [0xFFFFFF, 0])])
def test_init_objects_of_value_0_are_doubted(see: See, kind: Any) -> None:
    found = see(by_turns(kind))
    assert found.indices(DISCS) == {0: {1}, 1: {0}}  # by the usual meaning of 0
    assert any("surrounded by foreground in 12 of 12 masks" in notice for notice in found.notices)


BIG = {name: np.pad(np.ones((28, 28), np.uint8), 2) for name in NAMES}  # objects of three quarters of the pixels


def test_init_without_a_value_0_the_frame_shows_the_background(see: See) -> None:
    found = see({name: np.where(labels > 0, 1, 2).astype(np.uint8) for name, labels in BIG.items()})
    assert found.indices(BIG) == {0: {0}, 1: {1}}
    assert [item["mask_value"] for item in found.data["classes"]] == [2, 1]
    assert not any("surrounded" in notice for notice in found.notices)


def test_init_large_objects_of_value_0_are_doubted(see: See) -> None:
    found = see({name: np.where(labels > 0, 0, 255).astype(np.uint8) for name, labels in BIG.items()})
    [notice] = [notice for notice in found.notices if "surrounded by foreground in 12 of 12 masks" in notice]
    assert "smaller part" not in notice


@pytest.mark.parametrize("kinds", [[values(0, 255)], [values(0, 1), values(0, 255)], [soft(0, 255)]])
def test_init_usual_masks_raise_no_doubt_of_the_background(see: See, kinds: Any) -> None:
    assert not any("surrounded" in notice or "inverted" in notice for notice in see(by_turns(*kinds)).notices)


def test_init_void_that_is_foreground_elsewhere_names_the_masks(see: See) -> None:
    masks = by_turns(values(0, 1))
    masks["a03"] = values(0, 255)(DISCS["a03"])
    for name in ("a04", "a05", "a06"):
        masks[name][:3] = 255
    found = see(masks)
    assert found.data["ignore_value"] == 255
    assert any("1 of these hold nothing else but 0, perhaps as foreground: masks/a03.png." in n for n in found.notices)


@pytest.mark.parametrize(("void", "dtype"), [(255, np.uint8), (65_535, np.uint16)])
def test_init_void_beside_classes_is_ignored(see: See, void: int, dtype: type) -> None:
    masks = by_turns(values(0, 1, dtype))
    for mask in masks.values():
        mask[:2] = void
    found = see(masks)
    assert found.data["ignore_value"] == void
    assert found.indices(masks) == {0: {0}, 1: {1}, void: {255}}
    assert any(f"{void} is taken for unknown pixels" in notice for notice in found.notices)


@pytest.mark.parametrize(("void", "dtype"), [(255, np.uint8), (65_535, np.uint16)])
def test_init_masks_that_are_void_throughout_are_ignored(see: See, void: int, dtype: type) -> None:
    masks = by_turns(*[values(0, 1, dtype)] * 3, lambda labels: np.full(labels.shape, void, dtype))
    found = see(masks)
    assert found.data["ignore_value"] == void
    assert found.indices(masks) == {0: {0}, 1: {1}, void: {255}}
    assert not any("either" in notice for notice in found.notices)


def test_init_void_that_takes_the_place_of_a_class_is_doubted(see: See) -> None:
    masks = by_turns(*[values(0, 1)] * 4)
    for place, mask in enumerate(masks.values()):
        mask[:2] = 2 if place % 4 else 255
    found = see(masks)
    assert found.data["ignore_value"] == 255
    assert any("write mask_value: [2, 255] and ignore_value: null" in notice for notice in found.notices)


def test_init_the_void_color_of_pascal_voc_is_doubted(see: See) -> None:
    def colored(labels: np.ndarray) -> np.ndarray:
        drawn = np.where(labels[..., None] > 0, (128, 0, 0), 0).astype(np.uint8)
        drawn[:2] = (224, 224, 192)
        return drawn

    assert any('write ignore_value: "#e0e0c0"' in notice for notice in see(by_turns(colored)).notices)


def test_init_whole_masks_of_a_second_encoding_are_named(see: See) -> None:
    masks = by_turns(*[values(0, 1)] * 3, values(0, 255))
    masks["a00"][:] = 255
    found = see(masks)
    assert found.values == [0, [1, 255]]
    assert any(
        "Masks with no other value, perhaps as unknown (1): masks/a00.png." in notice for notice in found.notices
    )


SOFT = {
    "0 to 255": (soft(0, 255), 128),
    "0 to 100": (soft(0, 100), 50),
    "16 bits": (soft(0, 65_535), 32_768),
    "three equal channels": (lambda labels: np.dstack([soft(0, 255)(labels)] * 3), 128),
}


@pytest.mark.parametrize("case", SOFT)
def test_init_soft_masks_get_the_threshold_in_the_middle(see: See, case: str) -> None:
    kind, threshold = SOFT[case]
    found = see(by_turns(kind))
    truths = {name: (soft(0, 510)(labels) >= 255).astype(int) for name, labels in DISCS.items()}
    assert found.data["mask_threshold"] == threshold
    assert found.indices(truths) == {0: {0}, 1: {1}}
    assert any("write mask_threshold: null" in notice for notice in found.notices)


def test_init_masks_of_0_and_1_among_soft_ones_are_named(see: See) -> None:
    found = see(by_turns(soft(0, 255), soft(0, 255), values(0, 1)))
    [notice] = [notice for notice in found.notices if "whose foreground is lost" in notice]
    assert "their highest value, 1, is below 128 (4): " in notice
    assert "masks/a02.png" in notice


def test_init_interpolated_classes_are_doubted(see: See) -> None:
    def classes(labels: np.ndarray) -> np.ndarray:
        drawn = np.where(labels > 0, 240, 0)
        drawn[SIZE // 2 :] = np.where(labels[SIZE // 2 :] > 0, 240, 120)
        return drawn

    def interpolated(labels: np.ndarray) -> np.ndarray:
        return np.rint(create_ema(classes(labels))).astype(np.uint8)

    assert any("are only on edges between others" in notice for notice in see(by_turns(interpolated)).notices)


def test_init_colors_with_soft_edges_are_doubted(see: See) -> None:
    notices = see(by_turns(lambda labels: (create_ema(labels)[..., None] * (255, 128, 0)).astype(np.uint8))).notices
    [notice] = [notice for notice in notices if "are only on edges between others" in notice]
    assert notice.startswith("6 of 8 values")


@pytest.mark.parametrize(("ending", "said"), [("webp", "lossy WebP changes pixel values"), ("jpg", "JPEG changes")])
def test_init_masks_of_three_values_stored_with_loss_are_refused(see: See, ending: str, said: str) -> None:
    def classes(labels: np.ndarray) -> np.ndarray:
        drawn = np.where(labels > 0, 255, 0).astype(np.uint8)
        drawn[SIZE // 2 :] = np.maximum(drawn[SIZE // 2 :], 127)
        return np.dstack([drawn] * 3)

    with pytest.raises(RefusedError, match=said):
        see(by_turns(classes), ending=ending)


def test_init_masks_in_the_alpha_channel_are_pointed_at(see: See) -> None:
    def alpha(labels: np.ndarray) -> np.ndarray:
        return np.dstack([np.full((SIZE, SIZE, 3), 255), labels * 255]).astype(np.uint8)

    with pytest.raises(
        RefusedError, match="where the mask is in the alpha channel, which is ignored, save that channel"
    ):
        see(by_turns(alpha))


def test_init_thin_layers_between_classes_stay_classes(see: See) -> None:
    def layers(labels: np.ndarray) -> np.ndarray:
        top = 8 + int(labels.argmax()) % 9
        return np.array([0, 64, 128, 192, 255], np.uint8)[
            np.digitize(np.arange(SIZE), [top, top + 2, top + 4, top + 6])
        ][:, None].repeat(SIZE, 1)

    found = see(by_turns(layers))
    assert found.values == [0, 64, 128, 192, 255]
    assert not any("only on edges" in notice for notice in found.notices)


def numbered(index: int, offset: int = 0) -> np.ndarray:
    """Draw squares, as many as the index says, numbered row by row."""
    labels = np.zeros((SIZE, SIZE), int)
    for number in range(3 + index % 8):
        row, column = divmod(number, 4)
        labels[row * 10 + 1 : row * 10 + 8, column * 8 + 1 : column * 8 + 7] = offset + number + 1
    return labels


IDS = np.random.default_rng(0).permutation(np.arange(1, 60_000))
NUMBERED = {
    "from 1 on": lambda index: numbered(index).astype(np.uint8),
    "from mask to mask": lambda index: np.where(numbered(0) > 0, numbered(0) + 3 * index, 0).astype(np.uint8),
    "numbers of their own": lambda index: np.where(numbered(index), IDS[numbered(index) + 20 * index], 0).astype(
        np.uint16
    ),
    "a palette for each mask": lambda index: palette(
        numbered(index), [0, *np.random.default_rng(index).integers(1, 1 << 24, 20).tolist()]
    ),
}


@pytest.mark.parametrize("case", NUMBERED)
def test_init_numbered_objects_become_background_inside_and_border(see: See, case: str) -> None:
    masks = {name: NUMBERED[case](index) for index, name in enumerate(NAMES)}
    found = see(masks)
    assert found.data["instances"] == {"border": 2}
    labels = {name: np.minimum(np.asarray(mask), 1) for name, mask in masks.items()}
    assert found.indices(labels)[1] == {1, 2}
    assert any("numbered objects (instances)" in notice for notice in found.notices)


def test_init_numbered_objects_with_a_very_high_number_are_still_numbered(see: See) -> None:
    masks: dict[str, Any] = {name: numbered(index).astype(np.uint8) for index, name in enumerate(NAMES)}
    last = numbered(COUNT - 1).astype(np.int32)
    last[last == last.max()] = 2**31 - 1
    masks[NAMES[-1]] = lambda path: tifffile.imwrite(path.with_suffix(".tif"), last)
    assert see(masks).data["instances"] == {"border": 2}


def test_init_organs_stay_classes(see: See) -> None:
    rng = np.random.default_rng(0)
    masks = {name: np.where(rng.random(12)[numbered(7) - 1] < 0.85, numbered(7), 0).astype(np.uint8) for name in NAMES}
    found = see(masks)
    assert "instances" not in found.data
    assert found.indices(masks) == {value: {value} for value in range(11)}


def test_init_colors_that_hardly_differ_are_doubted(see: See) -> None:
    kinds = [lambda labels, red=red: palette(labels, [0, red << 16]) for red in (254, 255)]
    found = see(by_turns(*kinds))
    assert 'mask_value: ["#fe0000", "#ff0000"]' in found.output


def test_init_families_of_colors_are_quoted_for_yaml(see: See) -> None:
    found = see(by_turns(lambda labels: palette(labels, [0, 0xFF0000]), lambda labels: palette(labels, [0, 0x00FF00])))
    assert 'mask_value: ["#00ff00", "#ff0000"]' in found.output


def test_init_a_palette_for_each_mask_is_refused(see: See) -> None:
    colors = np.random.default_rng(0).integers(1, 1 << 24, COUNT).tolist()
    with pytest.raises(RefusedError, match=r"12 of 13 colors are in one mask only, .* save the masks without palettes"):
        see({name: palette(DISCS[name], [0, color]) for name, color in zip(NAMES, colors, strict=True)})


UNREADABLE = {
    "soft floats": (np.float32, {}, "has pixels with fractions"),
    "white as zero": (np.uint32, {"photometric": "miniswhite"}, "save it as MINISBLACK"),
    "overshoot": (np.int16, {}, "it holds -30 to 255"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_init_masks_that_cannot_be_read_say_why(see: See, case: str) -> None:
    dtype, options, said = UNREADABLE[case]
    low = {"overshoot": -30, "soft floats": 0.5}.get(case, 0)
    with pytest.raises(RefusedError, match=rf"none of the masks can be read; masks/a00\.tif .*{said}"):
        see(
            {
                name: lambda path, labels=labels: tifffile.imwrite(
                    Path(f"{path}.tif"), np.where(labels > 0, 255, low).astype(dtype), **options
                )
                for name, labels in DISCS.items()
            }
        )
