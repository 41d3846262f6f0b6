"""The metrics by which settings can be ranked: how they are named, formatted and compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from pipeline.analysis.scores import name_foreground_iou, name_object_iou
from pipeline.analysis.seed_statistics import PairedDifference, compute_paired_difference, summarize_seeds
from pipeline.artifacts.comparison import RunSummary, SettingSummary, Spread, Summary
from pipeline.artifacts.metric_names import RankBy, get_column
from pipeline.artifacts.scores import DistanceScale
from pipeline.artifacts.status import RunStatus
from pipeline.wording import capitalize_first, join_words, pluralize

UNFINISHED: tuple[RunStatus, ...] = ("diverged", "failed", "killed", "missing")
VOWEL_SOUNDS = ("a", "A", "I", "o", "HD")  # starts of titles after which the article is "an"


@dataclass(frozen=True)
class RankedMetric:
    """A metric on validation by which settings can be ranked."""

    name: RankBy
    title: str  # in sentences
    is_lower_better: bool = False
    digits: int = 3  # decimals
    unit: str = ""

    @property
    def column(self) -> str:
        """Column of the metric in `comparison/runs.csv`."""
        return get_column(self.name)

    @property
    def short_title(self) -> str:
        """The title without the split, where the split is clear."""
        return self.title.removeprefix("validation ")

    @property
    def heading(self) -> str:
        """The title as the heading of a table."""
        return capitalize_first(self.title)

    @property
    def title_with_article(self) -> str:
        """The title with its indefinite article."""
        return f"{'an' if self.title.startswith(VOWEL_SOUNDS) else 'a'} {self.title}"

    @property
    def title_with_unit(self) -> str:
        """The title with its unit, as the label of an axis."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    @property
    def best_value(self) -> str:
        """The best value in words, such as `the lowest validation loss`."""
        return f"the {'lowest' if self.is_lower_better else 'highest'} {self.title}"

    @property
    def better(self) -> str:
        """The comparative for a better value."""
        return "lower" if self.is_lower_better else "higher"

    @property
    def worse(self) -> str:
        """The comparative for a worse value."""
        return "higher" if self.is_lower_better else "lower"

    def orient(self, value: float) -> float:
        """Change the sign of a value if necessary, so that lower is better."""
        return value if self.is_lower_better else -value

    def add_unit(self, text: str) -> str:
        """Add the unit to a formatted value."""
        return f"{text} {self.unit}" if self.unit else text

    def list_by_seed(self, runs: Iterable[RunSummary]) -> dict[int, float]:
        """Return the values of the runs by seed, without runs that are incomplete or whose metric is undefined."""
        values = {row.seed: row.get_metric(self.name) for row in runs if row.is_complete}
        return {seed: value for seed, value in values.items() if value is not None}

    def compute_spread(self, runs: Iterable[RunSummary]) -> Spread:
        """Compute the mean and the standard deviation over complete runs; None if the metric of one is undefined."""
        return summarize_seeds(row.get_metric(self.name) for row in runs if row.is_complete)

    def compute_difference(
        self, first: Sequence[RunSummary], second: Sequence[RunSummary], folds: int | None
    ) -> PairedDifference | None:
        """Compute the difference between runs, paired by seed and negative if the first ones are better.

        It is None if they have no seed in common. `folds` is the number of folds of a cross-validation, None without
        one.
        """
        by_seed = (
            {seed: self.orient(value) for seed, value in self.list_by_seed(runs).items()} for runs in (first, second)
        )
        return compute_paired_difference(*by_seed, folds=folds)


def list_grid_metrics(summary: Summary) -> tuple[RankedMetric, ...]:
    """List all metrics of a grid."""
    return list_metrics(summary.foreground, summary.boundary, summary.distances, summary.loss_digits)


