"""The one contract between the stages: folders, files, columns, and a run's record.

Whatever a stage writes for another one is named here and nowhere else. Only the standard library is imported, so that
every stage, the command line and tests can.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.artifacts.evaluation_folder import RunEvaluation as Evaluation
from pipeline.artifacts.format import FORMAT
from pipeline.artifacts.prepared_data import Dataset as DataSet
from pipeline.artifacts.prepared_data import DatasetStats as Survey
from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.artifacts.run_folder import Precision, RunRecord
from pipeline.artifacts.scores import MIN_CLASS_IOU, Calibration, MissedClass, Scores
from pipeline.artifacts.showcase_predictions import ShowcaseImage as Cutout
from pipeline.artifacts.showcase_predictions import ShowcaseList as Cutouts
from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE as IGNORE

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

__all__ = [
    "FORMAT",
    "MIN_CLASS_IOU",
    "Calibration",
    "Cutout",
    "Cutouts",
    "DataSet",
    "Evaluation",
    "MissedClass",
    "Precision",
    "RunRecord",
    "Scores",
    "SegmentationClass",
    "Survey",
]


def run_folder(run: str, root: Path) -> Path:
    """The folder of a run that somebody named; raises `PipelineError` where the name is a path."""
    if Path(run).name != run:
        raise PipelineError(f"'{run}' is a path; name the run itself, such as {Path(run).name or 'unet-0.001-0'}.")
    return root / RUNS / run
