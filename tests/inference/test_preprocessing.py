"""Network input of an image, and probabilities restored to the size of the image."""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.imaging.decode import read_fitted
from pipeline.imaging.errors import ImageError
from pipeline.imaging.resize import FixedSize, NativeSize, Resize, Resizing
from pipeline.imaging.tiff_image import TiffImage
from pipeline.inference.preprocessing import NetworkInput, Preprocessing

SIDE = st.integers(1, 700)


def restore_image(preprocessing: Preprocessing, probs: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return np.concatenate(list(preprocessing.restore_probs([probs], shape)), axis=1)


@given(height=SIDE, width=SIDE, seed=st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_restore_probs_interpolates_as_torch_does(height: int, width: int, seed: int) -> None:
    probs = np.random.default_rng(seed).random((3, 16, 16), np.float32)
    restored = restore_image(Preprocessing(FixedSize((16, 16), "stretch"), 3, 8), probs, (height, width))
    expected = F.interpolate(torch.from_numpy(probs)[None], (height, width), mode="bilinear")[0].numpy()
    assert np.abs(restored - expected).max() < 1e-4


@given(height=st.integers(1, 90), width=st.integers(1, 90), size=st.integers(1, 24), cuts=st.sets(st.integers(1, 23)))
@example(height=1, width=1, size=5, cuts={1})  # the first strip is above all rows that are interpolated
@settings(max_examples=60, deadline=None)
def test_restore_probs_of_strips_equal_those_of_the_whole(height: int, width: int, size: int, cuts: set[int]) -> None:
    probs = np.random.default_rng(0).random((3, size, 16), np.float32)
    edges = [0, *sorted(cut for cut in cuts if cut < size), size]
    strips = [probs[:, top:bottom] for top, bottom in pairwise(edges)]
    for resize in ("stretch", "letterbox"):
        preprocessing = Preprocessing(FixedSize((size, 16), resize), 3, 8)
        whole = restore_image(preprocessing, probs, (height, width))
        assert whole.shape == (3, height, width)
        streamed = np.concatenate(list(preprocessing.restore_probs(iter(strips), (height, width))), axis=1)
        np.testing.assert_array_equal(streamed, whole)


@given(height=SIDE, width=SIDE)
@settings(max_examples=40, deadline=None)
def test_restore_probs_of_any_size_sum_to_1(height: int, width: int) -> None:
    probs = np.random.default_rng(0).random((4, 32, 48), np.float32)
    probs /= probs.sum(axis=0)
    restored = restore_image(Preprocessing(FixedSize((32, 48), "letterbox"), 3, 8), probs, (height, width))
    assert restored.shape == (4, height, width)
    assert np.abs(restored.sum(axis=0) - 1).max() < 1e-5
    assert restored.min() >= 0


@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
@pytest.mark.parametrize("size", [(64, 64), (48, 64), (96, 64)])
@pytest.mark.parametrize(("height", "width"), [(200, 100), (100, 200), (333, 333), (20, 30)])
def test_restore_probs_keeps_positions(resize: Resize, size: tuple[int, int], height: int, width: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2] = 255
    preprocessing = Preprocessing(FixedSize(size, resize), 3, 8)
    white = preprocessing.create_input(image)[..., 0].astype(np.float32) / 255
    restored = restore_image(preprocessing, np.stack([1 - white, white]), (height, width)).argmax(axis=0)
    _, columns = preprocessing.resizing.locate_inner(image.shape)
    edge = -(-width // (columns.stop - columns.start)) + 1
    assert (restored[:, : width // 2 - edge] == 1).all()
    assert (restored[:, width // 2 + edge :] == 0).all()


@pytest.mark.parametrize(("channels", "bits"), [(3, 8), (1, 16)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_create_input_converts_any_depth_and_color(channels: int, bits: int, dtype: type) -> None:
    white = np.full((40, 60, 3 if dtype == np.uint8 else 1), np.iinfo(dtype).max, dtype)
    image = Preprocessing(FixedSize((32, 64), "letterbox"), channels, bits).create_input(white)
    assert image.shape == (32, 64, channels)
    assert image.dtype == (np.uint8 if bits == 8 else np.uint16)
    assert (image == 2**bits - 1).all()


def test_image_without_the_selected_bands_or_the_scaled_intensities_is_refused() -> None:
    def encode(channels: int, dtype: type) -> bytes:
        buffer = io.BytesIO()
        pixels = np.full((20, 30, channels) if channels > 1 else (20, 30), 7, dtype)
        tifffile.imwrite(buffer, pixels, photometric="rgb" if channels > 1 else "minisblack")
        return buffer.getvalue()

    colors, gray = Preprocessing(NativeSize(), 3, 8), Preprocessing(NativeSize(), 1, 8)
    assert colors.read_image(encode(4, np.uint8)).shape == (20, 30, 3)
    selected = replace(colors, selects_bands=True)
    assert selected.read_image(encode(3, np.uint8)).shape == (20, 30, 3)
    with pytest.raises(ImageError, match="has 4 bands, but the network was trained on 3"):
        selected.read_image(encode(4, np.uint8))

    assert gray.read_image(encode(1, np.uint16)).dtype == np.uint16
    scaled = replace(gray, scales_intensities=True)
    assert scaled.read_image(encode(1, np.uint8)).dtype == np.uint8
    with pytest.raises(ImageError, match="16-bit"):
        scaled.read_image(encode(1, np.uint16))


@pytest.mark.parametrize(
    "resizing", [FixedSize((32, 48), "letterbox"), FixedSize((32, 48), "stretch"), NativeSize(1.7)]
)
def test_input_of_a_gray_network_is_resized_as_in_training(resizing: Resizing, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 110, 3), np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", pixels, photometric="rgb")
    content = (tmp_path / "x.tif").read_bytes()
    prepared, _, _ = read_fitted(content, 1, resizing)
    preprocessing = Preprocessing(resizing, 1, 8)
    np.testing.assert_array_equal(preprocessing.create_input(preprocessing.read_image(content)), prepared)
    if isinstance(resizing, NativeSize):
        with contextlib.closing(TiffImage(tmp_path / "x.tif")) as image:
            windows = NetworkInput(image, preprocessing, resizing)
            assert windows.shape == prepared.shape
            np.testing.assert_array_equal(windows[slice(0, 53), slice(0, 65)], prepared)


def test_three_gray_pages_are_no_color_image_for_a_gray_network(tmp_path: Path) -> None:
    pixels = np.zeros((3, 20, 30), np.uint8)
    tifffile.imwrite(tmp_path / "stack.tif", pixels, photometric="minisblack")
    tifffile.imwrite(tmp_path / "colors.tif", np.moveaxis(pixels, 0, -1), photometric="rgb")
    gray = Preprocessing(NativeSize(), 1, 8)
    with pytest.raises(ImageError, match="channels"):
        gray.open_image(tmp_path / "stack.tif")
    colors = gray.open_image(tmp_path / "colors.tif")
    assert isinstance(colors, TiffImage)
    colors.close()


def test_file_without_windows_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.inference.preprocessing.MAX_WHOLE_BYTES", 100)
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((40, 30, 3), np.uint8), photometric="rgb", extratags=[(274, 3, 1, 6)])
    with pytest.raises(ImageError, match="stored turned"):
        Preprocessing(NativeSize(), 3, 8).open_image(tmp_path / "x.tif")
