"""Findings on metrics other than the one that settings are ranked by: whether they would choose another setting."""

from __future__ import annotations

from statistics import fmean

from pipeline.analysis.ranked_metric import RankedMetric, list_grid_metrics
from pipeline.analysis.seed_statistics import SIGNIFICANT
from pipeline.artifacts.comparison import BestSetting, Finding, SettingSummary, Summary
from pipeline.wording import capitalize_first, join_words

# Metrics that answer different questions; each of the others measures nearly the same as one of these.
COMPARED = ("val_loss", "mean_iou", "foreground_iou", "dice", "image_dice", "nsd", "hd95", "object_f1")


def list_other_metrics(summary: Summary) -> list[RankedMetric]:
    """List the metrics by which the runs could be ranked instead, among those in `COMPARED`.

    The IoU of a single foreground class is left out, because it orders all masks like their Dice.
    """
    every = list_grid_metrics(summary)
    metrics = [one for one in every if one.name in COMPARED]
    ranked, has_single = summary.rank_by, len(summary.foreground) == 1
    return [one for one in metrics if one.name != ranked and not (one.name == "foreground_iou" and has_single)]


def compare_metrics(summary: Summary, best: BestSetting) -> Finding | None:
    """Report which metrics would choose another setting, and by how much; all ranked settings must have the metric."""
    first = summary.get_setting(best)
    rivals = [row for row in summary.settings if row.ranked and row != first]
    same, different = [], []
    for metric in list_other_metrics(summary):
        means = [(metric.compute_spread(summary.list_runs(row))[0], row) for row in (first, *rivals)]
        oriented = [(metric.orient(mean), row) for mean, row in means if mean is not None]
        if not rivals or len(oriented) < len(means):
            continue
        lowest, winner = min(oriented, key=lambda pair: pair[0])
        if lowest >= oriented[0][0]:
            same.append(metric.title)
        else:
            different.append(_describe_rival(summary, metric, winner, first))
    if not same and not different:
        return None
    sentences = []
    if same:
        verb = "chooses" if len(same) == 1 else "choose"
        names = join_words(same)
        also = " also" if different else ""
        sentences.append(f"{capitalize_first(names)}{also} {verb} {first.setting}.")
    runs = tuple(row.run for row in summary.list_runs(best))
    return Finding("other_metrics", " ".join([*different, *sentences]), runs)


def _describe_rival(summary: Summary, metric: RankedMetric, winner: SettingSummary, best: SettingSummary) -> str:
    """Describe the setting that a metric would choose, and whether the seeds support it."""
    runs = summary.list_runs(winner), summary.list_runs(best)
    difference = metric.compute_difference(*runs, summary.folds)
    values = [metric.list_by_seed(rows).values() for rows in runs]
    lead = f"{abs(fmean(values[0]) - fmean(values[1])):.{metric.digits}f}"
    text = f"By {metric.title}, {winner.setting} would be the best, by {metric.add_unit(lead)}"
    if difference is None or difference.interval is None or difference.p_value is None:
        return f"{text}; one seed cannot support this."
    low, high = (-end for end in reversed(difference.interval))
    interval = f" (95% interval {low:.{metric.digits}f} to {high:.{metric.digits}f})"
    supported = difference.p_value < SIGNIFICANT
    return f"{text}{interval}, a difference that is {'significant' if supported else 'not significant'}."
