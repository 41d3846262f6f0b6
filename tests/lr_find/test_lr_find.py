"""The learning-rate range test: suggestions from synthetic curves, and the command on a tiny project."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.cli import main
from pipeline.lr_find import STEPS
from pipeline.lr_find.suggestion import RangeTest, smooth, suggest_grid
from tests.conftest import ROOT, write_params

LEARNING_RATES = np.geomspace(1e-6, 1, STEPS)


def make_curve(steepest: float, divergence: float) -> np.ndarray:
    """Return losses that fall from 1 to 0.4 around learning rate `steepest` and diverge from `divergence`."""
    fall = 0.6 / (1 + np.exp(-4 * np.log10(LEARNING_RATES / steepest)))
    return 1 - fall + np.maximum(0, LEARNING_RATES / divergence - 1) ** 2


@pytest.mark.parametrize("steepest", [1e-4, 1e-3, 1e-2])
@pytest.mark.parametrize("seed", range(5))
def test_suggested_grid_is_centered_on_the_steepest_decrease(steepest: float, seed: int) -> None:
    noise = 0.05 * np.random.default_rng(seed).normal(size=len(LEARNING_RATES))
    suggestion = suggest_grid(RangeTest(LEARNING_RATES, make_curve(steepest, 50 * steepest) + noise))
    assert suggestion is not None
    assert suggestion.grid == pytest.approx((10 * steepest, steepest, steepest / 10))
    assert steepest / 3 < suggestion.halfway < 3 * steepest


def test_suggested_grid_ignores_a_late_minimum_of_a_flat_loss() -> None:
    """With batch normalization, the loss may stay low at high learning rates and be lowest at the end by chance."""
    losses = make_curve(1e-3, 1e9)
    losses[-5:] -= 0.05
    suggestion = suggest_grid(RangeTest(LEARNING_RATES, losses))
    assert suggestion is not None
    assert suggestion.grid == pytest.approx((1e-2, 1e-3, 1e-4))


def test_flat_loss_suggests_no_grid() -> None:
    assert suggest_grid(RangeTest(LEARNING_RATES, np.full(STEPS, 0.7))) is None
    assert suggest_grid(RangeTest(LEARNING_RATES[:1], np.array([np.nan]))) is None


def test_losses_after_divergence_are_ignored() -> None:
    losses = make_curve(1e-4, 5e-3)
    losses[200:] = 0.01  # a network with dead units may reach a low loss
    with_nan = losses.copy()
    with_nan[190:] = np.nan
    suggestion, truncated = (
        suggest_grid(RangeTest(LEARNING_RATES, losses)),
        suggest_grid(RangeTest(LEARNING_RATES, with_nan)),
    )
    assert suggestion is not None
    assert truncated is not None
    assert suggestion.grid == truncated.grid == pytest.approx((1e-3, 1e-4, 1e-5))


@given(st.floats(0, 10), st.integers(1, 50))
def test_smooth_keeps_a_constant(level: float, steps: int) -> None:
    assert smooth(np.full(steps, level)) == pytest.approx(np.full(steps, level))


def test_lr_find_writes_only_the_plot(project: Path) -> None:
    weights = {"class_weights": "inverse", "boundary_weight": {"w0": 10.0, "sigma": 5.0}}
    write_params(project, {"train": weights})
    before = sorted(path for path in project.rglob("*"))
    result = CliRunner().invoke(main, ["lr-find", "--variant", "unet", "--plot", "curve.png"])
    assert result.exit_code == 0, result.output
    assert "unet: half of the decrease" in result.stdout or "unet: the loss did not decrease" in result.stdout
    assert result.stderr.count("unet: learning rate") <= 6
    assert set(project.rglob("*")) - set(before) == {project / "curve.png"}
    with Image.open(project / "curve.png") as image:
        assert image.size == (960, 600)


def test_lr_find_names_an_unknown_variant(project: Path) -> None:
    write_params(project, {})
    result = CliRunner().invoke(main, ["lr-find", "--variant", "unnet"])
    assert result.exit_code == 1
    assert "Unknown variant 'unnet'" in result.stderr


def test_help_and_docs_state_the_number_of_batches_that_run() -> None:
    output = " ".join(CliRunner().invoke(main, ["lr-find", "--help"]).output.split())
    page = " ".join((ROOT / "docs/how-to/compare-optimizers.md").read_text(encoding="utf-8").split())
    assert f"{STEPS} batches of the prepared data, with a learning rate that increases from 1e-06 to 1." in output
    assert f"trains the variant for {STEPS} batches while the learning rate increases from 1e-6 to 1" in page
