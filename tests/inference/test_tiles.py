"""Tiles of an image: they cover it, their weights add up to 1, and blending is exact where tiles agree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.imaging.windows import Window, cut_window
from pipeline.inference.tiles import Axis, Blend, Tiles, Tiling
from pipeline.models.unet import UNet
from pipeline.params.model import UNetModel

BLENDS: tuple[Blend, ...] = ("gaussian", "crop")


@st.composite
def axes(draw: st.DrawFn) -> Axis:
    multiple = draw(st.sampled_from((1, 2, 8, 32)))
    tile = multiple * draw(st.integers(1, 12))
    return Axis(draw(st.integers(1, 900)), tile, draw(st.floats(0, 0.95)), multiple, draw(st.sampled_from(BLENDS)))


@given(axes())
def test_tiles_cover_the_image_and_overlap_enough(axis: Axis) -> None:
    starts = np.array(axis.starts)
    assert (starts % axis.multiple == 0).all()
    assert axis.size % axis.multiple == 0
    assert starts[0] == 0
    assert starts[-1] + axis.size == axis.padded >= axis.length
    strides = np.diff(starts)
    assert (strides > 0).all()
    assert (strides <= max(axis.multiple, axis.size * (1 - axis.overlap))).all()


@given(axes())
def test_weights_of_each_pixel_add_up_to_one(axis: Axis) -> None:
    totals = np.zeros(axis.padded)
    for start, weights in zip(axis.starts, axis.weights, strict=True):
        totals[start : start + axis.size] += weights
        assert (weights >= 0).all()
    np.testing.assert_allclose(totals, 1, atol=1e-6)


@given(axes(), axes())
def test_blending_returns_an_image_that_all_tiles_agree_on(rows: Axis, columns: Axis) -> None:
    image = np.random.default_rng(0).random((2, rows.padded, columns.padded), np.float32)
    strips = list(
        Tiling(rows, columns).predict_strips(
            lambda windows: (image[:, *window] for window in windows), num_values=2, array=np.asarray
        )
    )
    assert [part.start for part, _ in strips] == list(rows.starts)
    blended = np.concatenate([values for _, values in strips], axis=1)
    np.testing.assert_allclose(blended, image[:, : rows.length, : columns.length], atol=1e-5)


@pytest.mark.parametrize("depth", [1, 2])
def test_cropped_tiles_with_a_margin_of_the_receptive_field_equal_the_whole_image(depth: int) -> None:
    torch.manual_seed(0)
    model = UNetModel(
        family="unet",
        base_channels=4,
        depth=depth,
        upsampling="transpose",
        skip_connections="concat",
        norm="batch",
        dropout=0.0,
    )
    network = UNet(3, 2, model).eval()
    image = torch.rand(1, 3, 200, 168)
    margin, tile = {1: 16, 2: 32}[depth], 96
    tiling = Tiles((tile, tile), 1 << depth, 2 * margin / tile, "crop").cover((200, 168))
    assert len(tiling) > 1

    def predict(windows: Sequence[Window]) -> Iterator[torch.Tensor]:
        return (network(image[:, :, *window])[0] for window in windows)

    with torch.no_grad():
        whole = network(image)[0]
        strips = tiling.predict_strips(predict, num_values=2, array=torch.as_tensor)
        blended = torch.cat([values for _, values in strips], dim=1)
    torch.testing.assert_close(blended, whole, rtol=0, atol=1e-5)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 12))
def test_windows_outside_the_image_show_its_reflection(height: int, width: int, top: int, left: int, side: int) -> None:
    image = np.arange(height * width * 2).reshape(height, width, 2)
    padded = np.pad(image, ((20, 20), (20, 20), (0, 0)), mode="reflect")
    window = cut_window(image, (slice(top, top + side), slice(left, left + side)))
    np.testing.assert_array_equal(window, padded[top + 20 : top + 20 + side, left + 20 : left + 20 + side])
    mask = cut_window(image[..., 0], (slice(top, top + side), slice(left, left + side)), outside=-1)
    padded = np.pad(image[..., 0], 20, constant_values=-1)
    np.testing.assert_array_equal(mask, padded[top + 20 : top + 20 + side, left + 20 : left + 20 + side])
