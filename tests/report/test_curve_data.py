"""The numbers behind the curves."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.report.figures.curve_data import HEADROOM, LossCurve, aggregate_runs, choose_axis


def drawn(*means: float) -> LossCurve:
    values = np.array(means)
    return LossCurve(np.arange(1, len(means) + 1), values, values, values)


def test_a_line_is_mean_and_range_over_the_runs_that_have_the_epoch() -> None:
    rows = pd.DataFrame({"run": ["a", "b", "a"], "epoch": [1, 1, 2], "loss": [1.0, 3.0, 0.5]})
    found = aggregate_runs(rows)
    assert found is not None
    assert (found.mean.tolist(), found.low.tolist(), found.high.tolist()) == ([2.0, 0.5], [1.0, 0.5], [3.0, 0.5])
    assert found.best == 1
    assert aggregate_runs(rows[:0]) is None


def test_a_curve_that_shoots_up_does_not_stretch_the_axis() -> None:
    shared = choose_axis([drawn(0.9, 0.4), drawn(0.8, 40.0)], baseline=0.9)
    assert shared.is_clipped
    assert shared.high == pytest.approx(HEADROOM * 0.9)


def test_the_axis_is_linear_from_zero_for_a_small_range_and_logarithmic_for_a_large_one() -> None:
    near, far = choose_axis([drawn(0.9, 0.5)], 0.9), choose_axis([drawn(0.9, 0.05)], 0.9)
    assert (near.is_log, near.low) == (False, 0.0)
    assert far.is_log
    assert far.low < 0.05


def test_where_all_is_above_the_baseline_the_best_points_are_still_seen() -> None:
    shared = choose_axis([drawn(9.0, 5.0), drawn(8.0, 4.0)], baseline=0.5)
    assert shared.high > 4.5


@pytest.mark.parametrize("lowest", [0.5, 0.2, 0.1, 0.001])
def test_ticks_are_several_inside_and_leave_the_baselines_label_free(lowest: float) -> None:
    shared = choose_axis([drawn(0.9, lowest)], 0.9)
    ticks = shared.choose_ticks(0.9)
    assert len(ticks) >= 3
    assert all(shared.low <= tick <= shared.high and not 0.9 < tick < 1.1 for tick in ticks)
