"""`init` guesses the meaning of mask values correctly or gives a notice; it never inverts or drops a class silently."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.init.conftest import SIZE, InitResult, RefusedError, draw_disc

RunInit = Callable[..., InitResult]
COUNT = 12
NAMES = [f"a{index:02}" for index in range(COUNT)]
DISCS = {name: draw_disc(index).astype(int) for index, name in enumerate(NAMES)}


def encode_in_turn(*kinds: Callable[[np.ndarray], Any]) -> dict[str, Any]:
    """Encode the discs with each of the encodings in turn."""
    return {name: kinds[index % len(kinds)](DISCS[name]) for index, name in enumerate(NAMES)}


def encode_values(background: int, foreground: int, dtype: type = np.uint8) -> Callable[[np.ndarray], np.ndarray]:
    return lambda labels: np.where(labels > 0, foreground, background).astype(dtype)


def smooth(mask: np.ndarray) -> np.ndarray:
    """Average the 3 x 3 pixels around each pixel."""
    padded = np.pad(mask.astype(float), 1, mode="edge")
    return np.mean(
        [padded[row : row + SIZE, column : column + SIZE] for row in range(3) for column in range(3)], axis=0
    )


def encode_soft(low: int, high: int) -> Callable[[np.ndarray], np.ndarray]:
    def draw(labels: np.ndarray) -> np.ndarray:
        dtype = np.uint8 if max(low, high) < 256 else np.uint16
        return np.rint(low + (high - low) * smooth(labels)).astype(dtype)

    return draw


def make_palette_image(indices: np.ndarray, colors: list[int]) -> Image.Image:
    image = Image.frombytes("P", indices.shape[::-1], indices.astype(np.uint8).tobytes())
    image.putpalette([level for color in colors for level in color.to_bytes(3, "big")])
    return image


ENCODINGS = {
    "0 and 1, or 0 and 255": [encode_values(0, 1), encode_values(0, 255)],
    "8 and 16 bits": [encode_values(0, 1), encode_values(0, 1, np.uint16)],
    "0 and 65535": [encode_values(0, 1), encode_values(0, 65_535, np.uint16)],
    "three encodings": [encode_values(0, 1), encode_values(0, 255), encode_values(0, 65_535, np.uint16)],
    "bilevel": [lambda labels: Image.fromarray(labels > 0), encode_values(0, 255)],
    "1 and 2": [encode_values(1, 2)],
    "inverted palette among bilevel": [
        lambda labels: Image.fromarray(labels > 0),
        lambda labels: make_palette_image(1 - labels, [0xFFFFFF, 0x000000]),
    ],
}


@pytest.mark.parametrize("case", ENCODINGS)
def test_init_of_two_classes_in_any_encodings_gives_background_and_foreground(run_init: RunInit, case: str) -> None:
    result = run_init(encode_in_turn(*ENCODINGS[case]))
    assert result.indices(DISCS) == {0: {0}, 1: {1}}
    kinds = len(result.values[1]) if isinstance(result.values[1], list) else 1
    assert (f"foreground has {kinds} values" in result.output) is (kinds > 1)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (encode_values(0, 255), encode_values(255, 0)),
        (encode_values(0, 1), encode_values(1, 0)),
        (encode_soft(0, 255), encode_soft(255, 0)),
    ],
)
def test_init_of_some_inverted_masks_lists_them(run_init: RunInit, right: Any, wrong: Any) -> None:
    result = run_init({name: (wrong if index in (2, 7) else right)(DISCS[name]) for index, name in enumerate(NAMES)})
    [notice] = [notice for notice in result.notices if "look inverted" in notice]
    assert notice.startswith("2 of 12 masks look inverted")
    assert "masks/a02.png, masks/a07.png." in notice


@pytest.mark.parametrize(
    "kind", [encode_values(255, 0), encode_values(1, 0), lambda labels: make_palette_image(1 - labels, [0xFFFFFF, 0])]
)
def test_init_of_objects_with_value_0_gives_a_notice(run_init: RunInit, kind: Any) -> None:
    result = run_init(encode_in_turn(kind))
    assert result.indices(DISCS) == {0: {1}, 1: {0}}  # 0 usually is background
    assert any("surrounded by foreground in 12 of 12 masks" in notice for notice in result.notices)


LARGE_SQUARES = {name: np.pad(np.ones((28, 28), np.uint8), 2) for name in NAMES}  # three quarters of the pixels


def test_init_without_value_0_takes_the_frame_as_background(run_init: RunInit) -> None:
    result = run_init({name: np.where(labels > 0, 1, 2).astype(np.uint8) for name, labels in LARGE_SQUARES.items()})
    assert result.indices(LARGE_SQUARES) == {0: {0}, 1: {1}}
    assert [item["mask_value"] for item in result.data["classes"]] == [2, 1]
    assert not any("surrounded" in notice for notice in result.notices)


def test_init_of_large_objects_with_value_0_gives_a_notice(run_init: RunInit) -> None:
    result = run_init({name: np.where(labels > 0, 0, 255).astype(np.uint8) for name, labels in LARGE_SQUARES.items()})
    [notice] = [notice for notice in result.notices if "surrounded by foreground in 12 of 12 masks" in notice]
    assert "smaller part" not in notice


@pytest.mark.parametrize(
    "kinds", [[encode_values(0, 255)], [encode_values(0, 1), encode_values(0, 255)], [encode_soft(0, 255)]]
)
def test_init_of_common_masks_gives_no_notice_about_the_background(run_init: RunInit, kinds: Any) -> None:
    assert not any(
        "surrounded" in notice or "inverted" in notice for notice in run_init(encode_in_turn(*kinds)).notices
    )


def test_init_of_void_that_may_be_foreground_lists_the_masks(run_init: RunInit) -> None:
    masks = encode_in_turn(encode_values(0, 1))
    masks["a03"] = encode_values(0, 255)(DISCS["a03"])
    for name in ("a04", "a05", "a06"):
        masks[name][:3] = 255
    result = run_init(masks)
    assert result.data["ignore_value"] == 255
    assert any(
        "1 of these contain only 255 and 0, so 255 may be foreground: masks/a03.png." in n for n in result.notices
    )


@pytest.mark.parametrize(("void", "dtype"), [(255, np.uint8), (65_535, np.uint16)])
def test_init_ignores_void_in_masks_with_classes(run_init: RunInit, void: int, dtype: type) -> None:
    masks = encode_in_turn(encode_values(0, 1, dtype))
    for mask in masks.values():
        mask[:2] = void
    result = run_init(masks)
    assert result.data["ignore_value"] == void
    assert result.indices(masks) == {0: {0}, 1: {1}, void: {255}}
    assert any(f"{void} is interpreted as unknown" in notice for notice in result.notices)


@pytest.mark.parametrize(("void", "dtype"), [(255, np.uint8), (65_535, np.uint16)])
def test_init_ignores_masks_of_void_only(run_init: RunInit, void: int, dtype: type) -> None:
    masks = encode_in_turn(*[encode_values(0, 1, dtype)] * 3, lambda labels: np.full(labels.shape, void, dtype))
    result = run_init(masks)
    assert result.data["ignore_value"] == void
    assert result.indices(masks) == {0: {0}, 1: {1}, void: {255}}
    assert not any("either" in notice for notice in result.notices)


def test_init_of_void_that_replaces_a_class_gives_a_notice(run_init: RunInit) -> None:
    masks = encode_in_turn(*[encode_values(0, 1)] * 4)
    for index, mask in enumerate(masks.values()):
        mask[:2] = 2 if index % 4 else 255
    result = run_init(masks)
    assert result.data["ignore_value"] == 255
    assert any("write mask_value: [2, 255] and ignore_value: null" in notice for notice in result.notices)


def test_init_of_the_void_color_of_pascal_voc_gives_a_notice(run_init: RunInit) -> None:
    def draw_colored(labels: np.ndarray) -> np.ndarray:
        mask = np.where(labels[..., None] > 0, (128, 0, 0), 0).astype(np.uint8)
        mask[:2] = (224, 224, 192)
        return mask

    assert any('write ignore_value: "#e0e0c0"' in notice for notice in run_init(encode_in_turn(draw_colored)).notices)


def test_init_of_uniform_masks_in_a_second_encoding_lists_them(run_init: RunInit) -> None:
    masks = encode_in_turn(*[encode_values(0, 1)] * 3, encode_values(0, 255))
    masks["a00"][:] = 255
    result = run_init(masks)
    assert result.values == [0, [1, 255]]
    assert any(
        "1 mask contains only this value, which may mean unknown: masks/a00.png." in notice for notice in result.notices
    )


SOFT = {
    "0 to 255": (encode_soft(0, 255), 128),
    "0 to 100": (encode_soft(0, 100), 50),
    "16 bits": (encode_soft(0, 65_535), 32_768),
    "three equal channels": (lambda labels: np.dstack([encode_soft(0, 255)(labels)] * 3), 128),
}


@pytest.mark.parametrize("case", SOFT)
def test_init_of_soft_masks_sets_the_threshold_to_the_middle(run_init: RunInit, case: str) -> None:
    kind, threshold = SOFT[case]
    result = run_init(encode_in_turn(kind))
    truths = {name: (encode_soft(0, 510)(labels) >= 255).astype(int) for name, labels in DISCS.items()}
    assert result.data["mask_threshold"] == threshold
    assert result.indices(truths) == {0: {0}, 1: {1}}
    assert any("write mask_threshold: null" in notice for notice in result.notices)


def test_init_of_masks_of_0_and_1_among_soft_ones_lists_them(run_init: RunInit) -> None:
    result = run_init(encode_in_turn(encode_soft(0, 255), encode_soft(0, 255), encode_values(0, 1)))
    [notice] = [notice for notice in result.notices if "data.mask_threshold" in notice]
    assert notice.startswith("4 mask files have only one class, because the highest value, 1, is below")
    assert "masks/a02.png" in notice


def test_init_of_interpolated_classes_gives_a_notice(run_init: RunInit) -> None:
    def draw_classes(labels: np.ndarray) -> np.ndarray:
        mask = np.where(labels > 0, 240, 0)
        mask[SIZE // 2 :] = np.where(labels[SIZE // 2 :] > 0, 240, 120)
        return mask

    def draw_interpolated(labels: np.ndarray) -> np.ndarray:
        return np.rint(smooth(draw_classes(labels))).astype(np.uint8)

    assert any(
        "are only on edges between others" in notice for notice in run_init(encode_in_turn(draw_interpolated)).notices
    )


def test_init_of_colors_with_soft_edges_gives_a_notice(run_init: RunInit) -> None:
    notices = run_init(
        encode_in_turn(lambda labels: (smooth(labels)[..., None] * (255, 128, 0)).astype(np.uint8))
    ).notices
    [notice] = [notice for notice in notices if "are only on edges between others" in notice]
    assert notice.startswith("6 of 8 values")


@pytest.mark.parametrize(("ending", "message"), [("webp", "lossy WebP changes pixel values"), ("jpg", "JPEG changes")])
def test_init_of_three_classes_with_lossy_compression_is_refused(run_init: RunInit, ending: str, message: str) -> None:
    def draw_classes(labels: np.ndarray) -> np.ndarray:
        mask = np.where(labels > 0, 255, 0).astype(np.uint8)
        mask[SIZE // 2 :] = np.maximum(mask[SIZE // 2 :], 127)
        return np.dstack([mask] * 3)

    with pytest.raises(RefusedError, match=message):
        run_init(encode_in_turn(draw_classes), ending=ending)


def save_as_jpeg(mask: np.ndarray, quality: int) -> Callable[[Path], None]:
    image = Image.fromarray(mask.astype(np.uint8))
    return lambda path: image.save(path.with_name(f"{path.name}.jpg"), quality=quality)


@pytest.mark.parametrize("quality", [75, 85, 90, 95])
def test_init_of_two_classes_as_jpeg_of_usual_quality_sets_a_threshold(run_init: RunInit, quality: int) -> None:
    result = run_init(encode_in_turn(lambda labels: save_as_jpeg(labels * 255, quality)))
    assert result.data["mask_threshold"] == 128
    assert any("masks of two classes, changed by JPEG" in notice for notice in result.notices)
    assert result.indices(DISCS) == {0: {0}, 1: {1}}


@pytest.mark.parametrize("third", [64, 128])
def test_init_of_a_small_third_class_as_jpeg_is_refused(run_init: RunInit, third: int) -> None:
    def draw_classes(labels: np.ndarray) -> np.ndarray:
        mask = labels * 255
        mask[:4, :4] = third
        return mask

    with pytest.raises(RefusedError, match="If they have two classes, write `mask_threshold: 128`"):
        run_init(encode_in_turn(lambda labels: save_as_jpeg(draw_classes(labels), 85)))


def test_init_of_masks_in_the_alpha_channel_is_refused_with_advice(run_init: RunInit) -> None:
    def draw_alpha(labels: np.ndarray) -> np.ndarray:
        return np.dstack([np.full((SIZE, SIZE, 3), 255), labels * 255]).astype(np.uint8)

    with pytest.raises(RefusedError, match="If the mask is in the alpha channel, which is ignored, save that channel"):
        run_init(encode_in_turn(draw_alpha))


def test_init_keeps_thin_layers_between_classes_as_classes(run_init: RunInit) -> None:
    def draw_layers(labels: np.ndarray) -> np.ndarray:
        top = 8 + int(labels.argmax()) % 9
        return np.array([0, 64, 128, 192, 255], np.uint8)[
            np.digitize(np.arange(SIZE), [top, top + 2, top + 4, top + 6])
        ][:, None].repeat(SIZE, 1)

    result = run_init(encode_in_turn(draw_layers))
    assert result.values == [0, 64, 128, 192, 255]
    assert not any("only on edges" in notice for notice in result.notices)


def draw_numbered_squares(index: int, offset: int = 0) -> np.ndarray:
    """Draw 3 to 10 squares, numbered row by row."""
    labels = np.zeros((SIZE, SIZE), int)
    for number in range(3 + index % 8):
        row, column = divmod(number, 4)
        labels[row * 10 + 1 : row * 10 + 8, column * 8 + 1 : column * 8 + 7] = offset + number + 1
    return labels


IDS = np.random.default_rng(0).permutation(np.arange(1, 60_000))
NUMBERED = {
    "from 1 on": lambda index: draw_numbered_squares(index).astype(np.uint8),
    "from mask to mask": lambda index: np.where(
        draw_numbered_squares(0) > 0, draw_numbered_squares(0) + 3 * index, 0
    ).astype(np.uint8),
    "numbers of their own": lambda index: np.where(
        draw_numbered_squares(index), IDS[draw_numbered_squares(index) + 20 * index], 0
    ).astype(np.uint16),
    "a palette for each mask": lambda index: make_palette_image(
        draw_numbered_squares(index), [0, *np.random.default_rng(index).integers(1, 1 << 24, 20).tolist()]
    ),
}


@pytest.mark.parametrize("case", NUMBERED)
def test_init_of_numbered_objects_gives_background_inside_and_border(run_init: RunInit, case: str) -> None:
    masks = {name: NUMBERED[case](index) for index, name in enumerate(NAMES)}
    result = run_init(masks)
    assert result.data["instances"] == {"border": 2}
    labels = {name: np.minimum(np.asarray(mask), 1) for name, mask in masks.items()}
    assert result.indices(labels)[1] == {1, 2}
    assert any("numbered objects (instances)" in notice for notice in result.notices)


def test_init_accepts_very_high_numbers_of_objects(run_init: RunInit) -> None:
    masks: dict[str, Any] = {name: draw_numbered_squares(index).astype(np.uint8) for index, name in enumerate(NAMES)}
    last = draw_numbered_squares(COUNT - 1).astype(np.int32)
    last[last == last.max()] = 2**31 - 1
    masks[NAMES[-1]] = lambda path: tifffile.imwrite(path.with_suffix(".tif"), last)
    assert run_init(masks).data["instances"] == {"border": 2}


def test_init_keeps_organs_as_classes(run_init: RunInit) -> None:
    rng = np.random.default_rng(0)
    masks = {
        name: np.where(rng.random(12)[draw_numbered_squares(7) - 1] < 0.85, draw_numbered_squares(7), 0).astype(
            np.uint8
        )
        for name in NAMES
    }
    result = run_init(masks)
    assert "instances" not in result.data
    assert result.indices(masks) == {value: {value} for value in range(11)}


def test_init_combines_colors_that_hardly_differ(run_init: RunInit) -> None:
    kinds = [lambda labels, red=red: make_palette_image(labels, [0, red << 16]) for red in (254, 255)]
    result = run_init(encode_in_turn(*kinds))
    assert 'mask_value: ["#fe0000", "#ff0000"]' in result.output


def test_init_quotes_combined_colors_for_yaml(run_init: RunInit) -> None:
    result = run_init(
        encode_in_turn(
            lambda labels: make_palette_image(labels, [0, 0xFF0000]),
            lambda labels: make_palette_image(labels, [0, 0x00FF00]),
        )
    )
    assert 'mask_value: ["#00ff00", "#ff0000"]' in result.output


def test_init_of_a_palette_for_each_mask_is_refused(run_init: RunInit) -> None:
    colors = np.random.default_rng(0).integers(1, 1 << 24, COUNT).tolist()
    with pytest.raises(
        RefusedError, match=r"12 of 13 colors appear in only one mask, .* save the masks without palettes"
    ):
        run_init({name: make_palette_image(DISCS[name], [0, color]) for name, color in zip(NAMES, colors, strict=True)})


UNREADABLE = {
    "soft floats": (np.float32, {}, "has fractional pixel values"),
    "white as zero": (np.uint32, {"photometric": "miniswhite"}, "save it as MINISBLACK"),
    "overshoot": (np.int16, {}, "has values from -30 to 255"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_init_of_masks_that_cannot_be_read_gives_the_reason(run_init: RunInit, case: str) -> None:
    dtype, options, message = UNREADABLE[case]
    low = {"overshoot": -30, "soft floats": 0.5}.get(case, 0)
    with pytest.raises(RefusedError, match=rf"none of the masks can be read \(for example, masks/a00\.tif .*{message}"):
        run_init(
            {
                name: lambda path, labels=labels: tifffile.imwrite(
                    Path(f"{path}.tif"), np.where(labels > 0, 255, low).astype(dtype), **options
                )
                for name, labels in DISCS.items()
            }
        )
