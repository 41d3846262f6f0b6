"""Time that the seeds take that would settle open comparisons, from the times of the runs on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from pipeline.artifacts.comparison import SettingSummary, Summary
from pipeline.artifacts.project import Project
from pipeline.compare.settling import list_settlings
from pipeline.wording import format_duration, pluralize


def describe_seed_times(summary: Summary, equivalence_margin: float, project: Project) -> list[str]:
    """Describe how long the proposed seeds take, one sentence per open comparison.

    The times are not in the findings, because they differ between otherwise equal runs. Comparisons without known
    times are left out, such as those of runs that DVC restored.

    Args:
        summary: Results of the grid.
        equivalence_margin: As in `compare.equivalence_margin`.
        project: The project with the runs.
    """
    sentences = []
    for one in list_settlings(summary, equivalence_margin):
        both = _sum_seconds(summary, [one.first, one.second], project)
        if one.new_seeds and both is not None:
            new = pluralize(len(one.new_seeds), "more seed")
            names = f"{one.first.setting} and {one.second.setting}"
            sentence = f"{new} of {names} take about {format_duration(len(one.new_seeds) * both)} to train"
            everything = _sum_seconds(summary, summary.settings, project)
            if everything is not None:
                sentence += f", and of the whole grid {format_duration(len(one.new_seeds) * everything)}"
            sentences.append(f"{sentence}, if runs are trained one after the other.")
    return sentences


def _sum_seconds(summary: Summary, settings: Sequence[SettingSummary], project: Project) -> float | None:
    """Add up the mean training times of settings; None if the time of one is unknown."""
    means = []
    for setting in settings:
        timings = [project.run(row.run).read_timing() for row in summary.list_runs(setting) if row.is_complete]
        seconds = [timing.seconds for timing in timings if timing]
        if not seconds:
            return None
        means.append(fmean(seconds))
    return sum(means)
