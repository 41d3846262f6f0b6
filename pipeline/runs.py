"""The one contract between the stages: folders, files, columns, and a run's record.

Whatever a stage writes for another one is named here and nowhere else. Only the standard library is imported, so that
every stage, the command line and tests can.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pipeline.errors import PipelineError
from pipeline.files import read_json

FORMAT = 1  # of the files below; DVC runs every cell again when it changes
IGNORE = 255  # mask value of pixels that count nowhere

# data/prepared/: per split a folder with these two arrays, and beside the splits these files
PREPARED = Path("data/prepared")
SPLITS = ("train", "validation", "test")
SHOWCASE = "showcase"  # a folder like a split, with images that are in no split
IMAGES = "images.npy"  # N x H x W x C, uint8 or uint16
MASKS = "masks.npy"  # N x H x W, uint8, class index or IGNORE
SAMPLES = "samples.csv"  # SAMPLE_COLUMNS, then share_<class>; pixels: those that are not ignored, shares: of them
SAMPLE_COLUMNS = ("id", "split", "groups", "height", "width", "sha256", "pixels")  # groups: factor=name;factor=name
CLASSES = "classes.json"
REJECTED = "rejected.csv"  # id, reason

# runs/<run>/
RUNS = Path("runs")
RECORD = "run.json"
WEIGHTS = "model.safetensors"  # of the best epoch; missing where no epoch had a finite yardstick
HISTORY = "history.csv"  # HISTORY_COLUMNS, then train_iou_<class> and val_iou_<class>; epochs count from 1
HISTORY_COLUMNS = ("epoch", "learning_rate", "objective", "train_loss", "val_loss", "val_mean_iou")
IMAGE_LOSSES = "image_losses.npz"  # train, validation: epoch x image, nats a pixel; *_index, *_pixels: one an image
SHOWCASE_MASKS = "showcase.npz"  # masks: epoch x image x H x W, uint8
TIMING = "timing.json"  # times, machine, throughput: nothing numeric depends on it

# evaluation/<run>/
EVALUATION = Path("evaluation")
METRICS = "metrics.json"
PER_IMAGE = "per_image.csv"  # PER_IMAGE_COLUMNS, then iou_<class> (empty where the class is in neither mask)
PER_IMAGE_COLUMNS = ("id", "split", "loss", "accuracy", "mean_iou", "foreground_iou")
OVERVIEW = "overview.png"  # showcase and one validation image: image, truth, prediction
EXAMPLES = "examples"  # <sample id>.png: the predicted class indices, 8 bit

# comparison/
COMPARISON = Path("comparison")
SUMMARY = "summary.json"
CURVES = "curves.csv"  # CURVE_COLUMNS, long form
CURVE_COLUMNS = ("run", "variant", "learning_rate", "seed", "epoch", "split", "loss")
FINDINGS = "findings.json"
GRID_METRICS = Path("metrics.json")  # for `dvc metrics`: beside the folder, since DVC allows no metric inside an output

REPORTS = Path("reports")
REPORT = REPORTS / "learning-report.html"
TEMPLATES = REPORTS / "templates"

Parsed = TypeVar("Parsed")

Status = Literal["finished", "diverged"]
Precision = Literal["float32", "bfloat16"]
RunState = Literal["finished", "diverged", "missing"]  # of a cell of the grid


@dataclass(frozen=True)
class SegmentationClass:
    """A class of the masks; its index is its place in `DataSet.classes`."""

    name: str
    colour: str  # #rrggbb
    foreground: bool  # what the picture is of: its IoU is the foreground IoU
    edge: bool = False  # a trimap's band of doubt around the foreground, where it and the background mix


@dataclass(frozen=True)
class DataSet:
    """What `classes.json` says of the prepared data."""

    source: str  # what data.source says
    title: str  # for a person: "cut-out animals over photographs"
    credit: str  # a sentence on whose pictures these are and under which licence; may be empty
    classes: tuple[SegmentationClass, ...]
    fingerprint: str  # SHA-256 over all prepared arrays, hex

    @classmethod
    def read(cls, folder: Path = PREPARED) -> DataSet:
        """Read `classes.json`; raises `PipelineError` where it is missing or broken."""
        return _parsed(
            folder / CLASSES,
            "pipeline prepare",
            lambda content: cls(
                **{**content, "classes": tuple(SegmentationClass(**item) for item in content["classes"])}
            ),
        )


@dataclass(frozen=True)
class RunRecord:
    """What `run.json` says of a trained run."""

    format: int
    run: str
    key: str
    status: Status
    epochs: int  # finished ones
    best_epoch: int | None  # lowest val_loss; None where no epoch had a finite one
    diverged_epoch: int | None  # the epoch in which a loss was NaN or infinite
    precision: Precision  # as resolved on the machine
    trainable_parameters: int
    data_fingerprint: str
    cell: dict[str, Any]  # pipeline.params.Cell as JSON

    @classmethod
    def read(cls, folder: Path) -> RunRecord:
        """Read a run's `run.json`; raises `PipelineError` where it is missing, broken or of another format."""
        content = read_json(folder / RECORD, "pipeline train")
        names = {field.name for field in dataclasses.fields(cls)}
        if content.get("format") != FORMAT or set(content) != names:
            raise PipelineError(
                f"{folder / RECORD} has format {content.get('format')!r} with keys {sorted(content)}; "
                f"this version reads format {FORMAT}. Train the run again: dvc repro --force train@{folder.name}"
            )
        return cls(**content)

    def sentence(self) -> str:
        """How the run ended, for a person."""
        if self.status == "diverged":
            return f"{self.run}: diverged in epoch {self.diverged_epoch}"
        return f"{self.run}: trained {self.epochs} epochs, best epoch {self.best_epoch}"


