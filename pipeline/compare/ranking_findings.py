"""Findings on the metric that settings are ranked by: settings and images for which it is undefined."""

from __future__ import annotations

from pipeline.analysis.metrics import DISTANCES
from pipeline.analysis.ranked_metric import RankedMetric, explain_missing_ranking, explain_undefined
from pipeline.analysis.seed_statistics import compute_mean_and_sd
from pipeline.artifacts.comparison import BestSetting, Finding, SettingSummary, Summary

MAX_SETTINGS = 3  # maximum number of settings to name; the table of results has the others


def report_missing_ranking(summary: Summary) -> Finding:
    """Report why no setting is ranked."""
    reason = explain_missing_ranking(summary)
    return Finding("none_ranked", reason or "No setting has finished all its seeds, so nothing can be ranked.", ())


def report_undefined_metric(summary: Summary) -> Finding | None:
    """Report the settings that are not ranked because the metric of a run is undefined."""
    unranked = [(setting, reason) for setting in summary.settings if (reason := explain_undefined(summary, setting))]
    if not unranked:
        return None
    names = [f"{setting.setting} ({reason})" for setting, reason in unranked[:MAX_SETTINGS]]
    if len(unranked) > MAX_SETTINGS:
        names.append(f"{len(unranked) - MAX_SETTINGS} more")
    runs = tuple(row.run for setting, _ in unranked for row in summary.list_runs(setting))
    return Finding("undefined_metric", f"Not ranked: {'; '.join(names)}.", runs)


def report_undefined_distances(summary: Summary, best: BestSetting, metric: RankedMetric) -> Finding | None:
    """Report how many images a mean distance leaves out, if settings are ranked by it."""
    if metric.name not in DISTANCES:
        return None
    here = _count_undefined(summary, summary.get_setting(best))
    others = [row for row in summary.settings if row.ranked and row != summary.get_setting(best)]
    counts = [count for row in others if (count := _count_undefined(summary, row)) is not None]
    if here is None or not any((here, *counts)):
        return None
    compared = f"; the other ranked settings have {min(counts):.3g} to {max(counts):.3g}" if counts else ""
    sentence = (
        f"{metric.heading} leaves out a class in images in which only one of the masks has it: {best.variant} at "
        f"{best.learning_rate} has {here:.3g} of these cases per run{compared}. A setting that misses a class in more "
        "images can have a lower mean; normalized surface Dice counts these cases as 0."
    )
    return Finding("undefined_distances", sentence, tuple(row.run for row in summary.list_runs(best)))


def _count_undefined(summary: Summary, setting: SettingSummary) -> float | None:
    return compute_mean_and_sd(row.num_undefined_distances for row in summary.list_runs(setting))[0]
