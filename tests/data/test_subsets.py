"""Reading the prepared arrays, and the fixed subsets of the training images."""

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


def test_splits_are_mapped_not_read(prepared: Path) -> None:
    split = PreparedData(prepared / "data/prepared").open_split("train")
    assert isinstance(split.images, np.memmap)
    assert split.images.shape == (12, 32, 32, 3)
    assert len(split) == len(set(split.ids)) == 12


@pytest.mark.parametrize("name", ["images.npy", "masks.npy"])
def test_a_broken_array_is_named(prepared: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "prepared"
    shutil.copytree(prepared / "data/prepared", folder)
    (folder / "train" / name).write_bytes(b"\x93NUMPY\x01\x00")
    with pytest.raises(PipelineError, match=r"train/.*cannot be read .*dvc repro --force prepare"):
        PreparedData(folder).open_split("train")


def test_arrays_that_disagree_are_named(prepared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "prepared"
    shutil.copytree(prepared / "data/prepared", folder)
    np.save(folder / "train/masks.npy", np.zeros((11, 32, 32), dtype=np.uint8))
    with pytest.raises(PipelineError, match="inconsistent"):
        PreparedData(folder).open_split("train")


@given(st.integers(2, 300), st.data())
def test_a_smaller_training_set_is_part_of_a_larger_one(total: int, data: st.DataObject) -> None:
    more = data.draw(st.integers(2, total))
    fewer = data.draw(st.integers(1, more))
    assert set(select_training_subset(total, fewer)) <= set(select_training_subset(total, more)) <= set(range(total))
    assert len(select_training_subset(total, fewer)) == fewer
    assert len(select_training_subset(total, None)) == total


@given(st.integers(2, 300), st.integers(1, 100), st.integers(2, 300))
def test_the_gap_is_taken_on_images_that_were_trained_on(total: int, validation: int, used: int) -> None:
    seen = select_training_subset(total, min(used, total))
    compared = select_gap_subset(seen, validation)
    assert set(compared) <= set(seen)
    assert len(compared) == len(set(compared)) == min(validation, len(seen))
