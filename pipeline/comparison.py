"""What `compare` says of the grid and `report` shows: `comparison/summary.json`, row by row.

As `pipeline.runs`, which names the files, it imports the standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.atomic_io import parsed
from pipeline.runs import COMPARISON, SUMMARY, MissedClass, Scores

# Of a cell of the grid: failed and killed have no figures, as missing, but somebody knows why.
RunState = Literal["finished", "diverged", "failed", "killed", "missing"]


@dataclass(frozen=True)
class Judgement:
    """Whether a run learned or memorised; numbers are None where they could not be had, and `not_checked` says why."""

    verdict: str  # learning, memorising, overfitting, underfitting, diverged or undecided
    evidence: tuple[str, ...]  # phrases with the numbers that the verdict rests on
    not_checked: tuple[str, ...]
    ratio: float | None  # validation by training loss, at the last epoch
    rise: float | None  # of validation over its best, at the last epoch, as a share
    iou_gap: float | None  # mean IoU on training minus validation, at the best epoch
    iou_gap_last: float | None  # at the last
    iou_fall: float | None  # how far below its highest the mean IoU on validation ends
    onset: tuple[int, int] | None  # epochs between which validation begins to worsen, at 90 %
    gap_low: float | None  # 95 % interval of the gap at the best epoch, as a statement about other images
    gap_high: float | None
    optimism: float | None  # by how much choosing the epoch on validation flatters val_loss, nats a pixel
    beats_baseline: bool | None = None  # IoU on validation above that of predicting one class everywhere; None: unknown


@dataclass(frozen=True)
class RunRow:
    """A run in `summary.json`; numbers are None where the run has none."""

    run: str
    variant: str
    learning_rate: float
    seed: int
    status: RunState
    reason: str  # a sentence where the status is not `finished`, else empty
    epochs: int
    best_epoch: int | None
    train_loss: float | None  # at the best epoch, as all that follow
    val_loss: float | None
    gap: float | None
    gap_last: float | None  # at the last epoch
    val_accuracy: float | None
    val_mean_iou: float | None
    val_foreground_iou: float | None
    val_object_iou: float | None
    missed_classes: tuple[MissedClass, ...]  # on validation
    train_calibration_error: float | None  # expected, 0 to 1
    val_calibration_error: float | None
    val_confidence: float | None  # mean probability of the predicted class; val_accuracy is what it should be
    showcase_iou: float | None  # foreground IoU of the first showcase image
    showcase_mean_iou: float | None
    trainable_parameters: int | None
    judgement: Judgement | None

    @property
    def trained(self) -> bool:
        """Whether its training came to its end, good or bad, so that it has curves."""
        return self.status in ("finished", "diverged")


@dataclass(frozen=True)
class RateRow:
    """A variant at a learning rate, over its seeds, in `summary.json`; sd is the sample standard deviation."""

    variant: str
    learning_rate: float
    seeds: int  # in the grid
    finished: int  # of them; means and deviations are over these
    ranked: bool  # every seed finished; a rate with a diverged or missing seed is out
    run: str | None  # the seed with the median val_loss (of an even number the lower one); None where not ranked
    val_loss_mean: float | None
    val_loss_sd: float | None
    gap_mean: float | None
    gap_sd: float | None
    val_mean_iou_mean: float | None
    val_mean_iou_sd: float | None
    missed_classes: float | None  # how many classes a run misses on validation, mean over its seeds
    beats_baseline: float | None = None  # share of the seeds whose runs do, of those that could be checked

    @property
    def is_no_better(self) -> bool:
        """Whether at least half of the seeds do no better than predicting one class everywhere."""
        return self.beats_baseline is not None and self.beats_baseline <= 0.5


@dataclass(frozen=True)
class Selection:
    """What validation chose: a variant at its best rate, by its median-seed run."""

    variant: str
    learning_rate: float
    run: str
    test: Scores | None  # of that run; only ever of the grid's best
    test_by_seed: tuple[Scores, ...] = ()  # of all seeds at that rate, where `test` is: they were chosen together


@dataclass(frozen=True)
class Summary:
    """What `summary.json` says of the grid."""

    baseline: Scores  # every pixel predicted by the classes' shares in training, on validation
    runs: tuple[RunRow, ...]
    rates: tuple[RateRow, ...]
    best_of_variant: tuple[Selection, ...]
    best: Selection | None  # None where no rate is ranked
    foreground: tuple[str, ...]  # names of the foreground classes
    boundary: tuple[str, ...]  # names of the boundary classes

    @property
    def baseline_loss(self) -> float:
        """The class-prior loss; defined, since `compare` refuses data without evaluated pixels."""
        assert self.baseline.loss is not None
        return self.baseline.loss

    @classmethod
    def read(cls, folder: Path = COMPARISON) -> Summary:
        """Read `summary.json`; raises `PipelineError` where it is missing or broken."""
        return parsed(
            folder / SUMMARY,
            "pipeline compare",
            lambda content: cls(
                baseline=Scores(**content["baseline"]),
                runs=tuple(_run_row(row) for row in content["runs"]),
                rates=tuple(RateRow(**row) for row in content["rates"]),
                best_of_variant=tuple(_selection(item) for item in content["best_of_variant"]),
                best=_selection(content["best"]) if content["best"] else None,
                foreground=tuple(content["foreground"]),
                boundary=tuple(content["boundary"]),
            ),
        )


def _run_row(content: dict[str, Any]) -> RunRow:
    missed = tuple(MissedClass(**item) for item in content["missed_classes"])
    content = {**content, "missed_classes": missed}
    found = content["judgement"]
    if found is None:
        return RunRow(**content)
    lists = {name: tuple(found[name]) for name in ("evidence", "not_checked")}
    onset = tuple(found["onset"]) if found["onset"] else None
    return RunRow(**{**content, "judgement": Judgement(**{**found, **lists, "onset": onset})})


def _selection(content: dict[str, Any]) -> Selection:
    test = Scores(**content["test"]) if content["test"] else None
    return Selection(**{**content, "test": test, "test_by_seed": tuple(Scores(**s) for s in content["test_by_seed"])})


@dataclass(frozen=True)
class Finding:
    """A sentence of the report, with the numbers in it, and the runs that it rests on."""

    id: str
    sentence: str
    runs: tuple[str, ...]
