"""Prepared arrays, and the fixed subsets of the training images."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.artifacts.prepared_data import PreparedData
from pipeline.data.subsets import select_gap_subset, select_training_subset
from pipeline.errors import PipelineError


def test_open_split_maps_arrays_into_memory(prepared: Path) -> None:
    split = PreparedData(prepared / "data/prepared").open_split("train")
    assert isinstance(split.images.pixels, np.memmap)
    assert (len(split), split.size, split.num_channels) == (12, (32, 32), 3)
    assert len(split) == len(set(split.ids)) == 12


@pytest.mark.parametrize("name", ["images.npy", "masks.npy"])
def test_open_split_with_a_corrupt_array_is_refused(prepared: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "prepared"
    shutil.copytree(prepared / "data/prepared", folder)
    (folder / "train" / name).write_bytes(b"\x93NUMPY\x01\x00")
    with pytest.raises(PipelineError, match=r"train/.*cannot be read .*dvc repro --force prepare"):
        PreparedData(folder).open_split("train")


def test_open_split_with_inconsistent_arrays_is_refused(prepared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "prepared"
    shutil.copytree(prepared / "data/prepared", folder)
    np.save(folder / "train/masks.npy", np.zeros((11, 32, 32), dtype=np.uint8))
    with pytest.raises(PipelineError, match="inconsistent"):
        PreparedData(folder).open_split("train")


@given(st.integers(2, 300), st.data())
def test_select_training_subset_is_part_of_a_larger_subset(total: int, data: st.DataObject) -> None:
    larger = data.draw(st.integers(2, total))
    smaller = data.draw(st.integers(1, larger))
    assert (
        set(select_training_subset(total, smaller)) <= set(select_training_subset(total, larger)) <= set(range(total))
    )
    assert len(select_training_subset(total, smaller)) == smaller
    assert len(select_training_subset(total, None)) == total


@given(st.integers(2, 300), st.integers(1, 100), st.integers(2, 300))
def test_select_gap_subset_has_training_images_only(total: int, validation: int, used: int) -> None:
    training = select_training_subset(total, min(used, total))
    selected = select_gap_subset(training, validation)
    assert set(selected) <= set(training)
    assert len(selected) == len(set(selected)) == min(validation, len(training))
