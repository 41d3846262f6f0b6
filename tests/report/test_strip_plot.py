"""The strip plot of all authors' results, for unusual distributions of losses."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.leaderboard import SeedResult, rank_authors
from pipeline.analysis.ranked_metric import get_metric
from pipeline.artifacts.project import Project
from pipeline.report.figures.strip_plot import choose_range, draw_strip_plot
from tests.conftest import ROOT

BASELINE = 0.7
LOSS = get_metric("val_loss", (), ("border",))


def draw(losses: dict[str, list[float]], baseline: float = BASELINE) -> str:
    results = [
        SeedResult(author, "a", "unet", 1e-3, seed, loss, None, None)
        for author, author_losses in losses.items()
        for seed, loss in enumerate(author_losses)
    ]
    return str(draw_strip_plot(rank_authors(results, LOSS), "mia", LOSS, baseline, Project(ROOT)))


def list_texts(figure: str) -> list[str]:
    return [" ".join(text.split()) for text in re.findall(r"<text[^>]*>([^<]*)</text>", figure)]


def list_ticks(figure: str) -> list[tuple[float, float]]:
    """List position and value of each tick label."""
    labels = re.findall(r'text-anchor: middle;[^>]* x="([\d.]+)"[^>]*>([\d.e-]+)</text>', figure)
    return [(float(position), float(value)) for position, value in labels]


@given(st.lists(st.just(0.0) | st.floats(1e-6, 1e4), min_size=1, max_size=30), st.just(0.0) | st.floats(1e-3, 10))
def test_loss_range_includes_the_baseline_and_the_lowest_loss(losses: list[float], baseline: float) -> None:
    span = choose_range(losses, baseline)
    assert span.low < span.high
    assert span.low <= min(losses) <= span.high or min(losses) == max(losses)
    if baseline:
        assert span.low <= baseline <= span.high


@pytest.mark.parametrize(
    "losses",
    [
        {"mia": [0.8, 0.85], "tom": [0.9]},  # all worse than the baseline
        {"mia": [1.4, 1.5], "tom": [2.4]},  # worse by more than the headroom
        {"mia": [0.5, 0.5], "tom": [0.5]},
        {"mia": [BASELINE], "tom": [BASELINE]},
        {"mia": [0.2, 0.22], "tom": [0.25, 30.0]},
        {"mia": [0.0], "tom": [0.1]},
        {"mia": [0.4]},
        {f"user{number}": [0.2 + number / 50] for number in range(40)},
    ],
)
def test_strip_plot_names_authors_and_has_increasing_ticks(losses: dict[str, list[float]]) -> None:
    figure = draw(losses)
    assert {*losses, "class-prior baseline"} <= {*list_texts(figure)}
    ticks = sorted(list_ticks(figure))
    assert len(ticks) >= 2
    assert [value for _, value in ticks] == sorted(value for _, value in ticks)


def test_long_name_is_shortened_and_not_parsed_as_math() -> None:
    found = list_texts(draw({"an-account-name-that-is-very-long-1": [0.3], "$x^2$": [0.4], "mia": [0.5]}))
    assert {"an-account-name…y-long-1", "$x^2$", "mia"} <= {*found}
