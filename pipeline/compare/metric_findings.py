"""Findings on metrics other than the loss: whether they would choose another setting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

from pipeline.analysis.scores import name_foreground_iou
from pipeline.analysis.seed_statistics import compute_paired_difference
from pipeline.artifacts.comparison import BestSetting, Finding, RunSummary, SettingSummary, Summary
from pipeline.wording import join_words

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class RankedMetric:
    """A metric by which settings can be ranked."""

    title: str
    get: Callable[[RunSummary], float | None]
    is_lower_better: bool = False
    digits: int = 3
    unit: str = ""


def list_ranked_metrics(summary: Summary) -> list[RankedMetric]:
    """List the metrics by which the runs could be ranked instead of the validation loss."""
    digits, unit = (summary.distances.digits, summary.distances.unit) if summary.distances else (1, "px")
    metrics = [RankedMetric("mean IoU", lambda row: row.val_mean_iou)]
    if len(summary.foreground) != 1:
        metrics.append(RankedMetric(name_foreground_iou(summary.foreground), lambda row: row.val_foreground_iou))
    return [
        *metrics,
        RankedMetric("Dice", lambda row: row.val_metrics.get("dice")),
        RankedMetric("Dice by image", lambda row: row.val_metrics.get("image_dice")),
        RankedMetric("normalized surface Dice", lambda row: row.val_metrics.get("nsd")),
        RankedMetric("HD95", lambda row: row.val_metrics.get("hd95"), is_lower_better=True, digits=digits, unit=unit),
    ]


def compare_metrics(summary: Summary, best: BestSetting) -> Finding | None:
    """Report which metrics would choose another setting than the loss does, and by how much."""
    first = summary.get_setting(best)
    rivals = [row for row in summary.settings if row.ranked and row != first]
    same, different = [], []
    for metric in list_ranked_metrics(summary):
        means = {_key(row): _average(summary, row, metric) for row in (first, *rivals)}
        defined = {key: mean for key, mean in means.items() if mean is not None}
        if not rivals or _key(first) not in defined or len(defined) < len(means):
            continue
        sign = -1 if metric.is_lower_better else 1
        winner = max(defined, key=lambda key: sign * defined[key])
        if sign * defined[winner] <= sign * defined[_key(first)]:
            same.append(metric.title)
        else:
            different.append(_describe_rival(summary, metric, winner, _key(first)))
    if not same and not different:
        return None
    sentences = []
    if same:
        verb = "chooses" if len(same) == 1 else "choose"
        names = join_words(same)
        also = " also" if different else ""
        sentences.append(f"{names[:1].upper()}{names[1:]}{also} {verb} {first.variant} at {first.learning_rate}.")
    runs = tuple(row.run for row in summary.list_runs(best))
    return Finding("other_metrics", " ".join([*different, *sentences]), runs)


def _key(row: SettingSummary) -> tuple[str, float]:
    return row.variant, row.learning_rate


def _list_by_seed(summary: Summary, key: tuple[str, float], metric: RankedMetric) -> dict[int, float]:
    rows = [row for row in summary.runs if (row.variant, row.learning_rate) == key]
    return {row.seed: value for row in rows if (value := metric.get(row)) is not None}


def _average(summary: Summary, row: SettingSummary, metric: RankedMetric) -> float | None:
    values = _list_by_seed(summary, _key(row), metric)
    return fmean(values.values()) if len(values) == row.seeds else None


def _describe_rival(summary: Summary, metric: RankedMetric, winner: tuple[str, float], best: tuple[str, float]) -> str:
    """Describe the setting that a metric would choose, and whether the seeds support it."""
    by_seed = [_list_by_seed(summary, key, metric) for key in (winner, best)]
    difference = compute_paired_difference(*by_seed)
    lead = abs(fmean(by_seed[0].values()) - fmean(by_seed[1].values()))
    text = f"By {metric.title}, {winner[0]} at {winner[1]} would be the best, by {lead:.{metric.digits}f}"
    if metric.unit:
        text += f" {metric.unit}"
    if difference is None or difference.interval is None or difference.p_value is None:
        return f"{text}; one seed cannot support this."
    low, high = sorted(abs(end) if difference.mean * end > 0 else -abs(end) for end in difference.interval)
    interval = f" (95 % interval {low:.{metric.digits}f} to {high:.{metric.digits}f})"
    supported = difference.p_value < SIGNIFICANT
    return f"{text}{interval}, a difference that the seeds {'support' if supported else 'do not support'}."
