"""The one contract between the stages: folders, files, columns, and a run's record.

Whatever a stage writes for another one is named here and nowhere else. Only the standard library is imported, so that
every stage, the command line and tests can.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.atomic_io import parsed, read_json
from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE as IGNORE

FORMAT = 2  # of the files below; DVC runs every cell again when it changes

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
SURVEY = "survey.json"

# runs/<run>/
RUNS = Path("runs")
RECORD = "run.json"
WEIGHTS = "model.safetensors"  # of the best epoch; missing where no epoch had a finite yardstick
HISTORY = "history.csv"  # HISTORY_COLUMNS, then train_iou_<class> and val_iou_<class>; epochs count from 1
HISTORY_COLUMNS = ("epoch", "learning_rate", "objective", "train_loss", "val_loss", "val_mean_iou")
# train, validation: epochs x images, nats per pixel, NaN without evaluated pixels; *_index, *_pixels: one per image
IMAGE_LOSSES = "image_losses.npz"
SHOWCASE_MASKS = "showcase.npz"  # masks: epoch x image x H x W, uint8
TIMING = "timing.json"  # run key, times, machine: no other file depends on it, and DVC ignores it (.dvcignore)

# evaluation/<run>/
EVALUATION = Path("evaluation")
METRICS = "metrics.json"
# A cell is empty if a score is undefined: all cells of an image without evaluated pixels, foreground_iou of an image
# with no foreground in ground truth or prediction.
PER_IMAGE = "per_image.csv"  # PER_IMAGE_COLUMNS; iou_<class>, empty where the class is in neither mask; then
# loss_<class>, nats a pixel over those of that true class, empty where there is none
PER_IMAGE_COLUMNS = ("id", "split", "loss", "accuracy", "mean_iou", "foreground_iou")
CALIBRATION = "calibration.csv"  # CALIBRATION_COLUMNS; a row a bin of train (as far as compared) and validation
CALIBRATION_COLUMNS = ("split", "low", "high", "pixels", "confidence", "accuracy")  # the last two empty in an empty bin
EXPLAIN = "explain.npz"  # skip, below (K x H x W), before, after (h x w): maps on the showcase, uint8; of a U-Net only
OVERVIEW = "overview.png"  # showcase and one validation image: image, truth, prediction
EXAMPLES = "examples"  # <sample id>.png: the predicted class indices, 8 bit

# comparison/
COMPARISON = Path("comparison")
SUMMARY = "summary.json"
CURVES = "curves.csv"  # CURVE_COLUMNS, long form
CURVE_COLUMNS = ("run", "variant", "learning_rate", "seed", "epoch", "split", "loss")
PARTS = "parts.csv"  # PART_COLUMNS; of each run the gap by class, and by group and image of validation where widest
PART_COLUMNS = ("run", "part", "name", "images", "train_loss", "val_loss", "gap", "train_iou", "val_iou")
FINDINGS = "findings.json"
GRID_METRICS = Path("metrics.json")  # for `dvc metrics`: beside the folder, since DVC allows no metric inside an output

# showcase/
CUTOUTS = Path("showcase")
CUTOUT_LIST = "showcase.json"
CUTOUT = "{}.npz"  # by its place in the list: image; prediction and, where it is known, truth, H x W, class indices

SCRATCH = Path(".scratch")  # what no stage hands on: it may be removed at any time

REPORTS = Path("reports")
REPORT = REPORTS / "learning-report.html"
FAILURE = REPORTS / "failure.html"  # instead of the report, or beside it
TEMPLATES = REPORTS / "templates"
PHOTOGRAPHS = REPORTS / "showcase"  # the user's own, beside the image that the data sets apart
REFERENCES = REPORTS / "references"  # other people's curves and results; params.yaml says which the page shows

Status = Literal["finished", "diverged"]
Precision = Literal["float32", "bfloat16"]


def run_folder(run: str, root: Path) -> Path:
    """The folder of a run that somebody named; raises `PipelineError` where the name is a path."""
    if Path(run).name != run:
        raise PipelineError(f"'{run}' is a path; name the run itself, such as {Path(run).name or 'unet-0.001-0'}.")
    return root / RUNS / run


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
        return parsed(
            folder / CLASSES,
            "pipeline prepare",
            lambda content: cls(
                **{**content, "classes": tuple(SegmentationClass(**item) for item in content["classes"])}
            ),
        )


@dataclass(frozen=True)
class Survey:
    """What `survey.json` says of the files that the prepared data was made from."""

    stored: dict[str, int]  # images by how they were stored: "RGB", "gray", "palette", "16-bit gray", ...; may be empty
    turned: int  # images that were turned upright, as their EXIF orientation says
    transparent: int  # images with transparent parts, which became black
    compared: int  # images that were compared for duplicates; 0 where the source cannot have any
    duplicates: int  # pairs of images within one split that look the same; across splits there are none
    first_duplicates: tuple[tuple[str, str], ...]  # ids of the first ten such pairs
    notices: tuple[str, ...] = ()  # sentences on what may be a mistake in the data, for its owner to judge

    @classmethod
    def read(cls, folder: Path = PREPARED) -> Survey:
        """Read `survey.json`; raises `PipelineError` where it is missing or broken."""
        return parsed(
            folder / SURVEY,
            "pipeline prepare",
            lambda content: cls(
                **{
                    **content,
                    "first_duplicates": tuple(tuple(pair) for pair in content["first_duplicates"]),
                    "notices": tuple(content["notices"]),
                }
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


MIN_CLASS_IOU = 0.05  # below it a class counts as missed: less than a twentieth of its area is segmented right


@dataclass(frozen=True)
class MissedClass:
    """A class that the ground truth of a set has and a model does not segment."""

    name: str
    iou: float  # below MIN_CLASS_IOU
    is_predicted: bool  # for any pixel of the set

    def __str__(self) -> str:
        """The class and how badly it is segmented."""
        return f"{self.name} ({f'IoU {self.iou:.3f}' if self.is_predicted else 'never predicted'})"


@dataclass(frozen=True)
class Scores:
    """Scores of a run's model on a set of images; None is undefined, which is not zero.

    A set without evaluated pixels has no scores at all.
    """

    loss: float | None  # cross-entropy, nats per pixel
    accuracy: float | None  # share of the evaluated pixels
    mean_iou: float | None  # over the set's pixels and the classes present in the ground truth
    foreground_iou: float | None  # None without foreground in ground truth and prediction; 0 for false positives
    object_iou: float | None  # foreground and its boundary as one class; None without a boundary class, and as above
    iou: dict[str, float | None]  # by class; None where the ground truth has none of it
    predicted: dict[str, float | None]  # by class, the share of the evaluated pixels that are predicted as it

    def find_missed_classes(self) -> tuple[MissedClass, ...]:
        """Return the classes of the ground truth whose IoU is below `MIN_CLASS_IOU`."""
        return tuple(
            MissedClass(name, iou, is_predicted=bool(self.predicted[name]))
            for name, iou in self.iou.items()
            if iou is not None and iou < MIN_CLASS_IOU
        )


@dataclass(frozen=True)
class Calibration:
    """How sure a run's model is of a set's pixels, to be compared with how many are right (`Scores.accuracy`)."""

    confidence: float  # mean probability of the predicted class
    error: float  # the expected calibration error, 0 to 1


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
    train_calibration: Calibration | None
    val_calibration: Calibration | None

    @classmethod
    def read(cls, folder: Path) -> Evaluation:
        """Read `metrics.json` of an evaluation's folder; raises `PipelineError` where it is missing or broken."""
        return parsed(folder / METRICS, f"pipeline evaluate {folder.name}", cls._from_json)

    @classmethod
    def _from_json(cls, content: dict[str, Any]) -> Evaluation:
        parts = {part: Scores(**content[part]) if content[part] else None for part in ("train", "validation", "test")}
        sides = ("train_calibration", "val_calibration")
        calibrations = {side: Calibration(**content[side]) if content[side] else None for side in sides}
        showcase = tuple(Scores(**item) for item in content["showcase"])
        return cls(**{**content, **parts, **calibrations, "showcase": showcase})


@dataclass(frozen=True)
class Cutout:
    """A photograph of `report.showcase`, cut out."""

    file: str
    title: str
    mask: str | None
    iou: float | None  # of the foreground; None where no mask is known
    mean_iou: float | None


@dataclass(frozen=True)
class Cutouts:
    """What `showcase.json` says: the photographs in the order of `report.showcase`, and the run that cut them out."""

    run: str | None  # None where there is no photograph, or no run is the best
    photographs: tuple[Cutout, ...]

    @classmethod
    def read(cls, folder: Path = CUTOUTS) -> Cutouts:
        """Read `showcase.json`; raises `PipelineError` where it is missing or broken."""
        return parsed(
            folder / CUTOUT_LIST,
            "pipeline showcase",
            lambda content: cls(content["run"], tuple(Cutout(**item) for item in content["photographs"])),
        )
