"""Summaries of grids that are given by the validation losses, or by another metric, of their runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields

from pipeline.analysis.ranked_metric import get_metric
from pipeline.artifacts.comparison import RunSummary, Summary
from pipeline.artifacts.metric_names import RankBy
from pipeline.artifacts.scores import Scores
from pipeline.compare.summary_tables import select_best_settings, summarize_settings

Setting = tuple[str, float]  # variant, learning rate


def make_runs(
    values: Mapping[Setting, Sequence[float | None]],
    seeds: Sequence[int],
    folds: int | None,
    rank_by: RankBy = "val_loss",
) -> list[RunSummary]:
    """Make one finished run per value of a metric; a value of None is a run that failed."""
    empty = dict.fromkeys(field.name for field in fields(RunSummary))
    return [
        RunSummary(
            **{
                **empty,
                "run": f"{variant}-{learning_rate}-{seed}",
                "variant": variant,
                "learning_rate": learning_rate,
                "seed": seed,
                "status": "failed" if value is None else "finished",
                "missed_classes": (),
                "val_loss": value if rank_by == "val_loss" else 1.0,
                "val_metrics": {rank_by: value},
                "fold": None if folds is None else seed % folds,
            }
        )
        for (variant, learning_rate), by_seed in values.items()
        for seed, value in zip(seeds, by_seed, strict=True)
    ]


def make_summary(
    values: Mapping[Setting, Sequence[float | None]],
    seeds: Sequence[int] = (),
    folds: int | None = None,
    rank_by: RankBy = "val_loss",
) -> Summary:
    """Make the summary of a grid.

    Args:
        values: Values of the metric for each setting, by seed.
        seeds: Seeds of the values; by default 0, 1, 2, ...
        folds: Number of folds of the cross-validation; None without one.
        rank_by: Metric that settings are ranked by.
    """
    rows = make_runs(values, seeds or range(len(next(iter(values.values())))), folds, rank_by)
    metric = get_metric(rank_by, ("animal",), ())
    settings = summarize_settings(rows, metric)
    selected = select_best_settings(settings, metric, rows)
    return Summary(
        baseline=Scores(1.0, 0.5, 0.5, 0.5, None, {}, {}),
        runs=tuple(rows),
        settings=tuple(settings),
        best_of_variant=tuple(selected),
        best=selected[0] if selected else None,
        foreground=("animal",),
        boundary=(),
        folds=folds,
        rank_by=rank_by,
    )