def list_metrics(
    foreground: Sequence[str], boundary: Sequence[str], distances: DistanceScale | None = None, loss_digits: int = 3
) -> tuple[RankedMetric, ...]:
    """List all metrics, given the names of the foreground and boundary classes, and the precision of the values."""
    digits, unit = (distances.digits, distances.unit) if distances else (1, "px")
    return (
        RankedMetric("val_loss", "validation loss", is_lower_better=True, digits=loss_digits, unit="nats per pixel"),
        RankedMetric("accuracy", "accuracy"),
        RankedMetric("mean_iou", "mean IoU"),
        RankedMetric("foreground_iou", name_foreground_iou(foreground)),
        RankedMetric("object_iou", name_object_iou(foreground, boundary)),
        RankedMetric("dice", "Dice"),
        RankedMetric("image_dice", "Dice by image"),
        RankedMetric("boundary_iou", "boundary IoU"),
        RankedMetric("nsd", "normalized surface Dice"),
        RankedMetric("hd95", "HD95", is_lower_better=True, digits=digits, unit=unit),
        RankedMetric("asd", "average surface distance", is_lower_better=True, digits=digits, unit=unit),
        RankedMetric("object_f1", "object F1"),
        RankedMetric("object_average_precision", "object average precision"),
        RankedMetric("object_mean_average_precision", "object mean average precision"),
        RankedMetric("object_panoptic_quality", "panoptic quality"),
        RankedMetric("object_aggregated_jaccard", "aggregated Jaccard index"),
    )


def get_metric(
    name: RankBy, foreground: Sequence[str], boundary: Sequence[str], distances: DistanceScale | None = None
) -> RankedMetric:
    """Return a metric by name; see `list_metrics`."""
    return next(metric for metric in list_metrics(foreground, boundary, distances) if metric.name == name)


def get_grid_metric(summary: Summary, name: RankBy) -> RankedMetric:
    """Return a metric of a grid by name."""
    return next(metric for metric in list_grid_metrics(summary) if metric.name == name)


def get_ranked_metric(summary: Summary) -> RankedMetric:
    """Return the metric by which the settings of a grid are ranked."""
    return get_grid_metric(summary, summary.rank_by)


def list_shown_metrics(summary: Summary, others: Sequence[RankBy]) -> list[RankedMetric]:
    """List the metrics to show: the one that settings are ranked by, then the others, each once."""
    return [get_grid_metric(summary, name) for name in dict.fromkeys((summary.rank_by, *others))]


def rank_settings(settings: Iterable[SettingSummary], metric: RankedMetric) -> list[SettingSummary]:
    """Sort settings by their mean over seeds, best first; settings that are not ranked are left out.

    Settings with equal means are ordered by their validation loss, then by the name of their run.
    """
    ranked = [(row, mean) for row in settings if row.ranked and (mean := row.get_spread(metric.name)[0]) is not None]
    ranked.sort(key=lambda pair: (metric.orient(pair[1]), pair[0].val_loss_mean or 0.0, pair[0].run or ""))
    return [row for row, _ in ranked]


def order_settings(settings: Collection[SettingSummary], metric: RankedMetric) -> list[SettingSummary]:
    """Sort settings as `rank_settings` does, followed by those that are not ranked."""
    return [*rank_settings(settings, metric), *(row for row in settings if not row.ranked)]


def explain_unranked(summary: Summary, setting: SettingSummary) -> str:
    """Explain why a setting is not ranked, such as `not ranked: 2 diverged`; empty if it is."""
    if setting.ranked:
        return ""
    counts = Counter(run.status for run in summary.list_runs(setting))
    words = [f"{counts[status]} {status}" for status in UNFINISHED if counts[status]]
    words = words or list(filter(None, [explain_undefined(summary, setting)]))
    return f"not ranked: {join_words(words)}" if words else "not ranked"


def explain_undefined(summary: Summary, setting: SettingSummary) -> str:
    """Explain that a setting is not ranked because a run's metric is undefined; empty if this is not the reason."""
    metric, runs = get_ranked_metric(summary), summary.list_runs(setting)
    if setting.ranked or not all(row.is_complete for row in runs):
        return ""
    count = sum(row.get_metric(metric.name) is None for row in runs)
    return f"{metric.title} is undefined for {count} of {pluralize(len(runs), 'run')}"


def explain_missing_ranking(summary: Summary) -> str:
    """Explain in two sentences that a metric leaves every setting unranked; empty if this is not the reason."""
    if not any(explain_undefined(summary, setting) for setting in summary.settings):
        return ""
    metric, runs = get_ranked_metric(summary), [row for row in summary.runs if row.is_complete]
    count = sum(row.get_metric(metric.name) is None for row in runs)
    return (
        f"No setting can be ranked by {metric.title}, which is undefined for {count} of the "
        f"{pluralize(len(runs), 'complete run')}. Set compare.rank_by to another metric, such as val_loss."
    )
