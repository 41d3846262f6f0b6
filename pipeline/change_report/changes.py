"""Compare two grids: settings paired by seed, verdicts, ranks, parameters, and images whose masks changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.analysis.measurement import depends_on, describe_grid_measurement, list_measurement_changes
from pipeline.analysis.ranked_metric import (
    RankedMetric,
    explain_unranked,
    get_grid_metric,
    get_ranked_metric,
    rank_settings,
)
from pipeline.analysis.seed_statistics import SIGNIFICANT, PairedDifference, adjust_p_values, compute_paired_difference
from pipeline.artifacts.comparison import Setting, SettingSummary, Summary
from pipeline.artifacts.project import Project
from pipeline.errors import PipelineError
from pipeline.number_format import format_number
from pipeline.params.flatten import flatten_parameters
from pipeline.wording import pluralize


@dataclass(frozen=True)
class SettingChange:
    """The change of a setting from one grid to another."""

    before: SettingSummary
    now: SettingSummary
    ranks: tuple[int | None, int | None]  # by `GridChanges.metric`, 1 is the best; None if it is not ranked
    verdicts: tuple[Mapping[str, int], Mapping[str, int]]  # number of runs by verdict
    value: PairedDifference | None  # now minus before; None if no seed has finished in both grids
    val_loss: PairedDifference | None
    gap: PairedDifference | None
    mean_iou: PairedDifference | None
    p_value: float | None  # of the difference in `value`, with Holm's correction over all settings
    unranked: str  # why the setting is not ranked now; empty if it is

    @property
    def name(self) -> str:
        """The setting in words."""
        return str(self.now.setting)

    @property
    def is_supported(self) -> bool:
        """Whether the seeds support that the value changed."""
        return self.p_value is not None and self.p_value < SIGNIFICANT

    @property
    def has_lost_rank(self) -> bool:
        """Whether the setting was ranked before and is not ranked now."""
        return self.ranks[0] is not None and self.ranks[1] is None


@dataclass(frozen=True)
class BestChange:
    """The change from one grid's best setting to another's, which may be the same setting."""

    before: SettingSummary
    now: SettingSummary
    value: PairedDifference | None  # now minus before; None if values are not compared, or no seed is in both
    p_value: float | None  # with Holm's correction

    @property
    def is_supported(self) -> bool:
        """Whether the seeds support that the value changed."""
        return self.p_value is not None and self.p_value < SIGNIFICANT


@dataclass(frozen=True)
class GridChanges:
    """The changes from one grid to another."""

    metric: RankedMetric  # by which the settings of the current grid are ranked; `value` is a difference in it
    previous_metric: RankedMetric  # by which those of the other grid are ranked
    metric_before: RankedMetric  # `metric` with the unit of the other grid
    best: BestChange | None  # None if one of the grids has no ranked setting
    lost_best: SettingSummary | None  # best setting of the other grid, if the current one has no ranked setting
    settings: tuple[SettingChange, ...]  # in both grids, in the order of the current one
    added: tuple[SettingSummary, ...]  # only in the current grid
    removed: tuple[SettingSummary, ...]  # only in the other grid
    parameters: tuple[tuple[str, str, str, str], ...]  # variants, name, previous and current value
    is_same_data: bool  # whether both grids were trained and evaluated on the same prepared data
    measurement: tuple[tuple[str, str, str], ...]  # what `metric` depends on and differs: name, both values

    @property
    def obstacle(self) -> str:
        """Why values of the metric are not compared; empty if they are."""
        if not self.is_same_data:
            return "the prepared data differ"
        differences = "; ".join(f"{name}: {before} before, {now} now" for name, before, now in self.measurement)
        return f"the {self.metric.title} was measured in different ways ({differences})" if differences else ""

    @property
    def regressions(self) -> list[str]:
        """Sentences on settings that are no longer ranked, or whose metric became worse, if the seeds support it."""
        found = [
            f"{change.name} was ranked before, but is now {change.unranked}"
            for change in self.settings
            if change.has_lost_rank
        ]
        found += [
            f"{change.name}: {describe_difference(change.value, self.metric)}"
            for change in self.settings
            if change.value and self.metric.orient(change.value.mean) > 0 and change.is_supported
        ]
        if self.lost_best:
            found.insert(0, self.describe_lost_best())
        best = self.best.value if self.best and self.best.is_supported else None
        if best and self.metric.orient(best.mean) > 0:
            found.insert(0, f"the best setting: {describe_difference(best, self.metric)}")
        return found

    def describe_lost_best(self) -> str:
        """Describe that no setting is ranked any longer; only if `lost_best` is not None."""
        assert self.lost_best is not None
        best = self.lost_best.setting
        return f"no setting is ranked now; the best one before was {best}"


def describe_difference(difference: PairedDifference, metric: RankedMetric) -> str:
    """Describe the change of a metric with its interval."""
    word = "higher" if difference.mean > 0 else "lower"
    size = metric.add_unit(format_number(abs(difference.mean), metric.digits))
    text = f"the {metric.title} is {word} by {size}"
    if difference.interval:
        low, high = difference.interval if difference.mean > 0 else tuple(-end for end in reversed(difference.interval))
        text += f" (95% interval {format_number(low, metric.digits)} to {format_number(high, metric.digits)})"
    return f"{text}, over {pluralize(difference.num_seeds, 'seed')}"


def compare_grids(before: Project, now: Project) -> GridChanges:
    """Compare two grids by the metric that settings of the current one are ranked by.

    If their data differ, runs are not paired, because their values are of different images. Values of the metric are
    not paired either if the evaluations measured it in different ways.

    Raises:
        PipelineError: A comparison is missing or broken.
    """
    same_data = before.prepared.dataset.fingerprint == now.prepared.dataset.fingerprint
    old, new = before.comparison.summary, now.comparison.summary
    metric, previous_metric = get_ranked_metric(new), get_ranked_metric(old)
    metric_before = get_grid_metric(old, metric.name)
    if metric.name != previous_metric.name:
        old = _rank_again(old, metric)
    changed = list_measurement_changes(describe_grid_measurement(before, old), describe_grid_measurement(now, new))
    measurement = tuple(change for change in changed if depends_on(metric.name, change[0]))
    old_settings, new_settings = ({row.setting: row for row in summary.settings} for summary in (old, new))

    def pair(old_key: Setting, new_key: Setting, name: str) -> PairedDifference | None:
        if not same_data or (measurement and name == metric.name):
            return None
        by_seed = _list_by_seed(new, new_key, name), _list_by_seed(old, old_key, name)
        return compute_paired_difference(*by_seed, folds=new.folds)

    both = [key for key in new_settings if key in old_settings]
    values = {(key, key): pair(key, key, metric.name) for key in both}
    best = None
    old_ranked, new_ranked = (rank_settings(summary.settings, metric) for summary in (old, new))
    old_best = old.best if metric.name == previous_metric.name else next(iter(old_ranked), None)
    if old_best and new.best:
        best = (old_best.setting, new.best.setting)
        values.setdefault(best, pair(*best, metric.name))
    tested = {keys: value.p_value for keys, value in values.items() if value and value.p_value is not None}
    p_values = dict(zip(tested, adjust_p_values(list(tested.values())), strict=True))
    return GridChanges(
        metric=metric,
        previous_metric=previous_metric,
        metric_before=metric_before,
        best=BestChange(old_settings[best[0]], new_settings[best[1]], values[best], p_values.get(best))
        if best
        else None,
        lost_best=old_settings[old_best.setting] if old_best and not new.best else None,
        settings=tuple(
            SettingChange(
                before=old_settings[key],
                now=new_settings[key],
                ranks=(_find_rank(old_ranked, key), _find_rank(new_ranked, key)),
                verdicts=(old.count_verdicts(old_settings[key]), new.count_verdicts(new_settings[key])),
                value=values[key, key],
                val_loss=pair(key, key, "val_loss"),
                gap=pair(key, key, "gap"),
                mean_iou=pair(key, key, "mean_iou"),
                p_value=p_values.get((key, key)),
                unranked=explain_unranked(new, new_settings[key]),
            )
            for key in both
        ),
        added=tuple(row for key, row in new_settings.items() if key not in old_settings),
        removed=tuple(row for key, row in old_settings.items() if key not in new_settings),
        parameters=(
            *_list_changed_parameters(before, now, new),
            *(("all variants", *change) for change in changed),
        ),
        is_same_data=same_data,
        measurement=measurement,
    )


def _rank_again(summary: Summary, metric: RankedMetric) -> Summary:
    """Rank the settings of a grid by another metric."""
    settings = []
    for row in summary.settings:
        runs = summary.list_runs(row)
        spread = metric.compute_spread(runs)
        is_ranked = len(metric.list_by_seed(runs)) == len(runs)
        settings.append(replace(row, ranked=is_ranked, spreads={**row.spreads, metric.name: spread}))
    return replace(summary, settings=tuple(settings))


def _list_by_seed(summary: Summary, key: Setting, name: str) -> dict[int, float]:
    rows = [row for row in summary.runs if row.setting == key and row.is_complete]
    values = {row.seed: row.gap if name == "gap" else row.get_metric(name) for row in rows}
    return {seed: value for seed, value in values.items() if value is not None}


def _find_rank(ranked: Sequence[SettingSummary], key: Setting) -> int | None:
    return next((place for place, row in enumerate(ranked, start=1) if row.setting == key), None)


def _list_changed_parameters(before: Project, now: Project, new: Summary) -> tuple[tuple[str, str, str, str], ...]:
    """List the parameters that differ between runs of the same name, with the variants that they differ in."""
    changed: dict[tuple[str, str, str], dict[str, None]] = {}
    for row in new.runs:
        try:
            records = before.run(row.run).record, now.run(row.run).record
        except PipelineError:
            continue  # one of the runs is missing
        values = [dict(flatten_parameters(record.cell)) for record in records]
        for name in dict.fromkeys([*values[0], *values[1]]):
            pair = values[0].get(name, "not set"), values[1].get(name, "not set")
            if pair[0] != pair[1]:
                changed.setdefault((name, *pair), {})[row.variant] = None
    variants = {row.variant for row in new.runs}
    return tuple(
        ("all variants" if set(names) == variants else ", ".join(names), name, old, value)
        for (name, old, value), names in changed.items()
    )
