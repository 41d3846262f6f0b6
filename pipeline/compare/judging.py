"""Whether each run learned or memorised: its curves judged, and intervals of its gap over groups of images.

Runs are also checked against predicting one class everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.analysis.curves import Curves
from pipeline.analysis.intervals import ImageLosses, gap_estimate
from pipeline.analysis.one_class import OneClassBaseline, OneClassCheck, check_one_class
from pipeline.analysis.verdict import Thresholds, judge
from pipeline.compare.class_shares import class_shares
from pipeline.compare.reading import RunFiles
from pipeline.comparison import Judgement, RunRow
from pipeline.errors import PipelineError
from pipeline.params import Cell
from pipeline.runs import Evaluation, Scores, SegmentationClass


@dataclass(frozen=True)
class Judge:
    """What all runs of a grid are judged by."""

    samples: pd.DataFrame  # the prepared data's `samples.csv`
    baseline: float  # nats a pixel: the loss of knowing only how frequent each class is
    thresholds: Thresholds
    classes: tuple[SegmentationClass, ...]

    def judged(self, row: RunRow, cell: Cell, files: RunFiles) -> RunRow:
        """The row with its judgement; raises `PipelineError` where the run's files cannot be read."""
        if not row.trained:
            return row
        if row.status == "diverged":
            end = Judgement("diverged", (row.reason,), (), *[None] * 9)
            return replace(row, judgement=end)
        return replace(row, judgement=self._judgement(cell, files))

    def _judgement(self, cell: Cell, files: RunFiles) -> Judgement:
        history, scored = files.history, files.evaluation
        columns = (history[name].to_numpy(np.float64) for name in ("train_loss", "val_loss"))
        train, validation = (self._image_losses(files, side) for side in ("train", "validation"))
        one_class = self._one_class(files)
        baseline = self.baseline if self.baseline > 0 else None  # 0 where all pixels are of one class
        found = judge(Curves(tuple(history["epoch"]), *columns), baseline, self.thresholds, one_class)
        trained = int((self.samples["split"] == "train").sum())
        # Images without evaluated pixels are on neither side; the sample is as large a share of the rest.
        evaluated = len(train.pixels) / len(files.image_losses("train")[1])
        seen = round(min(cell.train_images or trained, trained) * evaluated)
        gap = gap_estimate(validation, train, None, seen=seen)
        withheld = (f"Interval of the gap: {gap.withheld}.",) if gap.withheld else ()
        return Judgement(
            verdict=found.word,
            evidence=found.evidence,
            not_checked=(*found.not_checked, *withheld),
            ratio=found.gaps.ratio if found.gaps else None,
            rise=found.gaps.rise if found.gaps else None,
            iou_gap=_iou_gap(scored),
            iou_gap_last=_last_iou_gap(history, scored),
            iou_fall=_defined(history["val_mean_iou"].max() - history["val_mean_iou"].iloc[-1]),
            onset=found.onset[1:] if found.onset else None,
            gap_low=gap.interval.low if gap.interval else None,
            gap_high=gap.interval.high if gap.interval else None,
            optimism=gap.optimism,
            beats_baseline=one_class.validation if one_class else None,
        )

    def _one_class(self, files: RunFiles) -> OneClassCheck | None:
        """Compare the run at its best epoch with predicting the most frequent class everywhere."""
        scored = files.evaluation
        if scored.validation is None or scored.train is None:
            return None
        _, _, compared = files.image_losses("train")
        frequencies = class_shares(self.samples, "train", self.classes)
        training = self.samples[self.samples["split"] == "train"].iloc[compared]
        on_validation, on_training = (
            OneClassBaseline.of(frequencies, class_shares(rows, side, self.classes), self.classes)
            for rows, side in ((self.samples, "validation"), (training, "train"))
        )
        return check_one_class(scored.validation, on_validation, scored.train, on_training)

    def _image_losses(self, files: RunFiles, side: str) -> ImageLosses:
        losses, pixels, places = files.image_losses(side)
        groups = self.samples.loc[self.samples["split"] == side, "groups"]
        if len(places) and places.max() >= len(groups):
            raise PipelineError(
                f"{files.run} has losses of {places.max() + 1} images in the split '{side}', and the prepared data "
                f"{len(groups)}. Train it again: dvc repro --force train@{files.run}"
            )
        evaluated = pixels > 0
        groups = groups.iloc[places[evaluated]]
        has_groups = bool(groups.str.contains("=", na=False).any())
        return ImageLosses(losses[:, evaluated], pixels[evaluated], labels(groups), has_groups)


def _iou_gap(scored: Evaluation) -> float | None:
    """Compute the gap of mean IoU, over the classes that the ground truth of both sides has."""
    if scored.train is None or scored.validation is None:
        return None
    train, validation = scored.train, scored.validation
    if _present(train) == _present(validation):
        return None if train.mean_iou is None or validation.mean_iou is None else train.mean_iou - validation.mean_iou
    differences = [
        own - value
        for name in _common(scored)
        if (own := train.iou[name]) is not None and (value := validation.iou[name]) is not None
    ]
    return fmean(differences) if differences else None


def _last_iou_gap(history: pd.DataFrame, scored: Evaluation) -> float | None:
    """Compute the gap of mean IoU after the last epoch, over the classes of `_iou_gap`."""
    means = []
    for side in ("train", "val"):
        columns = [f"{side}_iou_{name}" for name in _common(scored)]
        if not columns or not set(columns) <= set(history):
            return None
        means.append(float(history[columns].iloc[-1].mean()))
    return means[0] - means[1]


def _common(scored: Evaluation) -> list[str]:
    """List the classes that the ground truth of both sides has."""
    if scored.train is None or scored.validation is None:
        return []
    return [name for name in _present(scored.train) if name in _present(scored.validation)]


def _present(scores: Scores) -> list[str]:
    return [name for name, iou in scores.iou.items() if iou is not None]


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def labels(groups: pd.Series[str]) -> tuple[npt.NDArray[np.int64], ...]:
    """The groups of images, `kind=name;kind=name` each, as a label array a kind; at most the two coarsest kinds.

    An image without a group of a kind shares it with none; without any kind, each image is a group.
    """
    pairs = [dict(part.split("=", 1) for part in text.split(";") if "=" in part) for text in groups.fillna("")]
    kinds = sorted({kind for image in pairs for kind in image})
    names = [[image.get(kind, f"\0{place}") for place, image in enumerate(pairs)] for kind in kinds]
    names = sorted(names, key=lambda kind: len(set(kind)))[:2] or [[str(place) for place in range(len(pairs))]]
    return tuple(np.unique(kind, return_inverse=True)[1].astype(np.int64) for kind in names)
