"""Findings: sentences about the results of the grid, each stated only if the numbers support it."""

from __future__ import annotations

import math
from statistics import fmean

from pipeline.analysis.gap_breakdown import GapPart
from pipeline.analysis.ranked_metric import RankedMetric, get_ranked_metric, rank_settings
from pipeline.analysis.seed_statistics import SIGNIFICANT, PairedDifference, adjust_p_values
from pipeline.artifacts.comparison import BestSetting, Finding, RunSummary, SettingSummary, Summary
from pipeline.compare import ranking_findings, run_findings
from pipeline.compare.learning_curves import report_more_images
from pipeline.compare.metric_findings import compare_metrics
from pipeline.compare.out_of_fold import report_folded_gap
from pipeline.compare.settling import report_settling
from pipeline.number_format import format_spread
from pipeline.wording import pluralize

MIN_IMAGES = 3  # the gap of a class is not reported if fewer validation images contain the class
MIN_GAP = 0.01  # of the class-prior baseline; a smaller gap is not reported
MAX_COST_SHARE = 0.9  # a variant that takes more of the best variant's operations is not called cheaper
MIN_CALIBRATION_GAP = 0.005  # a smaller difference between mean confidence and accuracy, 0 to 1, is not reported


def list_findings(
    summary: Summary, parts: dict[str, list[GapPart]], equivalence_margin: float | None = None
) -> list[Finding]:
    """List the findings of the grid, most important first.

    Args:
        summary: The results.
        parts: Gap breakdown of each finished run.
        equivalence_margin: As in `compare.equivalence_margin`; None for runs outside of a grid, to which no seeds can
            be added.
    """
    best, metric = summary.best, get_ranked_metric(summary)
    if best is None:
        unranked = (
            ranking_findings.report_missing_ranking(summary),
            run_findings.report_one_class_other_runs(summary),
            *run_findings.report_lost_runs(summary),
        )
        return [finding for finding in unranked if finding]
    found = [
        run_findings.report_missed_classes(summary, best),
        run_findings.report_one_class_best_setting(summary),
        _report_best_setting(summary, best, metric),
        report_folded_gap(summary, best),
        ranking_findings.report_undefined_metric(summary),
        ranking_findings.report_undefined_distances(summary, best, metric),
        _compare_learning_rates(summary, best, metric),
        *_compare_with_tenth(summary, metric),
        *(() if equivalence_margin is None else report_settling(summary, equivalence_margin)),
        report_more_images(summary),
        _report_widest_gap(summary),
        run_findings.report_verdicts(summary, best),
        run_findings.report_one_class_other_runs(summary),
        run_findings.report_onsets(summary),
        compare_metrics(summary, best),
        _report_widest_class(summary, best, parts),
        _report_calibration(summary, best),
        *_compare_variants(summary, best, metric),
        _find_cheapest(summary, best, metric),
    ]
    return [finding for finding in [*found, *run_findings.report_lost_runs(summary)] if finding]


def _report_best_setting(summary: Summary, best: BestSetting, metric: RankedMetric) -> Finding:
    row = summary.get_setting(best)
    share = 1 - _require(row.val_loss_mean) / summary.baseline_loss if summary.baseline_loss > 0 else 0.0
    prior = f"the class-prior baseline of {summary.baseline_loss:.{summary.loss_digits}f}"
    sentence = (
        f"{row.variant} at a learning rate of {row.learning_rate} has {metric.best_value}: "
        f"{metric.add_unit(_format_mean(metric, row))} over {summary.describe_seeds(row)}"
    )
    conclusion = ""
    if row.beats_baseline is not None and not row.is_no_better:
        conclusion = ", although its masks are better than predicting one class everywhere"
    elif metric.name == "val_loss":
        conclusion = ": nothing was learned"
    if metric.name != "val_loss":
        loss = format_spread(row.val_loss_mean, row.val_loss_sd, summary.loss_digits)
        sentence += f". Its validation loss is {loss} nats per pixel"
    sentence += f", {share:.0%} below {prior}." if share > 0 else f", no better than {prior}{conclusion}."
    return Finding("best", sentence, (best.run,))


def _compare_learning_rates(summary: Summary, best: BestSetting, metric: RankedMetric) -> Finding | None:
    """Compare the best learning rate with the second best of the same variant."""
    rivals = rank_settings((row for row in summary.settings if row.variant == best.variant), metric)
    if len(rivals) < 2:
        return None
    first, second = rivals[:2]
    differences = [_compute_difference(summary, first, rival, metric) for rival in rivals[1:]]
    sentence = (
        f"Among the learning rates of {first.variant}, {first.learning_rate} is ahead of {second.learning_rate} by "
        f"{_describe_lead(differences[0], metric)}. {_describe_significance(differences)[0]}"
    )
    return Finding("best_rate", sentence, _list_names(summary, first, second))


