"""Whether each run learned or memorised: its curves judged, and intervals of its gap over groups of images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.analysis.curves import Curves
from pipeline.analysis.intervals import ImageLosses, gap_estimate
from pipeline.analysis.verdict import Thresholds, judge
from pipeline.compare.reading import RunFiles
from pipeline.comparison import Judgement, RunRow
from pipeline.errors import PipelineError
from pipeline.params import Cell
from pipeline.runs import Evaluation


@dataclass(frozen=True)
class Judge:
    """What all runs of a grid are judged by."""

    samples: pd.DataFrame  # the prepared data's `samples.csv`
    baseline: float  # nats a pixel: the loss of knowing only how frequent each class is
    thresholds: Thresholds

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
        found = judge(Curves(tuple(history["epoch"]), *columns), self.baseline, self.thresholds)
        train, validation = (self._image_losses(files, side) for side in ("train", "validation"))
        trained = int((self.samples["split"] == "train").sum())
        gap = gap_estimate(validation, train, None, seen=min(cell.train_images or trained, trained))
        withheld = (f"Interval of the gap: {gap.withheld}.",) if gap.withheld else ()
        return Judgement(
            verdict=found.word,
            evidence=found.evidence,
            not_checked=(*found.not_checked, *withheld),
            ratio=found.gaps.ratio if found.gaps else None,
            rise=found.gaps.rise if found.gaps else None,
            iou_gap=scored.train.mean_iou - scored.validation.mean_iou if scored.train and scored.validation else None,
            iou_gap_last=_last_iou_gap(history, scored),
            iou_fall=float(history["val_mean_iou"].max() - history["val_mean_iou"].iloc[-1]),
            onset=found.onset[1:] if found.onset else None,
            gap_low=gap.interval.low if gap.interval else None,
            gap_high=gap.interval.high if gap.interval else None,
            optimism=gap.optimism,
        )

    def _image_losses(self, files: RunFiles, side: str) -> ImageLosses:
        losses, pixels, places = files.image_losses(side)
        groups = self.samples.loc[self.samples["split"] == side, "groups"]
        if len(places) and places.max() >= len(groups):
            raise PipelineError(
                f"{files.run} has losses of {places.max() + 1} images in the split '{side}', and the prepared data "
                f"{len(groups)}. Train it again: dvc repro --force train@{files.run}"
            )
        return ImageLosses(losses, pixels, labels(groups.iloc[places]))


def _last_iou_gap(history: pd.DataFrame, scored: Evaluation) -> float | None:
    """Mean IoU on training minus validation after the last epoch, each over the classes that the side's truth has."""
    means = []
    for side, scores in (("train", scored.train), ("val", scored.validation)):
        present = [f"{side}_iou_{name}" for name, iou in scores.iou.items() if iou is not None] if scores else []
        if not present or not set(present) <= set(history):
            return None
        means.append(float(history[present].iloc[-1].mean()))
    return means[0] - means[1]


def labels(groups: pd.Series[str]) -> tuple[npt.NDArray[np.int64], ...]:
    """The groups of images, `kind=name;kind=name` each, as a label array a kind; at most the two coarsest kinds.

    An image without a group of a kind shares it with none; without any kind, each image is a group.
    """
    pairs = [dict(part.split("=", 1) for part in text.split(";") if "=" in part) for text in groups.fillna("")]
    kinds = sorted({kind for image in pairs for kind in image})
    names = [[image.get(kind, f"\0{place}") for place, image in enumerate(pairs)] for kind in kinds]
    names = sorted(names, key=lambda kind: len(set(kind)))[:2] or [[str(place) for place in range(len(pairs))]]
    return tuple(np.unique(kind, return_inverse=True)[1].astype(np.int64) for kind in names)
