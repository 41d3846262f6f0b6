"""The best setting of the grid as one mapping of names to values, for DVC's metrics and for CI."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import get_args

from pipeline.analysis.seed_statistics import summarize_seeds
from pipeline.artifacts.comparison import Summary
from pipeline.artifacts.metric_names import RankBy

Value = str | float | None

TEXT_NAMES = ("variant", "run", "verdict")
TEST_NAMES = ("test_loss", "test_accuracy", "test_mean_iou")
OTHER_METRICS = tuple(name for name in get_args(RankBy) if name not in ("val_loss", "mean_iou"))


def name_on_test(metric: str) -> str:
    """Return the name of a metric on the test images, such as `test_dice`; the metric is one of `RankBy`."""
    return f"test_{metric.removeprefix('val_')}"


def _add_sd(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{name}{ending}" for name in names for ending in ("", "_sd"))


NAMES = (
    *TEXT_NAMES,
    *("learning_rate", "seeds", *_add_sd(("val_loss", "gap", "mean_iou")), "missed_classes"),
    *_add_sd(TEST_NAMES),
    *_add_sd(OTHER_METRICS),
    *_add_sd(name for metric in OTHER_METRICS if (name := name_on_test(metric)) not in TEST_NAMES),
)


def describe_best(summary: Summary) -> Mapping[str, Value]:
    """Return the values of the best setting by name, in the order of `NAMES`; undefined ones are None.

    Numbers are means over the setting's seeds, except those that end in `_sd`, which are sample standard deviations. If
    a metric is undefined for one of the seeds, both are undefined.
    `run` is the run with the median of the metric that settings are ranked by, and `verdict` its verdict. Without a
    ranked setting, all values are None.
    """
    best = summary.best
    if best is None:
        return dict.fromkeys(NAMES)
    setting, judgment = summary.get_setting(best), summary.get_run(best.run).judgment
    values: dict[str, Value] = {
        "variant": setting.variant,
        "learning_rate": setting.learning_rate,
        "seeds": setting.seeds,
        "run": best.run,
        "verdict": judgment.verdict if judgment else None,
        "gap": setting.gap_mean,
        "gap_sd": setting.gap_sd,
        "missed_classes": setting.missed_classes,
    }
    for metric in get_args(RankBy):
        test = summarize_seeds(best.list_test_values(metric))
        for name, (mean, sd) in ((metric, setting.get_spread(metric)), (name_on_test(metric), test)):
            values |= {name: mean, f"{name}_sd": sd}
    return {name: values[name] for name in NAMES}
