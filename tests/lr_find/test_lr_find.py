"""The learning-rate range test: the suggestion from curves made by hand, and the command on a tiny project."""

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

RATES = np.geomspace(1e-6, 1, STEPS)


def curve(steep: float, edge: float) -> np.ndarray:
    """A loss that falls from 1 to 0.4 around the rate `steep` and blows up at `edge`."""
    fall = 0.6 / (1 + np.exp(-4 * np.log10(RATES / steep)))
    return 1 - fall + np.maximum(0, RATES / edge - 1) ** 2


@pytest.mark.parametrize("steep", [1e-4, 1e-3, 1e-2])
@pytest.mark.parametrize("seed", range(5))
def test_the_grid_lies_around_the_fall(steep: float, seed: int) -> None:
    noise = 0.05 * np.random.default_rng(seed).normal(size=len(RATES))
    found = suggest_grid(RangeTest(RATES, curve(steep, 50 * steep) + noise))
    assert found is not None
    assert found.grid == pytest.approx((10 * steep, steep, steep / 10))
    assert steep / 3 < found.halfway < 3 * steep


def test_a_loss_that_stays_low_at_any_rate_moves_nothing() -> None:
    """As batch normalisation lets it: the lowest loss is by chance at the end."""
    losses = curve(1e-3, 1e9)
    losses[-5:] -= 0.05
    found = suggest_grid(RangeTest(RATES, losses))
    assert found is not None
    assert found.grid == pytest.approx((1e-2, 1e-3, 1e-4))


def test_a_loss_that_never_falls_suggests_nothing() -> None:
    assert suggest_grid(RangeTest(RATES, np.full(STEPS, 0.7))) is None
    assert suggest_grid(RangeTest(RATES[:1], np.array([np.nan]))) is None


def test_what_comes_after_the_blow_up_counts_for_nothing() -> None:
    losses = curve(1e-4, 5e-3)
    losses[200:] = 0.01  # a network that is dead may look perfect
    with_nan = losses.copy()
    with_nan[190:] = np.nan
    found, cut = suggest_grid(RangeTest(RATES, losses)), suggest_grid(RangeTest(RATES, with_nan))
    assert found is not None
    assert cut is not None
    assert found.grid == cut.grid == pytest.approx((1e-3, 1e-4, 1e-5))


@given(st.floats(0, 10), st.integers(1, 50))
def test_the_running_mean_of_a_constant_is_the_constant(level: float, steps: int) -> None:
    assert smooth(np.full(steps, level)) == pytest.approx(np.full(steps, level))


def test_the_command_suggests_and_changes_nothing_else(project: Path) -> None:
    write_params(project, {})
    before = sorted(path for path in project.rglob("*"))
    result = CliRunner().invoke(main, ["lr-find", "--variant", "unet", "--plot", "curve.png"])
    assert result.exit_code == 0, result.output
    assert "unet: half of the decrease" in result.stdout or "unet: the loss did not decrease" in result.stdout
    assert result.stderr.count("unet: learning rate") <= 6
    assert set(project.rglob("*")) - set(before) == {project / "curve.png"}
    with Image.open(project / "curve.png") as picture:
        assert picture.size == (960, 600)


def test_an_unknown_variant_is_named(project: Path) -> None:
    write_params(project, {})
    result = CliRunner().invoke(main, ["lr-find", "--variant", "unnet"])
    assert result.exit_code == 1
    assert "Unknown variant 'unnet'" in result.stderr


def test_help_and_docs_state_the_number_of_batches_that_run() -> None:
    said = " ".join(CliRunner().invoke(main, ["lr-find", "--help"]).output.split())
    page = " ".join((ROOT / "docs/how-to/compare-optimizers.md").read_text(encoding="utf-8").split())
    assert f"{STEPS} batches, from 1e-06 up to 1," in said
    assert f"trains the variant for {STEPS} batches while the learning rate increases from 1e-6 to 1" in page