@dataclass(frozen=True)
class Scores:
    """How well a run's model does on a set of images."""

    loss: float  # the yardstick: cross entropy, nats a pixel
    accuracy: float  # share of the pixels that are right
    mean_iou: float  # over the set's pixels and the classes present in the truth
    foreground_iou: float
    iou: dict[str, float | None]  # by class; None where the truth has none of it


@dataclass(frozen=True)
class Judgement:
    """Whether a run learned or memorised; numbers are None where they could not be had, and `not_checked` says why."""

    verdict: str  # learning, memorising, overfitting, underfitting, diverged or undecided
    evidence: tuple[str, ...]  # phrases with the numbers that the verdict rests on
    not_checked: tuple[str, ...]
    ratio: float | None  # validation by training loss, at the last epoch
    rise: float | None  # of validation over its best, at the last epoch, as a share
    iou_gap: float | None  # mean IoU on training minus validation, at the best epoch
    onset: tuple[int, int] | None  # epochs between which validation begins to worsen, at 90 %
    gap_low: float | None  # 95 % interval of the gap at the best epoch, as a statement about other images
    gap_high: float | None
    optimism: float | None  # by how much choosing the epoch on validation flatters val_loss, nats a pixel


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
    showcase_iou: float | None  # foreground IoU of the first showcase image
    trainable_parameters: int | None
    judgement: Judgement | None


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
    outside: tuple[str, ...]  # run folders that are no cell of the grid, left out

    @classmethod
    def read(cls, folder: Path = COMPARISON) -> Summary:
        """Read `summary.json`; raises `PipelineError` where it is missing or broken."""
        return _parsed(
            folder / SUMMARY,
            "pipeline compare",
            lambda content: cls(
                baseline=Scores(**content["baseline"]),
                runs=tuple(_run_row(row) for row in content["runs"]),
                rates=tuple(RateRow(**row) for row in content["rates"]),
                best_of_variant=tuple(_selection(item) for item in content["best_of_variant"]),
                best=_selection(content["best"]) if content["best"] else None,
                outside=tuple(content["outside"]),
            ),
        )


def _run_row(content: dict[str, Any]) -> RunRow:
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


@dataclass(frozen=True)
class Evaluation:
    """What `metrics.json` says of an evaluated run; of a diverged run without a model every part is None."""

    run: str
    key: str  # of the run that was scored
    gap: float | None  # val_loss - train_loss at the best epoch
    gap_last: float | None
    train: Scores | None  # on the fixed subset of the training images
    validation: Scores | None
    test: Scores | None
    showcase: tuple[Scores, ...]  # an entry an image

    @classmethod
    def read(cls, folder: Path) -> Evaluation:
        """Read `metrics.json` of an evaluation's folder; raises `PipelineError` where it is missing or broken."""
        return _parsed(folder / METRICS, f"pipeline evaluate {folder.name}", cls._from_json)

    @classmethod
    def _from_json(cls, content: dict[str, Any]) -> Evaluation:
        parts = {part: Scores(**content[part]) if content[part] else None for part in ("train", "validation", "test")}
        return cls(**{**content, **parts, "showcase": tuple(Scores(**item) for item in content["showcase"])})


def _parsed(path: Path, maker: str, build: Callable[[dict[str, Any]], Parsed]) -> Parsed:
    """A JSON file's content as `build` makes it; a key too few or too many is a `PipelineError` that names the file."""
    content = read_json(path, maker)
    try:
        return build(content)
    except (KeyError, TypeError, AttributeError) as error:
        raise PipelineError(
            f"{path} is not as this version writes it ({type(error).__name__}: {error}). Run `{maker}` again."
        ) from None
