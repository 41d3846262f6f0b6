"""What would settle the comparison of two settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.analysis.sample_size import MAX_SEEDS
from pipeline.artifacts.comparison import Summary
from pipeline.compare.findings import list_findings
from pipeline.compare.settling import MIN_PILOT, Settling, list_settlings
from tests.compare.summaries import make_summary
from tests.report.conftest import ReportProject

UNET, LITE = ("unet", 0.01), ("lite0", 0.001)
BASE = (0.40, 0.42, 0.44, 0.41, 0.43, 0.45)
MARGIN = 0.02  # of a loss of about 0.4: 0.008


def compare_two(differences: Sequence[float], **options: object) -> Summary:
    """Make a grid of two variants with paired differences; a positive one means that lite0 has a lower loss."""
    base = [BASE[place % len(BASE)] for place in range(len(differences))]
    losses = {UNET: [loss + change for loss, change in zip(base, differences, strict=True)], LITE: base}
    return make_summary(losses, **options)  # type: ignore[arg-type]


def settle(summary: Summary, margin: float = MARGIN) -> Settling:
    (found,) = list_settlings(summary, margin)
    return found


def test_open_comparison_proposes_seeds() -> None:
    found = settle(compare_two([0.06, 0.005, 0.04, 0.08, 0.0]))
    assert found.id == "settle_variant"
    assert (found.first.variant, found.second.variant) == ("lite0", "unet")
    assert found.new_seeds[0] == 5
    proposed = list(range(5 + len(found.new_seeds)))
    assert f"Set grid.seed: {proposed} ({len(found.new_seeds)} more)." in found.sentence
    assert found.sentence.startswith(
        "Whether lite0 at 0.001 or unet at 0.01 is better is open: the validation loss of the first is lower by 0.037 "
        "nats per pixel (95% interval -0.006 to 0.080). If the true difference is this large,"
    )


def test_settings_are_compared_by_the_metric_that_they_are_ranked_by() -> None:
    found = settle(compare_two([-0.06, -0.005, -0.04, -0.08, 0.0], rank_by="dice"))
    assert (found.first.variant, found.second.variant) == ("lite0", "unet")
    assert "the Dice of the first is higher by 0.037 (95% interval -0.006 to 0.080)." in found.sentence
    assert len(found.new_seeds) > 0
    assert "are equal" in settle(compare_two([0.001, -0.001, 0.0], rank_by="dice")).sentence


def test_settled_comparison_has_no_finding() -> None:
    assert list_settlings(compare_two([0.041, 0.040, 0.039]), MARGIN) == []


def test_settings_within_the_margin_are_equal_even_if_the_difference_is_significant() -> None:
    for differences in ([0.001, -0.001, 0.0], [0.0021, 0.002, 0.0019]):
        found = settle(compare_two(differences))
        assert "are equal for practical purposes" in found.sentence
        assert "within the margin of 0.008 (compare.equivalence_margin)" in found.sentence
        assert found.new_seeds == ()


def test_small_difference_proposes_seeds_that_show_equality() -> None:
    found = settle(compare_two([0.013, -0.011, 0.008, -0.012, 0.003]))
    assert "that it is below the margin of 0.008" in found.sentence
    assert len(found.new_seeds) > 0


def test_one_seed_proposes_three() -> None:
    found = settle(compare_two([0.05]))
    assert found.new_seeds == (1, 2)
    assert found.sentence.endswith("Set grid.seed: [0, 1, 2] (2 more).")


def test_one_fold_proposes_all_folds() -> None:
    found = settle(compare_two([0.05, 0.06], seeds=[1, 4], folds=3))
    assert found.new_seeds == (0, 2)
    assert "one fold does not show" in found.sentence


def test_proposed_seeds_are_new() -> None:
    found = settle(compare_two([0.05], seeds=[1]))
    assert found.new_seeds == (0, 2)


def test_hopeless_comparison_of_few_seeds_asks_for_a_better_estimate_first() -> None:
    found = settle(compare_two([0.3, -0.3, 0.03]))
    assert found.new_seeds == (3, 4)
    assert f"train {MIN_PILOT} first" in found.sentence
    assert f"even {MAX_SEEDS} seeds" in found.sentence


def test_hopeless_comparison_of_more_seeds_is_given_up() -> None:
    found = settle(compare_two([0.3, -0.3, 0.03, 0.2, -0.2, 0.1]))
    assert found.new_seeds == ()
    assert found.sentence.endswith("treat them as equal for practical purposes.")


def test_many_seeds_without_a_result_are_enough() -> None:
    found = settle(compare_two([0.3, -0.3] * (MAX_SEEDS // 2)), 0.0)
    assert found.new_seeds == ()
    assert f"After {MAX_SEEDS} seeds, treat them as equal" in found.sentence


def test_learning_rates_of_the_best_variant_are_compared_as_well() -> None:
    losses = {
        ("unet", 0.01): [0.40, 0.42, 0.44],
        ("unet", 0.001): [0.45, 0.43, 0.46],
        ("unet", 0.0001): [0.80, 0.90, 0.85],
        ("lite0", 0.01): [0.50, 0.44, 0.52],
    }
    rate, variant = list_settlings(make_summary(losses), MARGIN)
    assert (rate.id, rate.second.learning_rate) == ("settle_rate", 0.001)
    assert "corrected for 2 comparisons" in rate.sentence
    assert (variant.id, variant.second.variant) == ("settle_variant", "lite0")
    assert "corrected" not in variant.sentence


def test_unranked_settings_are_not_compared() -> None:
    losses = {UNET: [0.40, 0.42, None], LITE: [0.50, 0.51, 0.52]}
    assert list_settlings(make_summary(losses), MARGIN) == []
    assert list_settlings(make_summary({UNET: [None, None]}), MARGIN) == []


def test_small_losses_are_stated_with_more_decimals() -> None:
    losses = {UNET: [0.0040, 0.0045, 0.0050], LITE: [0.0050, 0.0046, 0.0049]}
    assert "lower by 0.00033 nats" in settle(make_summary(losses)).sentence


def test_some_of_the_missing_folds_are_proposed_if_they_are_enough() -> None:
    found = settle(compare_two([0.044, 0.056], seeds=[0, 11], folds=10), 0.0)
    proposed = 2 + len(found.new_seeds)
    assert found.new_seeds == tuple(range(2, proposed))
    assert f"{proposed} of the 10 folds would detect it" in found.sentence
    assert found.sentence.endswith(f", 11] ({len(found.new_seeds)} more).")


def test_missing_folds_are_proposed_even_if_they_are_not_enough() -> None:
    found = settle(compare_two([0.03, -0.02, 0.05], seeds=[0, 6, 2], folds=5), 0.0)
    assert found.new_seeds == (3, 4)
    assert "all 5 folds would detect it with" in found.sentence
    assert found.sentence.endswith("Set grid.seed: [0, 2, 3, 4, 6] (2 more).")


def test_complete_folds_propose_images_instead_of_seeds() -> None:
    found = settle(compare_two([0.06, 0.01, 0.05, 0.02, 0.04], folds=5), 0.0)
    assert found.new_seeds == ()
    assert "More seeds of the same folds do not help" in found.sentence
    assert "times as many images would detect it with 80% power" in found.sentence
    assert "inversely proportional to the number of images" in found.sentence


def test_complete_folds_without_hope_are_given_up() -> None:
    found = settle(compare_two([0.3, -0.3, 0.03, 0.2, -0.2], folds=5), 0.0)
    assert found.new_seeds == ()
    assert "10 times as many images would detect it with" in found.sentence
    assert found.sentence.endswith("treat them as equal for practical purposes.")


def test_findings_propose_seeds_only_for_a_grid(tmp_path: Path) -> None:
    summary = ReportProject(tmp_path, diverged="").summary
    ids = [{one.id for one in list_findings(summary, {}, margin)} for margin in (MARGIN, None)]
    settling = {one.id for one in list_settlings(summary, MARGIN)}
    assert settling
    assert ids[0] - ids[1] == settling


LOSSES = st.lists(st.tuples(st.floats(0.1, 1), st.floats(0.1, 1)), min_size=2, max_size=6)


@given(LOSSES, st.none() | st.integers(2, 5), st.sampled_from([0.0, 0.02, 0.5]))
@settings(max_examples=40)
def test_order_of_the_settings_does_not_matter(
    losses: list[tuple[float, float]], folds: int | None, margin: float
) -> None:
    first, second = zip(*losses, strict=True)
    results = [
        list_settlings(make_summary({("a", 0.1): one, ("b", 0.1): other}, folds=folds), margin)
        for one, other in ((first, second), (second, first))
    ]
    assert [one.new_seeds for one in results[0]] == [one.new_seeds for one in results[1]]
    said = [[one.sentence.split(":", 1)[1].replace(" at 0.1", "") for one in result] for result in results]
    if sum(first) != sum(second):
        assert said[0] == said[1]


@given(LOSSES, st.none() | st.integers(2, 5))
@settings(max_examples=40)
def test_no_setting_is_equal_without_a_margin(losses: list[tuple[float, float]], folds: int | None) -> None:
    first, second = zip(*losses, strict=True)
    found = list_settlings(make_summary({UNET: first, LITE: second}, folds=folds), 0.0)
    assert not any("are equal for practical purposes" in one.sentence for one in found)


@given(LOSSES, st.sampled_from([0.0, 0.02, 0.5]))
@settings(max_examples=40)
def test_proposed_seeds_complete_the_grid(losses: list[tuple[float, float]], margin: float) -> None:
    first, second = zip(*losses, strict=True)
    for one in list_settlings(make_summary({UNET: first, LITE: second}), margin):
        assert len(one.new_seeds) == len({*one.new_seeds})
        assert not {*one.new_seeds} & {*range(len(losses))}
        assert len(losses) + len(one.new_seeds) <= MAX_SEEDS
