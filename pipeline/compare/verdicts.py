"""Judge whether each run learned or memorized, based on its curves, its gap interval, and its classes.

Runs are also compared with a baseline that predicts one class everywhere.

A gap may be due to the class mix instead of memorizing: the class shares of the compared training images
and of the validation images may differ, especially with many classes and few images. Direct standardization removes
this difference: on both sides, the loss of each class is weighted by its share of the validation pixels, and only
classes that occur on both sides are included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.analysis.baselines import OneClassBaseline, OneClassCheck, check_one_class
from pipeline.analysis.clustered_mean import GroupedLosses
from pipeline.analysis.curves import LossCurves
from pipeline.analysis.gap_breakdown import GapPart
from pipeline.analysis.gap_interval import estimate_gap
from pipeline.analysis.group_labels import create_labels
from pipeline.analysis.verdict import Thresholds, judge
from pipeline.artifacts.comparison import Judgment, RunSummary
from pipeline.artifacts.evaluation_folder import EvaluationFolder, RunEvaluation
from pipeline.artifacts.prepared_data import SegmentationClass, compute_class_shares, list_groups
from pipeline.artifacts.run_folder import RunFolder, Side
from pipeline.errors import PipelineError
from pipeline.params import Cell

MIN_CHANGE = 1.1  # standardized losses are reported if standardization changes their ratio by at least this factor


@dataclass(frozen=True)
class RunJudge:
    """Judge that applies the same baseline and thresholds to all runs of a grid."""

    samples: pd.DataFrame  # table of the prepared images
    baseline: float  # class-prior loss on validation, nats per pixel
    thresholds: Thresholds
    classes: tuple[SegmentationClass, ...]

    def add_judgment(self, row: RunSummary, cell: Cell, trained: RunFolder, evaluated: EvaluationFolder) -> RunSummary:
        """Add the judgment to the row of a run.

        Raises:
            PipelineError: A file of the run cannot be read.
        """
        if not row.trained:
            return row
        if row.status == "diverged":
            return replace(row, judgment=Judgment("diverged", (row.reason,), ()))
        return replace(row, judgment=self._judge(cell, trained, evaluated.metrics))

    def _judge(self, cell: Cell, trained: RunFolder, scored: RunEvaluation) -> Judgment:
        history = trained.history
        columns = (history[name].to_numpy(np.float64) for name in ("train_loss", "val_loss"))
        compared = trained.read_image_losses("train")
        train, validation = self._group_losses(trained, "train"), self._group_losses(trained, "validation")
        one_class = self._check_one_class(scored, compared.index)
        baseline = self.baseline if self.baseline > 0 else None  # 0 if all pixels have one class
        found = judge(LossCurves(tuple(history["epoch"]), *columns), baseline, self.thresholds, one_class)
        total = int((self.samples["split"] == "train").sum())
        # Images without evaluated pixels do not count. Their share is estimated from the compared training images.
        evaluated = len(train.pixels) / len(compared.pixels)
        num_train_images = round(min(cell.max_train_images or total, total) * evaluated)
        gap = estimate_gap(validation, train, None, num_train_images=num_train_images)
        no_interval = (f"Interval of the gap: {gap.reason}.",) if gap.reason else ()
        iou_gap, iou_gap_last = _compute_iou_gaps(history, scored)
        iou_fall = float(history["val_mean_iou"].max() - history["val_mean_iou"].iloc[-1])
        return Judgment(
            verdict=found.word,
            evidence=found.evidence,
            not_checked=(*found.not_checked, *no_interval),
            ratio=found.gaps.ratio if found.gaps else None,
            rise=found.gaps.rise if found.gaps else None,
            iou_gap=iou_gap,
            iou_gap_last=iou_gap_last,
            iou_fall=None if np.isnan(iou_fall) else iou_fall,
            onset=found.onset[1:] if found.onset else None,
            gap_low=gap.low,
            gap_high=gap.high,
            selection_bias=gap.selection_bias,
            beats_baseline=one_class.beats_on_validation if one_class else None,
        )

    def _check_one_class(self, scored: RunEvaluation, compared: npt.NDArray[np.int64]) -> OneClassCheck | None:
        """Compare the run at its best epoch with predicting the most frequent class everywhere."""
        if scored.validation is None or scored.train is None:
            return None
        frequencies = compute_class_shares(self.samples, "train", self.classes)
        training = self.samples[self.samples["split"] == "train"].iloc[compared]
        on_validation, on_training = (
            OneClassBaseline.from_shares(frequencies, compute_class_shares(rows, side, self.classes), self.classes)
            for rows, side in ((self.samples, "validation"), (training, "train"))
        )
        return check_one_class(scored.validation, on_validation, scored.train, on_training)

    def _group_losses(self, trained: RunFolder, side: Side) -> GroupedLosses:
        """Read the losses of the evaluated images on a side, and the groups to which these images belong."""
        found = trained.read_image_losses(side)
        groups = self.samples.loc[self.samples["split"] == side, "groups"]
        if len(found.index) and found.index.max() >= len(groups):
            raise PipelineError(
                f"{trained.name} has losses for {found.index.max() + 1} images in the split '{side}', but the prepared "
                f"data has {len(groups)}. Train it again: {trained.redo_command}"
            )
        evaluated = found.pixels > 0
        groups = groups.iloc[found.index[evaluated]]
        has_groups = not list_groups(groups).empty
        losses = found.losses[:, evaluated].astype(np.float64)
        return GroupedLosses(losses, found.pixels[evaluated], create_labels(groups), has_groups)


def _compute_iou_gaps(history: pd.DataFrame, scored: RunEvaluation) -> tuple[float | None, float | None]:
    """Compute the gap in mean IoU at the best and last epochs, over the classes that occur on both sides."""
    train, validation = scored.train, scored.validation
    if train is None or validation is None:
        return None, None
    train_iou, val_iou = (
        {name: iou for name, iou in scores.iou.items() if iou is not None} for scores in (train, validation)
    )
    common = [name for name in train_iou if name in val_iou]
    best = last = None
    if train_iou.keys() == val_iou.keys():
        if train.mean_iou is not None and validation.mean_iou is not None:
            best = train.mean_iou - validation.mean_iou
    elif common:
        best = fmean(train_iou[name] - val_iou[name] for name in common)
    columns = [[f"{side}_iou_{name}" for name in common] for side in ("train", "val")]
    if common and {*columns[0], *columns[1]} <= {*history}:
        at_train, at_validation = (float(history[names].iloc[-1].mean()) for names in columns)
        last = at_train - at_validation
    return best, last


def check_class_mix(
    row: RunSummary, parts: Sequence[GapPart], shares: Mapping[str, float], memorizing: float
) -> RunSummary:
    """Add the standardized losses to a run's evidence if their ratio differs from that of the run's losses.

    A verdict of memorizing that is due to the ratio becomes undecided if the standardized ratio is below the threshold.

    Args:
        row: summary of the run.
        parts: parts of the run's gap.
        shares: share of each class in the validation pixels, 0 to 1.
        memorizing: threshold of the ratio for a verdict of memorizing.
    """
    classes = [part for part in parts if part.part == "class"]
    total = sum(shares[part.name] for part in classes)
    if row.judgment is None or not row.train_loss or row.val_loss is None or not total:
        return row
    train, validation = (
        sum(shares[part.name] * loss for part, loss in zip(classes, losses, strict=True)) / total
        for losses in ([part.train_loss for part in classes], [part.val_loss for part in classes])
    )
    if train <= 0 or validation <= 0:
        return row
    change = (row.val_loss / row.train_loss) / (validation / train)
    if max(change, 1 / change) < MIN_CHANGE:
        return row
    over = "the only class" if len(classes) == 1 else f"the {len(classes)} classes"
    phrase = (
        f"at the best epoch, over {over} that both sides have, weighted by the class shares of validation, "
        f"training is at {train:.3f} and validation at {validation:.3f}"
    )
    judgment = replace(row.judgment, evidence=(*row.judgment.evidence, phrase))
    # A lower ratio means that the verdict is due to the comparison with predicting one class.
    has_high_ratio = judgment.ratio is not None and judgment.ratio >= memorizing
    if judgment.verdict == "memorizing" and has_high_ratio and validation / train < memorizing:
        reason = (
            "Memorizing: the class shares of the compared training images differ from those of validation, which "
            "explains the gap."
        )
        judgment = replace(judgment, verdict="undecided", not_checked=(*judgment.not_checked, reason))
    return replace(row, judgment=judgment)
