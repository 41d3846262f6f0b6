"""Rank the masks of training and validation images by how confidently the best setting's runs contradict them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from pipeline.analysis.label_errors import rank_masks, sort_masks
from pipeline.artifacts.evaluation_folder import EvaluationFolder


def rank_suspicious_masks(evaluations: Sequence[tuple[int | None, EvaluationFolder]]) -> pd.DataFrame:
    """Rank masks by the evaluations of several seeds; the columns are those of `rank_masks`.

    With cross-validation, an evaluation has only the scores of the validation images.

    Args:
        evaluations: Fold and evaluation of each run; the fold is None without cross-validation.

    Raises:
        PipelineError: A file of an evaluation is missing or broken.
    """
    folds: dict[int | None, list[pd.DataFrame]] = {}
    for fold, evaluated in evaluations:
        folds.setdefault(fold, []).append(_read_scores(evaluated))
    return sort_masks(pd.concat([rank_masks(runs) for runs in folds.values()]))


def _read_scores(evaluated: EvaluationFolder) -> pd.DataFrame:
    losses = evaluated.read_per_image()[["id", "split", "loss"]]
    return evaluated.read_contradictions().merge(losses, on=["id", "split"])