def _compare_with_tenth(summary: Summary, metric: RankedMetric) -> list[Finding]:
    """Compare each variant's best learning rate with a tenth of it."""
    found = []
    for best in summary.best_of_variant:
        here = summary.get_setting(best)
        tenth = [
            row
            for row in summary.settings
            if row.variant == best.variant and row.ranked and math.isclose(row.learning_rate * 10, best.learning_rate)
        ]
        if tenth:
            change = _get_mean(metric, tenth[0]) - _get_mean(metric, here)
            size = metric.add_unit(f"{abs(change):.{metric.digits}f}")
            sentence = (
                f"At a tenth of {best.variant}'s best learning rate, {tenth[0].learning_rate}, the {metric.title} is "
                f"{size} {'higher' if change >= 0 else 'lower'}; the gap goes from "
                f"{here.gap_mean:+.{summary.loss_digits}f} to {tenth[0].gap_mean:+.{summary.loss_digits}f}."
            )
            found.append(Finding(f"tenth_{best.variant}", sentence, _list_names(summary, here, tenth[0])))
    return found


def _report_widest_gap(summary: Summary) -> Finding | None:
    ranked = [row for row in summary.settings if row.ranked and row.gap_mean is not None]
    if not ranked:
        return None
    widest = max(ranked, key=lambda row: _require(row.gap_mean))
    if _require(widest.gap_mean) < MIN_GAP * summary.baseline_loss:
        sentence = (
            f"No gap: at every learning rate, the mean validation loss at the best epoch is less than "
            f"{MIN_GAP * summary.baseline_loss:.2g} nats per pixel above the training loss, {MIN_GAP:.0%} of the "
            f"class-prior baseline."
        )
    else:
        sentence = (
            f"The widest gap between validation and training loss at the best epoch is "
            f"{format_spread(widest.gap_mean, widest.gap_sd, summary.loss_digits)} nats per pixel, for "
            f"{widest.setting}."
        )
    return Finding("widest_gap", sentence, _list_names(summary, widest))


def _compare_variants(summary: Summary, best: BestSetting, metric: RankedMetric) -> list[Finding]:
    """Compare the best variant with each of the others, each at its own best learning rate."""
    first = summary.get_setting(best)
    found = []
    others = [summary.get_setting(other) for other in summary.best_of_variant[1:]]
    differences = [_compute_difference(summary, first, other, metric) for other in others]
    for second, difference, weight in zip(others, differences, _describe_significance(differences), strict=True):
        sentence = (
            f"{second.variant} at its best learning rate, {second.learning_rate}, has {metric.title_with_article} of "
            f"{_format_mean(metric, second)}; {first.variant} is {metric.better} by "
            f"{_describe_lead(difference, metric)}. {weight}"
        )
        found.append(Finding(f"variant_{second.variant}", sentence, _list_names(summary, first, second)))
    return found


def _find_cheapest(summary: Summary, best: BestSetting, metric: RankedMetric) -> Finding | None:
    """Report the variant with the fewest operations that is not significantly worse than the best one."""
    first = summary.get_setting(best)
    others = [summary.get_setting(other) for other in summary.best_of_variant[1:]]
    differences = [_compute_difference(summary, first, other, metric) for other in others]
    p_values = iter(adjust_p_values([one.p_value for one in differences if one.p_value is not None]))
    operations = summary.get_run(best.run).multiply_accumulates
    cheaper: list[tuple[int, SettingSummary, PairedDifference]] = []
    for other, difference in zip(others, differences, strict=True):
        is_worse = difference.p_value is None or next(p_values) < SIGNIFICANT
        cost = summary.get_run(str(other.run)).multiply_accumulates
        if cost and operations and not is_worse and cost < MAX_COST_SHARE * operations:
            cheaper.append((cost, other, difference))
    if not cheaper or operations is None:
        return None
    cost, cheapest, difference = min(cheaper, key=lambda item: item[0])
    sentence = (
        f"The cheapest variant whose {metric.short_title} is not significantly "
        f"{metric.worse} is {cheapest.setting}: a prediction takes {cost / 1e6:,.0f} "
        f"million multiply-accumulates, {operations / cost:.1f} times fewer than {first.variant}. {first.variant} is "
        f"{metric.better} by {_describe_lead(difference, metric)}; more seeds may show a difference."
    )
    return Finding("cheapest", sentence, _list_names(summary, first, cheapest))


