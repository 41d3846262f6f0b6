"""Summaries of grids that are given by the validation losses of their runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields

from pipeline.artifacts.comparison import RunSummary, Summary
from pipeline.artifacts.scores import Scores
from pipeline.compare.summary_tables import select_best_settings, summarize_settings

Setting = tuple[str, float]  # variant, learning rate


def make_runs(
    losses: Mapping[Setting, Sequence[float | None]], seeds: Sequence[int], folds: int | None
) -> list[RunSummary]:
    """Make one finished run per loss; a loss of None is a run that failed."""
    empty = dict.fromkeys(field.name for field in fields(RunSummary))
    return [
        RunSummary(
            **{
                **empty,
                "run": f"{variant}-{learning_rate}-{seed}",
                "variant": variant,
                "learning_rate": learning_rate,
                "seed": seed,
                "status": "failed" if loss is None else "finished",
                "missed_classes": (),
                "val_loss": loss,
                "fold": None if folds is None else seed % folds,
            }
        )
        for (variant, learning_rate), values in losses.items()
        for seed, loss in zip(seeds, values, strict=True)
    ]


def make_summary(
    losses: Mapping[Setting, Sequence[float | None]], seeds: Sequence[int] = (), folds: int | None = None
) -> Summary:
    """Make the summary of a grid.

    Args:
        losses: Losses of each setting by seed.
        seeds: Seeds of the losses; by default 0, 1, 2, ...
        folds: Number of folds of the cross-validation; None without one.
    """
    rows = make_runs(losses, seeds or range(len(next(iter(losses.values())))), folds)
    settings = summarize_settings(rows)
    selected = select_best_settings(settings, rows)
    return Summary(
        baseline=Scores(1.0, 0.5, 0.5, 0.5, None, {}, {}),
        runs=tuple(rows),
        settings=tuple(settings),
        best_of_variant=tuple(selected),
        best=selected[0] if selected else None,
        foreground=("animal",),
        boundary=(),
        folds=folds,
    )
