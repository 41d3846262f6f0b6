"""The finding on metrics that would choose another setting than the loss."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.artifacts.comparison import BestSetting, SettingSummary, Summary
from pipeline.artifacts.scores import DistanceScale
from pipeline.compare.findings import list_findings
from pipeline.compare.metric_findings import compare_metrics
from tests.report.conftest import ReportProject

SEEDS = (0, 1, 2)
DICE = {"dice": 0.8, "image_dice": 0.8, "nsd": 0.8, "hd95": 5.0}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    project = ReportProject(tmp_path_factory.mktemp("metrics"), seeds=SEEDS, diverged="")
    rows = [replace(row, val_mean_iou=0.7, val_metrics=DICE) for row in project.summary.runs]
    return replace(project.summary, runs=tuple(rows))


@pytest.fixture
def best(original: Summary) -> BestSetting:
    assert original.best is not None
    return original.best


def set_metric(summary: Summary, name: str, variant: str, learning_rate: float, *values: float) -> Summary:
    """Set a metric of the three runs of a setting."""
    by_seed = dict(zip(SEEDS, values, strict=True))
    return replace(
        summary,
        runs=tuple(
            replace(row, val_metrics={**row.val_metrics, name: by_seed[row.seed]})
            if row.setting == (variant, learning_rate)
            else row
            for row in summary.runs
        ),
    )


def find_other(summary: Summary, best: BestSetting) -> SettingSummary:
    """Find a setting that is not the best one."""
    return next(row for row in summary.settings if row != summary.get_setting(best))


def describe(summary: Summary, best: BestSetting) -> str:
    finding = compare_metrics(summary, best)
    assert finding is not None
    return finding.sentence


def test_metrics_that_agree_with_the_loss_are_listed(original: Summary, best: BestSetting) -> None:
    assert describe(original, best) == (
        f"Mean IoU, Dice, Dice by image, normalized surface Dice and HD95 choose {best.setting}."
    )


def test_metric_that_would_choose_another_setting_is_compared_by_seed(original: Summary, best: BestSetting) -> None:
    other = find_other(original, best)
    supported = set_metric(original, "dice", other.variant, other.learning_rate, 0.850, 0.851, 0.849)
    assert describe(supported, best).startswith(
        f"By Dice, {other.setting} would be the best, by 0.050 (95% interval 0.048 to "
        "0.052), a difference that is significant. Mean IoU,"
    )
    noisy = set_metric(original, "dice", other.variant, other.learning_rate, 0.95, 0.70, 0.81)
    assert "by 0.020 (95% interval -0.291 to 0.331), a difference that is not significant" in describe(noisy, best)


def test_distance_is_better_if_it_is_lower(original: Summary, best: BestSetting) -> None:
    other = find_other(original, best)
    higher = set_metric(original, "hd95", other.variant, other.learning_rate, 9.0, 9.1, 9.2)
    assert "By HD95" not in describe(higher, best)
    lower = set_metric(original, "hd95", other.variant, other.learning_rate, 3.0, 3.1, 2.9)
    first = f"By HD95, {other.setting} would be the best, by"
    assert f"{first} 2.0 px (95% interval 1.8 to 2.2)" in describe(lower, best)
    scaled = replace(lower, distances=DistanceScale("mm", 2.0, 0.04, 0.05))
    assert f"{first} 2.000 mm (95% interval 1.752 to 2.248)" in describe(scaled, best)


def test_metric_that_is_undefined_for_a_run_is_not_ranked(original: Summary, best: BestSetting) -> None:
    rows = [replace(row, val_metrics={**row.val_metrics, "hd95": None}) for row in original.runs[:1]]
    summary = replace(original, runs=(*rows, *original.runs[1:]))
    assert "HD95" not in describe(summary, best)


def test_single_setting_has_no_finding(original: Summary, best: BestSetting) -> None:
    settings = (original.get_setting(best),)
    assert compare_metrics(replace(original, settings=settings), best) is None


def set_costs(summary: Summary, **operations: int) -> Summary:
    """Set the multiply-accumulates of each variant's runs."""
    rows = [replace(row, multiply_accumulates=operations[row.variant]) for row in summary.runs]
    return replace(summary, runs=tuple(rows))


def test_cheaper_variant_is_named_unless_its_loss_is_significantly_higher(original: Summary, best: BestSetting) -> None:
    other = next(item for item in original.best_of_variant if item.variant != best.variant)
    losses = {best.variant: (0.50, 0.52, 0.54), other.variant: (0.51, 0.51, 0.56)}

    def with_losses(by_variant: dict[str, tuple[float, ...]]) -> Summary:
        chosen = {item.setting for item in original.best_of_variant}
        rows = [
            replace(row, val_loss=by_variant[row.variant][row.seed]) if row.setting in chosen else row
            for row in original.runs
        ]
        return replace(original, runs=tuple(rows))

    def find(summary: Summary) -> str | None:
        return next((one.sentence for one in list_findings(summary, {}) if one.id == "cheapest"), None)

    cheap = {best.variant: 400_000_000, other.variant: 100_000_000}
    sentence = find(set_costs(with_losses(losses), **cheap))
    assert sentence is not None
    assert f"is {other.setting}: a prediction takes 100 million multiply-accumulates" in sentence
    assert "4.0 times fewer" in sentence
    assert find(set_costs(with_losses(losses), **dict.fromkeys(cheap, 400_000_000))) is None
    worse = {**losses, other.variant: (0.60, 0.62, 0.641)}
    assert find(set_costs(with_losses(worse), **cheap)) is None
