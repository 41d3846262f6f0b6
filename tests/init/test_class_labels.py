"""Colors that `pipeline init` suggests: distinct for any number of classes."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.init.class_labels import OKABE_ITO, suggest_colors

MIN_DISTANCE = 20  # CIE76 Delta E of 20 classes: about ten times the just noticeable difference (2.3)
MIN_DISTANCE_OF_MANY = 8
MAX_CLASSES = 254


def to_lab(color: str) -> np.ndarray:
    """Convert a color to CIELAB by the definitions of IEC 61966-2-1 and CIE 15 (D65)."""
    srgb = np.array(list(bytes.fromhex(color[1:]))) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    white = np.array([0.9505, 1.0, 1.089])
    scaled = to_xyz @ linear / white
    x, y, z = np.where(scaled > 216 / 24389, np.cbrt(scaled), scaled * 841 / 108 + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def compute_min_distance(colors: list[str]) -> float:
    labs = np.array([to_lab(color) for color in colors])
    distances = np.linalg.norm(labs[:, None] - labs[None], axis=-1)
    return float(distances[np.triu_indices(len(colors), 1)].min())


def test_suggest_colors_of_any_number_are_distinct() -> None:
    colors = suggest_colors(MAX_CLASSES)
    assert len({color.lower() for color in colors}) == MAX_CLASSES
    assert compute_min_distance(colors) > MIN_DISTANCE_OF_MANY
    for count in (0, 1, 2, 7, 8, 9, 20, 21, 100, MAX_CLASSES - 1):
        assert suggest_colors(count) == colors[:count]


def test_suggest_colors_up_to_20_are_clearly_different() -> None:
    assert compute_min_distance(suggest_colors(20)) > MIN_DISTANCE


def test_suggest_colors_starts_with_okabe_ito() -> None:
    assert suggest_colors(7) == list(OKABE_ITO)


@pytest.mark.parametrize("taken", [["#000000", "#0072b2"], ["#0173b3", "#00ff00", "#0000ff"]])
def test_suggest_colors_differ_from_taken_colors(taken: list[str]) -> None:
    colors = suggest_colors(20, taken)
    assert compute_min_distance([taken[-1], *colors]) > 10
    assert all(np.linalg.norm(to_lab(first) - to_lab(second)) > 10 for first in taken for second in colors)


def test_suggest_colors_are_neither_black_nor_white() -> None:
    assert all(15 < to_lab(color)[0] < 97 for color in suggest_colors(MAX_CLASSES))
