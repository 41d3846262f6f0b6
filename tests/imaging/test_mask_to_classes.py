"""Map the values of masks to classes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.imaging import IGNORE
from pipeline.imaging.mask_to_classes import MaskEncoding

NUMBERS = st.one_of(st.integers(0, 6), st.integers(0, 65_535))
COLORS = st.one_of(st.integers(0, 6), st.integers(0, 0xFFFFFF)).map("#{:06x}".format)


def to_number(value: int | str) -> int:
    return int(value[1:], 16) if isinstance(value, str) else value


@pytest.mark.parametrize("kind", [NUMBERS, COLORS])
@given(st.data())
def test_mask_encoding_covers_masks_of_declared_values(kind, data) -> None:
    declared = data.draw(st.lists(kind, min_size=2, max_size=8, unique=True))
    is_last_ignored = data.draw(st.booleans())
    classes = [(value,) for value in (declared[:-1] if is_last_ignored else declared)]
    values = MaskEncoding.from_values(classes, declared[-1:] if is_last_ignored else ())
    meaning = {to_number(value): index for index, value in enumerate(declared)}
    if is_last_ignored:
        meaning[to_number(declared[-1])] = IGNORE
    pixels = [
        to_number(value) for value in data.draw(st.lists(st.sampled_from(declared) | kind, min_size=6, max_size=6))
    ]
    mask = np.array(pixels, np.uint8 if max(pixels) < 256 and data.draw(st.booleans()) else np.int32).reshape(2, 3)

    unknown = [value for value in pixels if value not in meaning]

    assert values.covers(mask) == (not unknown)
    assert sum(values.count_unknown(mask).values()) == len(unknown)
    if not unknown:
        assert values.to_indices(mask).ravel().tolist() == [meaning[value] for value in pixels]
        assert values.to_indices(mask).dtype == np.uint8
