"""Compare two grids: settings paired by seed, verdicts, ranks, parameters, and images whose masks changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.analysis.seed_statistics import PairedDifference, adjust_p_values, compute_paired_difference
from pipeline.artifacts.comparison import BestSetting, RunSummary, SettingSummary, Summary
from pipeline.artifacts.project import Project
from pipeline.errors import PipelineError
from pipeline.report.formatting import flatten_parameters, format_number, pluralize

SIGNIFICANT = 0.05  # significance level after Holm's correction, as for the report's findings

Setting = tuple[str, float]  # variant and learning rate


@dataclass(frozen=True)
class SettingChange:
    """The change of a setting from one grid to another."""

    before: SettingSummary
    now: SettingSummary
    ranks: tuple[int | None, int | None]  # by mean validation loss, 1 is the best; None if it is not ranked
    verdicts: tuple[Mapping[str, int], Mapping[str, int]]  # number of runs by verdict
    val_loss: PairedDifference | None  # now minus before; None if no seed has finished in both grids
    gap: PairedDifference | None
    mean_iou: PairedDifference | None
    p_value: float | None  # of the difference in validation loss, with Holm's correction over all settings

    @property
    def is_supported(self) -> bool:
        """Whether the seeds support that the validation loss changed."""
        return self.p_value is not None and self.p_value < SIGNIFICANT


@dataclass(frozen=True)
class BestChange:
    """The change from one grid's best setting to another's, which may be the same setting."""

    before: SettingSummary
    now: SettingSummary
    val_loss: PairedDifference | None  # now minus before; None if the data differ, or no seed is in both
    p_value: float | None  # with Holm's correction

    @property
    def is_supported(self) -> bool:
        """Whether the seeds support that the validation loss changed."""
        return self.p_value is not None and self.p_value < SIGNIFICANT


@dataclass(frozen=True)
class GridChanges:
    """The changes from one grid to another."""

    best: BestChange | None  # None if one of the grids has no ranked setting
    settings: tuple[SettingChange, ...]  # in both grids, in the order of the current one
    added: tuple[SettingSummary, ...]  # only in the current grid
    removed: tuple[SettingSummary, ...]  # only in the other grid
    parameters: tuple[tuple[str, str, str, str], ...]  # variants, name, previous and current value
    is_same_data: bool  # whether both grids were trained and evaluated on the same prepared data

    @property
    def regressions(self) -> list[str]:
        """Sentences on the validation losses that increased, as far as the seeds support it."""
        found = [
            f"{change.now.variant} at {change.now.learning_rate}: {describe_difference(change.val_loss)}"
            for change in self.settings
            if change.val_loss and change.val_loss.mean > 0 and change.is_supported
        ]
        if self.best and self.best.val_loss and self.best.val_loss.mean > 0 and self.best.is_supported:
            found.insert(0, f"the best setting: {describe_difference(self.best.val_loss)}")
        return found


def describe_difference(difference: PairedDifference) -> str:
    """Describe the change of a validation loss with its interval."""
    word = "higher" if difference.mean > 0 else "lower"
    text = f"the validation loss is {word} by {format_number(abs(difference.mean))} nats per pixel"
    if difference.interval:
        low, high = difference.interval if difference.mean > 0 else tuple(-end for end in reversed(difference.interval))
        text += f" (95 % interval {format_number(low)} to {format_number(high)})"
    return f"{text}, over {pluralize(difference.num_seeds, 'seed')}"


def compare_grids(before: Project, now: Project) -> GridChanges:
    """Compare two grids. If their data differ, losses are not paired, because they are of different images.

    Raises:
        PipelineError: A comparison is missing or broken.
    """
    same_data = before.prepared.dataset.fingerprint == now.prepared.dataset.fingerprint
    old, new = before.comparison.summary, now.comparison.summary
    old_settings, new_settings = ({_key(row): row for row in summary.settings} for summary in (old, new))

    def pair(old_key: Setting, new_key: Setting, field: str) -> PairedDifference | None:
        if not same_data:
            return None
        return compute_paired_difference(_list_by_seed(new, new_key, field), _list_by_seed(old, old_key, field))

    both = [key for key in new_settings if key in old_settings]
    losses = {(key, key): pair(key, key, "val_loss") for key in both}
    best = None
    if old.best and new.best:
        best = (_key(old.best), _key(new.best))
        losses.setdefault(best, pair(*best, "val_loss"))
    tested = {keys: loss.p_value for keys, loss in losses.items() if loss and loss.p_value is not None}
    p_values = dict(zip(tested, adjust_p_values(list(tested.values())), strict=True))
    return GridChanges(
        best=BestChange(old_settings[best[0]], new_settings[best[1]], losses[best], p_values.get(best))
        if best
        else None,
        settings=tuple(
            SettingChange(
                before=old_settings[key],
                now=new_settings[key],
                ranks=(_rank(old, key), _rank(new, key)),
                verdicts=(_count_verdicts(old, key), _count_verdicts(new, key)),
                val_loss=losses[key, key],
                gap=pair(key, key, "gap"),
                mean_iou=pair(key, key, "val_mean_iou"),
                p_value=p_values.get((key, key)),
            )
            for key in both
        ),
        added=tuple(row for key, row in new_settings.items() if key not in old_settings),
        removed=tuple(row for key, row in old_settings.items() if key not in new_settings),
        parameters=_list_changed_parameters(before, now, new),
        is_same_data=same_data,
    )


def _key(row: SettingSummary | BestSetting | RunSummary) -> Setting:
    return row.variant, row.learning_rate


def _list_by_seed(summary: Summary, key: Setting, field: str) -> dict[int, float]:
    rows = [row for row in summary.runs if _key(row) == key and row.is_complete]
    return {row.seed: value for row in rows if (value := getattr(row, field)) is not None}


def _rank(summary: Summary, key: Setting) -> int | None:
    ranked = sorted((row for row in summary.settings if row.ranked), key=lambda row: row.val_loss_mean or 0.0)
    return next((place for place, row in enumerate(ranked, start=1) if _key(row) == key), None)


def _count_verdicts(summary: Summary, key: Setting) -> Counter[str]:
    rows = [row for row in summary.runs if _key(row) == key]
    return Counter(row.judgment.verdict if row.judgment else row.status for row in rows)


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
