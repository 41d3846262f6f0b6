"""Evidence of a cross-validated setting over all its folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

import pandas as pd

from pipeline.analysis.group_labels import create_labels
from pipeline.analysis.out_of_fold import FoldedGap, estimate_folded_gap
from pipeline.artifacts.comparison import BestSetting, Finding, RunSummary, Summary
from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.artifacts.prepared_data import list_groups
from pipeline.artifacts.run_folder import RunFolder
from pipeline.wording import pluralize


def compute_folded_gap(
    runs: Sequence[RunSummary], folders: Mapping[str, tuple[RunFolder, EvaluationFolder]], samples: pd.DataFrame
) -> FoldedGap | None:
    """Compute the gap of a setting over all images that its runs validated.

    Args:
        runs: Finished runs of the setting.
        folders: Folders by the name of the run.
        samples: Table of the prepared images, without the selection of a fold.

    Returns:
        The gap; None without cross-validation, or if the runs were trained on a subset of the images.

    Raises:
        PipelineError: A file of an evaluation is missing or broken.
    """
    finished = [row for row in runs if row.is_complete and row.fold is not None]
    if not finished or any(folders[row.run][0].record.cell["max_train_images"] is not None for row in finished):
        return None
    rows = samples[samples["fold"] != ""]
    losses = pd.concat(
        [folders[row.run][1].read_per_image()[["id", "split", "loss"]].assign(run=row.run) for row in finished]
    )
    biases = [row.judgment.selection_bias for row in finished if row.judgment]
    known = [bias for bias in biases if bias is not None]
    return estimate_folded_gap(
        losses[losses["split"].isin(["train", "validation"])],
        rows.set_index("id")["pixels"],
        create_labels(rows["groups"]),
        not list_groups(rows["groups"]).empty,
        fmean(known) if known else 0.0,
    )


def report_folded_gap(summary: Summary, best: BestSetting) -> Finding | None:
    """Report the gap of the best setting over all images that its runs validated."""
    row = summary.get_setting(best)
    if row.folded_gap is None or row.validated_images is None:
        return None
    images = f"{pluralize(row.validated_images, 'image')} of {summary.describe_folds(best)}"
    signed = f"+.{summary.loss_digits}f"
    gap = f"Over the {images}, the gap of {row.setting} is {row.folded_gap:{signed}}"
    if row.folded_gap_low is None or row.folded_gap_high is None:
        meaning = ", without an interval, because there are too few groups."
    else:
        interval = f"95% interval {row.folded_gap_low:{signed}} to {row.folded_gap_high:{signed}}"
        if row.folded_gap_low > 0:
            meaning = f" ({interval}): images that a network has seen are segmented better than new ones."
        elif row.folded_gap_high < 0:
            meaning = f" ({interval}): images that a network has seen are segmented worse than new ones."
        else:
            meaning = f" ({interval}), so that no difference between seen and new images can be shown."
    sentence = f"{gap}{meaning} Each image was validated by runs that were not trained on it."
    return Finding("folded_gap", sentence, tuple(one.run for one in summary.list_runs(best)))