def _report_widest_class(summary: Summary, best: BestSetting, parts: dict[str, list[GapPart]]) -> Finding | None:
    """Report the class with the widest gap in the best setting if all its seeds agree."""
    rows = summary.list_runs(best)
    by_run = [
        [part for part in parts.get(row.run, ()) if part.part == "class" and part.images >= MIN_IMAGES] for row in rows
    ]
    if not all(len(classes) > 1 for classes in by_run):
        return None
    widest = [max(classes, key=lambda part: part.gap) for classes in by_run]
    if len({part.name for part in widest}) > 1 or min(part.gap for part in widest) < MIN_GAP * summary.baseline_loss:
        return None
    train, val = (fmean(getattr(part, side) for part in widest) for side in ("train_loss", "val_loss"))
    sentence = (
        f"{best.setting} has the widest gap on {widest[0].name}: the loss "
        f"of that class is {train:.3f} nats per pixel on training images and {val:.3f} on validation"
        f"{_describe_agreement(rows)}."
    )
    return Finding("widest_class", sentence, tuple(row.run for row in rows))


def _report_calibration(summary: Summary, best: BestSetting) -> Finding | None:
    """Report overconfidence or underconfidence of the best setting if all its seeds agree."""
    rows = summary.list_runs(best)
    sure, right = (
        [value for value in (getattr(row, name) for row in rows) if value is not None]
        for name in ("val_confidence", "val_accuracy")
    )
    if len(sure) != len(rows) or len(right) != len(rows):
        return None
    excess = [confidence - accuracy for confidence, accuracy in zip(sure, right, strict=True)]
    if not excess or min(map(abs, excess)) < MIN_CALIBRATION_GAP or min(excess) < 0 < max(excess):
        return None
    errors = [fmean(_require(getattr(row, f"{side}_calibration_error")) for row in rows) for side in ("train", "val")]
    word = "overconfident" if excess[0] > 0 else "underconfident"
    sentence = (
        f"On validation, {best.setting} is {word}: its mean confidence is "
        f"{fmean(sure):.1%}, and {fmean(right):.1%} of the pixels are correct{_describe_agreement(rows)}; the expected "
        f"calibration error is {errors[1]:.3f} on validation and {errors[0]:.3f} on training."
    )
    return Finding("certainty", sentence, tuple(row.run for row in rows))


def _list_names(summary: Summary, *settings: SettingSummary) -> tuple[str, ...]:
    return tuple(row.run for setting in settings for row in summary.list_runs(setting))


def _describe_agreement(rows: list[RunSummary]) -> str:
    return f" ({'both' if len(rows) == 2 else f'all {len(rows)}'} seeds agree)" if len(rows) > 1 else ""


def _compute_difference(
    summary: Summary, first: SettingSummary, second: SettingSummary, metric: RankedMetric
) -> PairedDifference:
    """Compute the difference between two settings, negative if the first one is better."""
    paired = metric.compute_difference(summary.list_runs(first), summary.list_runs(second), summary.folds)
    if paired is not None:
        return paired
    # Runs from MLflow may have no seed in common.
    difference = metric.orient(_get_mean(metric, first)) - metric.orient(_get_mean(metric, second))
    return PairedDifference(difference, 0, 0, None, None)


def _describe_lead(difference: PairedDifference, metric: RankedMetric) -> str:
    """Describe by how much the first setting is better, with the interval and the number of seeds."""
    digits = metric.digits
    size = metric.add_unit(f"{-difference.mean:.{digits}f}")
    if difference.num_seeds == 0:
        return f"{size}; they have no seed in common"
    if difference.interval:
        low, high = difference.interval
        size += f" (95% interval {-high:.{digits}f} to {-low:.{digits}f})"
    return f"{size}, in {difference.num_lower} of {pluralize(difference.num_seeds, 'seed')}"


def _describe_significance(differences: list[PairedDifference]) -> list[str]:
    """Describe the significance of each difference, with Holm's correction if there are several."""
    tested = [difference.p_value for difference in differences if difference.p_value is not None]
    several = f", corrected for {len(tested)} comparisons" if len(tested) > 1 else ""
    corrected = iter(adjust_p_values(tested))
    return [
        _describe_p_value(next(corrected), several)
        if difference.p_value is not None
        else f"{'One seed is' if difference.num_seeds else 'That is'} not enough for a ranking."
        for difference in differences
    ]


def _describe_p_value(p: float, several: str) -> str:
    if p < SIGNIFICANT:
        return f"The difference is significant (p {'< 0.001' if p < 0.001 else f'= {p:.3f}'}{several})."
    return f"The difference is not significant (p = {p:.2f}{several})."


def _require(value: float | None) -> float:
    """Return a value that is never None for a ranked setting."""
    assert value is not None, "ranked settings have all their numbers"
    return value


def _get_mean(metric: RankedMetric, row: SettingSummary) -> float:
    """Return the mean of the metric that settings are ranked by, for a ranked setting."""
    return _require(row.get_spread(metric.name)[0])


def _format_mean(metric: RankedMetric, row: SettingSummary) -> str:
    """Format mean ± standard deviation of the metric that settings are ranked by."""
    return format_spread(*row.get_spread(metric.name), metric.digits)
