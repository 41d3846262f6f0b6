"""Gap over the folds of a cross-validation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.analysis.out_of_fold import estimate_folded_gap
from pipeline.analysis.seed_statistics import compute_paired_difference


def make_losses(
    num_groups: int, folds: int, run_level: np.ndarray, seed: int = 0, *, is_even: bool = True
) -> tuple[pd.DataFrame, pd.Series]:
    """Make losses of two images per group, with a mean gap of 0.05; a run's level is added to all of its losses.

    The runs are validated on the folds in turn. If the folds are not even, the first one has half of the groups.
    """
    rng = np.random.default_rng(seed)
    base, gaps = 0.3 + rng.normal(0, 0.1, 2 * num_groups), rng.normal(0.05, 0.03, 2 * num_groups)
    group = np.arange(2 * num_groups) // 2
    fold = group % folds if is_even else np.maximum(group - num_groups // 2, 0) % folds
    rows = [
        (
            f"run{run}",
            str(image),
            "validation" if fold[image] == run % folds else "train",
            base[image] + level + gaps[image] * (fold[image] == run % folds),
        )
        for run, level in enumerate(run_level)
        for image in range(2 * num_groups)
    ]
    pixels = pd.Series(100, index=[str(image) for image in range(2 * num_groups)])
    return pd.DataFrame(rows, columns=["run", "id", "split", "loss"]), pixels


def label_groups(pixels: pd.Series) -> tuple[np.ndarray, ...]:
    return ((np.arange(len(pixels)) // 2).astype(np.int64),)


@settings(max_examples=20)
@given(levels=st.lists(st.floats(-0.2, 0.2), min_size=4, max_size=6), is_even=st.booleans(), seed=st.integers(0, 5))
def test_gap_and_interval_do_not_depend_on_the_levels_of_the_runs(
    levels: list[float], is_even: bool, seed: int
) -> None:
    found = []
    for level in (np.zeros(len(levels)), np.array(levels)):
        losses, pixels = make_losses(20, 4, level, seed, is_even=is_even)
        gap = estimate_folded_gap(losses, pixels, label_groups(pixels), True, 0.0)
        assert gap is not None
        assert gap.low is not None
        assert gap.high is not None
        assert gap.low < gap.gap < gap.high
        found.append([gap.gap, gap.low, gap.high])
    assert found[0] == pytest.approx(found[1], abs=1e-9)


def test_gap_is_the_difference_of_the_mean_losses() -> None:
    losses, pixels = make_losses(12, 3, np.zeros(3))
    pixels[:] = np.arange(1, len(pixels) + 1)
    gap = estimate_folded_gap(losses, pixels, label_groups(pixels), True, 0.01)
    assert gap is not None
    means = losses.groupby(["split", "id"])["loss"].mean()
    val, train = (np.average(means[split][pixels.index], weights=pixels) for split in ("validation", "train"))
    assert gap.gap == pytest.approx(val - train + 0.01)
    assert gap.images == len(pixels)


def test_levels_of_two_folds_cancel_if_the_folds_are_equal() -> None:
    found = []
    for level in (np.zeros(2), np.array([0.1, -0.1])):
        losses, pixels = make_losses(12, 2, level)
        gap = estimate_folded_gap(losses, pixels, label_groups(pixels), True, 0.0)
        assert gap is not None
        found.append(gap.gap)
    assert found[0] == pytest.approx(found[1])


def test_interval_is_withheld_below_ten_groups() -> None:
    losses, pixels = make_losses(9, 3, np.zeros(3))
    gap = estimate_folded_gap(losses, pixels, label_groups(pixels), True, 0.0)
    assert gap is not None
    assert (gap.low, gap.high) == (None, None)


def test_images_without_a_loss_on_both_sides_do_not_count() -> None:
    losses, pixels = make_losses(12, 3, np.zeros(3))
    losses.loc[(losses["id"] == "0") & (losses["split"] == "validation"), "loss"] = np.nan
    gap = estimate_folded_gap(losses, pixels, label_groups(pixels), True, 0.0)
    assert gap is not None
    assert gap.images == len(pixels) - 1
    for split in ("train", "validation"):
        only = losses[losses["split"] == split]
        assert estimate_folded_gap(only, pixels, label_groups(pixels), True, 0.0) is None


@given(
    st.dictionaries(st.integers(0, 11), st.floats(0, 1), min_size=2),
    st.dictionaries(st.integers(0, 11), st.floats(0, 1), min_size=2),
    st.integers(2, 6),
)
def test_folds_widen_the_interval_of_a_difference(
    first: dict[int, float], second: dict[int, float], folds: int
) -> None:
    shared = first.keys() & second.keys()
    folded = compute_paired_difference(first, second, folds=folds)
    if folded is None:
        assert not shared
        return
    by_fold = {fold: [first[seed] - second[seed] for seed in shared if seed % folds == fold] for fold in range(folds)}
    means = {fold: float(np.mean(values)) for fold, values in by_fold.items() if values}
    plain = compute_paired_difference(means, dict.fromkeys(means, 0.0))
    assert plain is not None
    assert folded.mean == pytest.approx(plain.mean)
    if plain.interval is None or folded.interval is None:
        assert plain.interval == folded.interval
        return
    width, plain_width = (high - low for low, high in (folded.interval, plain.interval))
    assert width == pytest.approx(plain_width * np.sqrt(1 + len(means) / (folds - 1)), abs=1e-9)
