"""Sweeps that are killed at random moments and restarted give the results of an undisturbed sweep."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.chaos import kill_sweeps


@pytest.mark.slow
def test_sweep_killed_a_few_times_gives_the_same_results(tmp_path: Path) -> None:
    assert kill_sweeps(kills=3, seed=7, epochs=30, folder=tmp_path / "project") == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_sweep_killed_fifty_times_gives_the_same_results(tmp_path: Path) -> None:
    assert kill_sweeps(kills=50, seed=0, epochs=40, folder=tmp_path / "project") == []
