"""BatchLoader: batches of samples as network input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.artifacts.prepared_data import Split
from pipeline.data.batch_loader import BatchLoader
from pipeline.imaging import IGNORE

CPU = torch.device("cpu")
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def make_split(dtype: type[np.unsignedinteger], channels: int = 3) -> Split:
    random = np.random.default_rng(0)
    images = random.integers(0, np.iinfo(dtype).max, (5, 8, 6, channels), dtype=dtype, endpoint=True)
    masks = random.choice(np.array([0, 1, 2, IGNORE], np.uint8), (5, 8, 6))
    return Split.of(images, masks)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_take_scales_pixels_by_the_maximum_of_their_type(dtype: type[np.unsignedinteger]) -> None:
    split = make_split(dtype)
    images, masks, _ = BatchLoader(split, CPU).take(np.array([3, 0]))
    expected = np.stack(list(split.images))[[3, 0]].astype(np.float32) / np.float32(np.iinfo(dtype).max)
    assert (images.numpy() == expected.transpose(0, 3, 1, 2)).all()  # bit for bit
    assert (masks.numpy() == np.stack(list(split.masks))[[3, 0]]).all()
    assert (images.dtype, masks.dtype) == (torch.float32, torch.int64)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_take_gives_channels_last_without_a_copy(channels: int) -> None:
    images, _, _ = BatchLoader(make_split(np.uint8, channels), CPU).take(np.array([0, 1]))
    assert images.shape == (2, channels, 8, 6)
    assert images.permute(0, 2, 3, 1).is_contiguous()


def test_take_does_not_change_the_file(tmp_path: Path) -> None:
    split = make_split(np.uint8)
    np.save(tmp_path / "images.npy", np.stack(list(split.images)))
    mapped = Split.of(np.load(tmp_path / "images.npy", mmap_mode="r"), np.stack(list(split.masks)))
    images, _, _ = BatchLoader(mapped, CPU).take(np.arange(5))
    images.zero_()
    assert (np.load(tmp_path / "images.npy") == np.stack(list(split.images))).all()


@GPU
@pytest.mark.parametrize("keep_on_gpu", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_take_on_a_gpu_equals_the_cpu(dtype: type[np.unsignedinteger], keep_on_gpu: bool) -> None:
    split, indices = make_split(dtype), np.array([4, 1])
    loaders = (BatchLoader(split, torch.device(name), keep_on_gpu=keep_on_gpu) for name in ("cpu", "cuda"))
    on_cpu, on_gpu = (loader.take(indices) for loader in loaders)
    assert on_gpu[0].device.type == "cuda"
    torch.testing.assert_close(on_gpu[0].cpu(), on_cpu[0], rtol=1e-6, atol=0)
    assert (on_gpu[1].cpu() == on_cpu[1]).all()
