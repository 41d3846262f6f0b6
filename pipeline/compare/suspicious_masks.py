"""Rank the masks of training and validation images by how confidently the best setting's runs contradict them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from pipeline.analysis.label_errors import rank_masks
from pipeline.artifacts.evaluation_folder import EvaluationFolder


def rank_suspicious_masks(evaluations: Sequence[EvaluationFolder]) -> pd.DataFrame:
    """Rank masks by the evaluations of several seeds; the columns are those of `rank_masks`.

    Raises:
        PipelineError: A file of an evaluation is missing or broken.
    """
    return rank_masks([_read_scores(evaluated) for evaluated in evaluations])


def _read_scores(evaluated: EvaluationFolder) -> pd.DataFrame:
    losses = evaluated.read_per_image()[["id", "split", "loss"]]
    return evaluated.read_contradictions().merge(losses, on=["id", "split"])
