"""Read the runs of a grid, judge each of them, and compute its metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import pandas as pd

from pipeline.analysis.baselines import compute_class_prior_baseline
from pipeline.analysis.evaluation_metrics import compute_run_metrics
from pipeline.analysis.gap_breakdown import GapPart
from pipeline.analysis.verdict import Thresholds
from pipeline.artifacts.comparison import RunSummary
from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.artifacts.prepared_data import SPLITS, Dataset, PreparedData, compute_class_shares
from pipeline.artifacts.project import Project
from pipeline.artifacts.run_folder import RunFolder
from pipeline.artifacts.scores import DistanceScale
from pipeline.compare.gap_breakdown import break_down_gap
from pipeline.compare.summary_tables import summarize_run
from pipeline.compare.verdicts import RunJudge, check_class_mix
from pipeline.params import Cell
from pipeline.runtime.stage_status import StageStatus


class EvaluatedRun(NamedTuple):
    """The evaluation of a run, and the table of the prepared images as the run saw them."""

    evaluation: EvaluationFolder
    samples: pd.DataFrame


@dataclass(frozen=True)
class ComparedRuns:
    """The runs of the compared cells: their folders, and a row that judges each of them."""

    cells: Sequence[Cell]
    project: Project
    folders: Mapping[str, tuple[RunFolder, EvaluationFolder]]  # by run
    rows: list[RunSummary]  # one per cell
    gap_parts: dict[str, list[GapPart]]  # by complete run
    _views: Mapping[int | None, _FoldView]

    @classmethod
    def judge(
        cls, cells: Sequence[Cell], project: Project, thresholds: Thresholds, lost: Sequence[StageStatus] = ()
    ) -> ComparedRuns:
        """Judge the runs of cells; for `lost`, see `compare`.

        Raises:
            PipelineError: The prepared data is missing, or a file of a run cannot be read.
        """
        views = {fold: _FoldView.create(project.prepared, fold, thresholds) for fold in {cell.fold for cell in cells}}
        folders = {cell.name: (project.run(cell.name), project.evaluation(cell.name)) for cell in cells}
        failures = {one.run: one for one in lost}
        rows, gap_parts = [], {}
        for cell in cells:
            trained, evaluated = folders[cell.name]
            view = views[cell.fold]
            row = summarize_run(cell, trained, evaluated, project, failures.get(cell.name))
            row = view.judge.add_judgment(row, cell, trained, evaluated)
            if row.is_complete:
                row = _add_metrics(row, EvaluatedRun(evaluated, view.samples), project.prepared.dataset)
                gap_parts[row.run] = break_down_gap(trained, evaluated, view.samples)
            rows.append(check_class_mix(row, gap_parts.get(row.run, []), view.val_shares, thresholds.memorizing))
        return cls(cells, project, folders, rows, gap_parts, views)

    @cached_property
    def evaluated(self) -> dict[str, EvaluatedRun]:
        """Evaluation of each run, by its name."""
        return {row.run: EvaluatedRun(self.folders[row.run][1], self._views[row.fold].samples) for row in self.rows}

    @property
    def distances(self) -> DistanceScale | None:
        """Scale of the distances between outlines; None if no run has any."""
        return next((self.folders[row.run][1].metrics.distances for row in self.rows if row.is_complete), None)

    @property
    def num_train_images(self) -> dict[int | None, int]:
        """Number of training images of each fold."""
        return {fold: int((view.samples["split"] == "train").sum()) for fold, view in self._views.items()}


@dataclass(frozen=True)
class _FoldView:
    """The prepared images as the runs of a fold see them."""

    samples: pd.DataFrame
    val_shares: dict[str, float]  # share of each class in the validation pixels
    judge: RunJudge

    @classmethod
    def create(cls, prepared: PreparedData, fold: int | None, thresholds: Thresholds) -> _FoldView:
        samples, classes = prepared.select_fold(fold).samples, prepared.dataset.classes
        train_shares, val_shares = (compute_class_shares(samples, split, classes) for split in SPLITS[:2])
        prior = compute_class_prior_baseline(train_shares, val_shares, classes)
        assert prior.loss is not None  # there are evaluated pixels
        by_name = dict(zip(prepared.dataset.class_names, val_shares.tolist(), strict=True))
        return cls(samples, by_name, RunJudge(samples, prior.loss, thresholds, classes))


def _add_metrics(row: RunSummary, evaluated: EvaluatedRun, data: Dataset) -> RunSummary:
    """Add the metrics on validation to the row of a run."""
    found = compute_run_metrics(*evaluated, "validation", data.classes)
    return replace(row, val_metrics=found.values, num_undefined_distances=found.num_undefined_distances)
