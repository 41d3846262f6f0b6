"""Aggregated loss curves, axes and ticks."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from pipeline.report.figures.curve_data import HEADROOM, LossCurve, aggregate_runs, choose_axis
from pipeline.report.figures.loss_panels import CurvePlot, draw_panel


def create_curve(*means: float) -> LossCurve:
    return aggregate_runs(pd.DataFrame({"epoch": range(1, len(means) + 1), "loss": means}))


def test_aggregate_runs_returns_mean_and_range_of_each_epoch() -> None:
    rows = pd.DataFrame({"run": ["a", "b", "a", "b"], "epoch": [1, 1, 2, 2], "loss": [1.0, 3.0, 0.5, 0.7]})
    curve = aggregate_runs(rows)
    assert curve.to_dict("list") == {"mean": [2.0, 0.6], "min": [1.0, 0.5], "max": [3.0, 0.7]}
    assert curve.index.tolist() == [1, 2]


def test_mean_ends_with_the_first_run_that_ends() -> None:
    rows = pd.DataFrame({"run": ["a", "b", "a"], "epoch": [1, 1, 2], "loss": [1.0, 3.0, 0.5]})
    curve = aggregate_runs(rows)
    assert curve["mean"].dropna().to_dict() == {1: 2.0}
    assert curve["max"].tolist() == [3.0, 0.5]


def test_diverging_curve_does_not_stretch_the_axis() -> None:
    axis = choose_axis([create_curve(0.9, 0.4), create_curve(0.8, 40.0)], baseline=0.9)
    assert axis.is_clipped
    assert axis.high == pytest.approx(HEADROOM * 0.9)


def test_axis_is_linear_for_a_small_range_and_logarithmic_for_a_large_one() -> None:
    near, far = choose_axis([create_curve(0.9, 0.5)], 0.9), choose_axis([create_curve(0.9, 0.05)], 0.9)
    assert (near.is_log, near.low) == (False, 0.0)
    assert far.is_log
    assert far.low < 0.05


def test_axis_includes_the_best_losses_above_the_baseline() -> None:
    axis = choose_axis([create_curve(9.0, 5.0), create_curve(8.0, 4.0)], baseline=0.5)
    assert axis.high > 4.5


@pytest.mark.parametrize("lowest", [0.5, 0.2, 0.1, 0.001])
def test_ticks_are_inside_the_axis_and_not_at_the_baseline(lowest: float) -> None:
    axis = choose_axis([create_curve(0.9, lowest)], 0.9)
    ticks = axis.choose_ticks(0.9)
    assert len(ticks) >= 3
    assert all(axis.low <= tick <= axis.high and not 0.9 < tick < 1.1 for tick in ticks)


def test_marker_at_the_last_epoch_is_not_cut_off_by_the_panel() -> None:
    curves = {("unet", 0.01, split): create_curve(0.9, 0.6, 0.4) for split in ("train", "validation")}
    axis = choose_axis([*curves.values()], 0.7)
    svg = draw_panel(CurvePlot(curves, {}, {}, (0.01,), axis, 0.7, 3, {}, ()), "unet", 0, (4, 3)).svg
    *_, marker = re.findall(r'<g id="[^"]*rate-0-\d+">(?:(?!</g>).)*<use [^>]*>.*?</g>', svg, re.DOTALL)
    assert "clip-path" not in marker
