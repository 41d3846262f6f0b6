"""The best setting of the grid as one mapping of names to values, for DVC's metrics and for CI."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.analysis.seed_statistics import compute_mean_and_sd
from pipeline.artifacts.comparison import Summary

Value = str | float | None

TEXT_NAMES = ("variant", "run", "verdict")
NAMES = (
    *TEXT_NAMES,
    *("learning_rate", "seeds", "val_loss", "val_loss_sd", "gap", "gap_sd", "mean_iou", "mean_iou_sd"),
    *("missed_classes", "test_loss", "test_loss_sd", "test_accuracy", "test_accuracy_sd"),
    *("test_mean_iou", "test_mean_iou_sd"),
)


def describe_best(summary: Summary) -> Mapping[str, Value]:
    """Return the values of the best setting by name, in the order of `NAMES`; undefined ones are None.

    Numbers are means over the setting's seeds, except those that end in `_sd`, which are sample standard deviations.
    `run` is the run with the median validation loss, and `verdict` its verdict. Without a ranked setting, all values
    are None.
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
        "val_loss": setting.val_loss_mean,
        "val_loss_sd": setting.val_loss_sd,
        "gap": setting.gap_mean,
        "gap_sd": setting.gap_sd,
        "mean_iou": setting.val_mean_iou_mean,
        "mean_iou_sd": setting.val_mean_iou_sd,
        "missed_classes": setting.missed_classes,
    }
    for name in ("loss", "accuracy", "mean_iou"):
        mean, sd = compute_mean_and_sd(getattr(scores, name) for scores in best.test_by_seed)
        values |= {f"test_{name}": mean, f"test_{name}_sd": sd}
    return {name: values[name] for name in NAMES}
