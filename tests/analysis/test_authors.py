"""Results of several people: laws of the order, and what a diverged seed does."""

from __future__ import annotations

from statistics import fmean

from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.authors import SeedResult, beaten, by_author


def result(author: str, setting: str, seed: int, loss: float | None) -> SeedResult:
    return SeedResult(author, setting, "unet", 1e-3, seed, loss, None, None)


RESULTS = st.lists(
    st.builds(
        result,
        st.sampled_from(["ada", "ben", "eva"]),
        st.sampled_from("xyz"),
        st.integers(0, 2),
        st.none() | st.floats(0.01, 10),
    ),
    max_size=30,
    unique_by=lambda one: (one.author, one.setting, one.seed),
)


@given(RESULTS, st.randoms())
def test_the_order_is_by_the_lowest_mean_and_does_not_depend_on_who_comes_first(
    results: list[SeedResult], random: object
) -> None:
    authors = by_author(results)
    best = [one.best.val_loss for one in authors if one.best]
    assert best == sorted(best)
    assert [one.best is None for one in authors] == sorted(one.best is None for one in authors)
    shuffled = list(results)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert [one.name for one in by_author(shuffled)] == [one.name for one in authors]


@given(RESULTS)
def test_every_run_is_counted_once_and_every_ranked_setting_is_whole(results: list[SeedResult]) -> None:
    authors = by_author(results)
    assert sum(len(one.losses) + one.diverged for one in authors) == len(results)
    for one in authors:
        groups: dict[str, list[float | None]] = {}
        for run in results:
            if run.author == one.name:
                groups.setdefault(run.setting, []).append(run.val_loss)
        whole = [[loss for loss in losses if loss is not None] for losses in groups.values() if None not in losses]
        assert sorted(setting.val_loss for setting in one.settings) == sorted(fmean(losses) for losses in whole)


@given(RESULTS)
def test_the_first_author_is_beaten_by_nobody(results: list[SeedResult]) -> None:
    authors = by_author(results)
    if authors and authors[0].best:
        worse, tried = beaten(authors[0].best, authors[1:])
        equal = sum(one.val_loss == authors[0].best.val_loss for other in authors[1:] for one in other.settings)
        assert worse + equal == tried


def test_a_setting_with_a_diverged_seed_is_out() -> None:
    lucky = [result("ada", "hot", 0, 0.1), result("ada", "hot", 1, None)]
    (ada,) = by_author([*lucky, result("ada", "cool", 0, 0.5)])
    assert ada.best is not None
    assert ada.best.val_loss == 0.5
    assert (ada.losses, ada.diverged) == ((0.1, 0.5), 1)
