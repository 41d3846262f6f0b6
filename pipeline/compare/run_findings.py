"""Findings about runs: verdicts, onsets, missed classes, runs without results, and runs that predict only one class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from statistics import fmean

from pipeline.analysis.baselines import ONE_CLASS_LABEL, pair_with_baseline
from pipeline.analysis.ranked_metric import get_ranked_metric
from pipeline.analysis.seed_statistics import compute_mean_and_sd
from pipeline.analysis.verdict import ONSET_NOT_CHECKED
from pipeline.artifacts.comparison import BestSetting, Finding, Judgment, RunSummary, Summary
from pipeline.artifacts.scores import MIN_CLASS_IOU, MissedClass
from pipeline.wording import pluralize

MAX_CLASSES = 12  # maximum number of missed classes to name; the others are only counted
MAX_REASONS = 3  # maximum number of runs without results to give reasons for; the table of all runs has the others
ENDS = {
    "diverged": ("run diverged", "runs diverged"),
    "failed": ("run failed", "runs failed"),
    "killed": ("run was killed", "runs were killed"),
    "missing": ("run is missing", "runs are missing"),
}


def report_verdicts(summary: Summary, best: BestSetting) -> Finding | None:
    """Count the verdicts on the runs of the best setting, and those on all other runs."""
    judged = [(row.run, row.judgment) for row in summary.runs if row.judgment]
    here = {row.run for row in summary.list_runs(best)}
    at_best = Counter(judgment.verdict for run, judgment in judged if run in here)
    others = Counter(judgment.verdict for run, judgment in judged if run not in here)
    if not at_best:
        return None
    best_value = get_ranked_metric(summary).best_value
    sentence = f"Based on the loss curves, the verdict on the runs with {best_value} is {_tally(at_best)}"
    sentence += f"; on the other runs it is {_tally(others)}." if others else "."
    overfitting = tuple(run for run, judgment in judged if judgment.verdict == "overfitting")
    return Finding("verdicts", sentence, overfitting or tuple(sorted(here)))


def _tally(words: Counter[str]) -> str:
    return ", ".join(f"{word} ({count})" if words.total() > 1 else word for word, count in words.most_common())


def report_onsets(summary: Summary) -> Finding | None:
    """Report the settings at which the validation loss begins to rise for most seeds; None without complete runs."""
    judgments = [row.judgment for row in summary.runs if row.judgment]
    if any(reason.startswith(ONSET_NOT_CHECKED) for judgment in judgments for reason in judgment.not_checked):
        return None
    by_setting = [
        (setting, rows)
        for setting in summary.settings
        if (rows := [row for row in summary.list_runs(setting) if row.is_complete])
    ]
    if not by_setting:
        return None
    places, named = [], []
    for setting, rows in by_setting:
        worsening = [row for row in rows if row.judgment and _worsens(row.judgment)]
        if len(worsening) * 2 > len(rows):
            seeds = f"({len(worsening)} of {pluralize(len(rows), 'seed')})"
            places.append(f"{setting.setting}{_format_onsets(worsening)} {seeds}")
            named += [row.run for row in worsening]
    if not places:
        return Finding("onsets", "Validation does not begin to worsen for most seeds at any learning rate.", ())
    sentence = f"Validation begins to worsen while training still improves with {'; with '.join(places)}."
    others = " At the other learning rates, it does not worsen for most seeds."
    return Finding("onsets", sentence + ("" if len(places) == len(by_setting) else others), tuple(named))


def _worsens(judgment: Judgment) -> bool:
    """Return whether validation worsens while training improves. A noisy rise may be certain, but have no onset."""
    return judgment.onset is not None or judgment.verdict == "overfitting"


def _format_onsets(rows: Sequence[RunSummary]) -> str:
    """Format the epochs between which the onsets of runs are; empty if none has an onset."""
    found = [row.judgment.onset for row in rows if row.judgment and row.judgment.onset]
    if not found:
        return ""
    return f" between epochs {min(low for low, _ in found)} and {max(high for _, high in found)}"


def report_lost_runs(summary: Summary) -> list[Finding]:
    """Report the runs without results and the reasons, with one finding per status."""
    found = []
    for status, (one, several) in ENDS.items():
        rows = [row for row in summary.runs if row.status == status]
        if rows:
            reasons = "; ".join(f"{row.run} ({_first_sentence(row.reason)})" for row in rows[:MAX_REASONS])
            more = f"; and {len(rows) - MAX_REASONS} more" if len(rows) > MAX_REASONS else ""
            sentence = f"{pluralize(len(rows), one, several)}: {reasons}{more}."
            found.append(Finding(status, sentence, tuple(row.run for row in rows)))
    return found


def _first_sentence(reason: str) -> str:
    return (reason.splitlines() or ["unknown reason"])[0].partition(". ")[0].rstrip(".")


def report_missed_classes(summary: Summary, best: BestSetting) -> Finding | None:
    """Name the classes that at least one run of the best setting misses; None if no run misses any."""
    rows = [row for row in summary.list_runs(best) if row.is_complete]
    by_class: dict[str, list[MissedClass]] = {}
    for row in rows:
        for missed in row.missed_classes:
            by_class.setdefault(missed.name, []).append(missed)
    if not by_class:
        return None
    present = sum(iou is not None for iou in summary.baseline.iou.values())
    classes = sorted(by_class.values(), key=lambda found: (-len(found), *_rank(found)))
    names = [
        f"{', '.join(found[0].name for found in alike)} ({how})"
        for how, alike in groupby(classes[:MAX_CLASSES], lambda found: _describe_miss(found, len(rows)))
    ]
    if len(classes) > MAX_CLASSES:
        names.append(f"{len(classes) - MAX_CLASSES} more")
    who = f"{best.setting}, the setting with {get_ranked_metric(summary).best_value}"
    over = "" if len(rows) == 1 else f" in at least one of {pluralize(len(rows), 'seed')}"
    sentence = (
        f"Missed classes: {who}, misses {len(by_class)} of the {present} classes of the validation images{over}: "
        f"{'; '.join(names)}. A class counts as missed if its IoU is below {MIN_CLASS_IOU}."
        f"{_describe_fewest_missed(summary, best)}"
    )
    return Finding("missed_classes", sentence, tuple(row.run for row in rows if row.missed_classes))


def _rank(found: list[MissedClass]) -> tuple[bool, float]:
    return any(one.is_predicted for one in found), fmean(one.iou for one in found)


def _describe_miss(found: list[MissedClass], runs: int) -> str:
    """Describe how a class is missed, and by how many of the runs unless all of them miss it."""
    is_predicted, iou = _rank(found)
    how = f"IoU {iou:.3f}" if is_predicted else "never predicted"
    return how if len(found) == runs else f"{how}, {len(found)} of {runs} runs"


def _describe_fewest_missed(summary: Summary, best: BestSetting) -> str:
    """Name the setting that misses the fewest classes; empty if that is the best setting."""
    here = summary.get_setting(best).missed_classes
    others = [(row.missed_classes, row) for row in summary.settings if row.ranked and row.missed_classes is not None]
    fewest, row = min(others, key=lambda pair: pair[0])
    if here is None or fewest >= here:
        return ""
    mean = " on average" if row.seeds > 1 else ""
    who = str(row.setting)
    return f" {who} misses the fewest: {fewest:.3g}{mean}, compared with {here:.3g} here."


def report_one_class_best_setting(summary: Summary) -> Finding | None:
    """Count the runs of the best setting that do no better than predicting one class everywhere.

    Returns:
        The finding; None if there are no such runs.
    """
    if summary.best is None:
        return None
    rows = summary.list_runs(summary.best)
    failing = _select_failing(rows)
    if not failing:
        return None
    who = "the run" if len(rows) == 1 else f"{len(failing)} of {len(rows)} runs"
    sentence = (
        f"{ONE_CLASS_LABEL[0].upper()}{ONE_CLASS_LABEL[1:]}: {who} of {summary.best.variant} at "
        f"{summary.best.learning_rate}, the setting with {get_ranked_metric(summary).best_value}. "
        f"{_compare_with_baseline(failing, summary)}"
    )
    return Finding("one_class", sentence, tuple(row.run for row in failing))


def report_one_class_other_runs(summary: Summary) -> Finding | None:
    """Count the runs of other settings that do no better than predicting one class everywhere.

    Returns:
        The finding; None if no run can be checked, or if all runs do better, including those of the best setting.
    """
    best = {row.run for row in summary.list_runs(summary.best)} if summary.best else set()
    checked = [row for row in summary.runs if row.run not in best and _beats_baseline(row) is not None]
    failing = _select_failing(checked)
    if not checked or not (failing or report_one_class_best_setting(summary)):
        return None
    runs = pluralize(len(checked), "other run" if best else "run")
    verb = "does" if len(failing or checked) == 1 else "do"
    sentence = (
        f"{len(failing)} of the {runs} {verb} {ONE_CLASS_LABEL} in terms of IoU."
        if failing
        else f"The {runs} {verb} {ONE_CLASS_LABEL.removeprefix('no ')} in terms of IoU."
    )
    return Finding("one_class_others", sentence, tuple(row.run for row in failing or checked))


def _compare_with_baseline(failing: list[RunSummary], summary: Summary) -> str:
    """Compare the mean scores of the failing runs with those of the one-class baseline."""
    mean_iou, _ = compute_mean_and_sd(row.val_mean_iou for row in failing)
    foreground_iou, _ = compute_mean_and_sd(row.val_foreground_iou for row in failing)
    pairs = pair_with_baseline(mean_iou, foreground_iou, summary.baseline, summary.foreground)
    known = [f"{name} is {value:.3f}, compared with {base:.3f} for one class everywhere" for name, value, base in pairs]
    return f"On validation, {'; '.join(known)}."


def _select_failing(rows: list[RunSummary]) -> list[RunSummary]:
    return [row for row in rows if _beats_baseline(row) is False]


def _beats_baseline(row: RunSummary) -> bool | None:
    return row.judgment.beats_baseline if row.judgment else None
