"""Leaderboard of several authors: properties of the ranking, and the effect of a diverged seed."""

from __future__ import annotations

from random import Random
from statistics import fmean

from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.leaderboard import SeedResult, count_worse_settings, rank_authors
from pipeline.analysis.ranked_metric import RankedMetric, get_metric

LOSS, DICE = (get_metric(name, (), ("border",)) for name in ("val_loss", "dice"))
METRICS = st.sampled_from([LOSS, DICE])


def make_result(author: str, setting: str, seed: int, loss: float | None) -> SeedResult:
    return SeedResult(author, setting, "unet", 1e-3, seed, loss, None, None)


RESULTS = st.lists(
    st.builds(
        make_result,
        st.sampled_from(["ada", "ben", "eva"]),
        st.sampled_from("xyz"),
        st.integers(0, 2),
        st.none() | st.floats(0.01, 10),
    ),
    max_size=30,
    unique_by=lambda result: (result.author, result.setting, result.seed),
)


@given(RESULTS, METRICS, st.randoms())
def test_rank_authors_orders_by_best_mean_whatever_the_input_order(
    results: list[SeedResult], metric: RankedMetric, random: Random
) -> None:
    authors = rank_authors(results, metric)
    best = [author.best.value for author in authors if author.best]
    assert best == sorted(best, reverse=metric is DICE)
    assert [author.best is None for author in authors] == sorted(author.best is None for author in authors)
    shuffled = list(results)
    random.shuffle(shuffled)
    assert [author.name for author in rank_authors(shuffled, metric)] == [author.name for author in authors]


@given(RESULTS, METRICS)
def test_rank_authors_counts_every_run_once_and_ranks_only_finished_settings(
    results: list[SeedResult], metric: RankedMetric
) -> None:
    authors = rank_authors(results, metric)
    assert sum(len(author.values) + author.num_diverged for author in authors) == len(results)
    for author in authors:
        by_setting: dict[str, list[float | None]] = {}
        for result in results:
            if result.author == author.name:
                by_setting.setdefault(result.setting, []).append(result.value)
        finished = [
            [loss for loss in losses if loss is not None] for losses in by_setting.values() if None not in losses
        ]
        assert sorted(setting.value for setting in author.settings) == sorted(fmean(losses) for losses in finished)


@given(RESULTS, METRICS)
def test_count_worse_settings_of_the_first_author_counts_all_that_are_not_equal(
    results: list[SeedResult], metric: RankedMetric
) -> None:
    authors = rank_authors(results, metric)
    if authors and authors[0].best:
        worse, total = count_worse_settings(authors[0].best, authors[1:], metric)
        losses = [setting.value for other in authors[1:] for setting in other.settings]
        assert worse + losses.count(authors[0].best.value) == total


def test_rank_authors_excludes_a_setting_with_a_diverged_seed() -> None:
    diverged = [make_result("ada", "hot", 0, 0.1), make_result("ada", "hot", 1, None)]
    (ada,) = rank_authors([*diverged, make_result("ada", "cool", 0, 0.5)], LOSS)
    assert ada.best is not None
    assert ada.best.value == 0.5
    assert (ada.values, ada.num_diverged) == ((0.1, 0.5), 1)
