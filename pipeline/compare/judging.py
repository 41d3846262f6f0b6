"""Whether each run learned or memorised: its curves judged, and intervals of its gap over groups of images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline import runs
from pipeline.analysis.curves import Curves
from pipeline.analysis.intervals import ImageLosses, gap_estimate
from pipeline.analysis.verdict import Thresholds, judge
from pipeline.errors import PipelineError
from pipeline.params import Cell
from pipeline.runs import Evaluation, Judgement, RunRow


@dataclass(frozen=True)
class Judge:
    """What all runs of a grid are judged by."""

    samples: pd.DataFrame  # the prepared data's `samples.csv`
    baseline: float  # nats a pixel: the loss of knowing only how frequent each class is
    thresholds: Thresholds

    def judged(self, row: RunRow, cell: Cell, root: Path) -> RunRow:
        """The row with its judgement; raises `PipelineError` where the run's files cannot be read."""
        if row.status == "missing":
            return row
        if row.status == "diverged":
            end = Judgement("diverged", (row.reason,), (), None, None, None, None, None, None, None)
            return replace(row, judgement=end)
        return replace(row, judgement=self._judgement(cell, root))

    def _judgement(self, cell: Cell, root: Path) -> Judgement:
        folder = root / runs.RUNS / cell.name
        history = read_history(folder)
        columns = (history[name].to_numpy(np.float64) for name in ("train_loss", "val_loss"))
        found = judge(Curves(tuple(history["epoch"]), *columns), self.baseline, self.thresholds)
        train, validation = self._image_losses(folder)
        trained = int((self.samples["split"] == "train").sum())
        gap = gap_estimate(validation, train, None, seen=min(cell.train_images or trained, trained))
        withheld = (f"Interval of the gap: {gap.withheld}.",) if gap.withheld else ()
        scored = Evaluation.read(root / runs.EVALUATION / cell.name)
        return Judgement(
            verdict=found.word,
            evidence=found.evidence,
            not_checked=(*found.not_checked, *withheld),
            ratio=found.gaps.ratio if found.gaps else None,
            rise=found.gaps.rise if found.gaps else None,
            iou_gap=scored.train.mean_iou - scored.validation.mean_iou if scored.train and scored.validation else None,
            onset=found.onset[1:] if found.onset else None,
            gap_low=gap.interval.low if gap.interval else None,
            gap_high=gap.interval.high if gap.interval else None,
            optimism=gap.optimism,
        )

    def _image_losses(self, folder: Path) -> tuple[ImageLosses, ImageLosses]:
        path = folder / runs.IMAGE_LOSSES
        try:
            with np.load(path, allow_pickle=False) as file:
                train, validation = (
                    ImageLosses(
                        file[side].astype(np.float64),
                        file[f"{side}_pixels"].astype(np.int64),
                        labels(self.samples[self.samples["split"] == side]["groups"].iloc[file[f"{side}_index"]]),
                    )
                    for side in ("train", "validation")
                )
        except (OSError, ValueError, KeyError, IndexError) as error:
            raise PipelineError(
                f"{path} cannot be read ({error}). Train it again: dvc repro --force train@{folder.name}"
            ) from None
        return train, validation


def labels(groups: pd.Series[str]) -> tuple[npt.NDArray[np.int64], ...]:
    """The groups of images, `kind=name;kind=name` each, as a label array a kind; at most the two coarsest kinds.

    An image without a group of a kind shares it with none; without any kind, each image is a group.
    """
    pairs = [dict(part.split("=", 1) for part in text.split(";") if "=" in part) for text in groups.fillna("")]
    kinds = sorted({kind for image in pairs for kind in image})
    names = [[image.get(kind, f"\0{place}") for place, image in enumerate(pairs)] for kind in kinds]
    names = sorted(names, key=lambda kind: len(set(kind)))[:2] or [[str(place) for place in range(len(pairs))]]
    return tuple(np.unique(kind, return_inverse=True)[1].astype(np.int64) for kind in names)


def read_history(folder: Path) -> pd.DataFrame:
    """A run's `history.csv`; raises `PipelineError` where it cannot be read."""
    try:
        return pd.read_csv(folder / runs.HISTORY)
    except (OSError, ValueError) as error:
        raise PipelineError(
            f"{folder / runs.HISTORY} cannot be read ({error}). Train it again: dvc repro --force train@{folder.name}"
        ) from None
