"""Read what the stages wrote, and external results, on demand.

Missing or broken files raise `PipelineError` with the command that makes them, so that one section becomes a notice and
the others are shown.
"""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from pipeline import runs
from pipeline.analysis.curve_files import Result, read_results
from pipeline.atomic_io import read_json
from pipeline.comparison import Finding, Summary
from pipeline.errors import PipelineError
from pipeline.imaging.decode import Resize
from pipeline.params import Report
from pipeline.project import make, project_folder
from pipeline.report.view_models import Frame, ImageArray, Mask, Notice
from pipeline.runs import Cutouts, DataSet, Evaluation, RunRecord, Survey


class ReportContext:
    """The files of a project's folder.

    Args:
        root: The folder.
        composite_splits: Splits of composites, which are made at the prepared size from a part of each original.
        resize: How the originals of the other splits were fitted into the prepared squares.
    """

    def __init__(self, root: Path, composite_splits: Collection[str] = (), resize: Resize = "squash") -> None:
        self.root, self._composite_splits, self._resize = root, composite_splits, resize

    @cached_property
    def summary(self) -> Summary:
        """The comparison of the grid."""
        with self._reading(runs.COMPARISON / runs.SUMMARY, "pipeline compare"):
            return Summary.read(self.root / runs.COMPARISON)

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """The findings of the comparison."""
        with self._reading(runs.COMPARISON / runs.FINDINGS, "pipeline compare") as path:
            content = read_json(path, "pipeline compare")["findings"]
            return tuple(Finding(item["id"], str(item["sentence"]), tuple(item["runs"])) for item in content)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Evaluation loss by run, split and epoch: `CURVE_COLUMNS`, finite losses only."""
        with self._reading(runs.COMPARISON / runs.CURVES, "pipeline compare") as path:
            table = _read_table(path, runs.CURVE_COLUMNS, {"run": str, "variant": str, "split": str})
            return table[np.isfinite(table["loss"].astype(float))]

    @cached_property
    def gap_parts(self) -> pd.DataFrame:
        """Each run's gap by class, group and image: `PART_COLUMNS`."""
        with self._reading(runs.COMPARISON / runs.PARTS, "pipeline compare") as path:
            return _read_table(path, runs.PART_COLUMNS, {"run": str, "part": str, "name": str})

    @cached_property
    def data(self) -> DataSet:
        """The prepared data set."""
        with self._reading(runs.PREPARED / runs.CLASSES, "pipeline prepare"):
            return DataSet.read(self.root / runs.PREPARED)

    @cached_property
    def samples(self) -> dict[str, tuple[str, ...]]:
        """IDs of the samples by split, in the order of the arrays' rows."""
        with self._reading(runs.PREPARED / runs.SAMPLES, "pipeline prepare") as path:
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
            return {str(split): tuple(rows["id"]) for split, rows in table.groupby("split", sort=False)}

    @cached_property
    def sample_table(self) -> pd.DataFrame:
        """The table of samples: `SAMPLE_COLUMNS`, then share_<class>."""
        shares = {f"share_{item.name}": float for item in self.data.classes}
        numbers = dict.fromkeys(("height", "width", "pixels"), int)
        dtypes = {**dict.fromkeys(runs.SAMPLE_COLUMNS, str), **numbers, **shares}
        with self._reading(runs.PREPARED / runs.SAMPLES, "pipeline prepare") as path:
            return _read_table(path, tuple(dtypes), dtypes, keep_default_na=False)

    @cached_property
    def rejected(self) -> pd.DataFrame:
        """Images that were skipped in preparation: id, reason."""
        with self._reading(runs.PREPARED / runs.REJECTED, "pipeline prepare") as path:
            return _read_table(path, ("id", "reason"), {"id": str, "reason": str}, keep_default_na=False)

    @cached_property
    def survey(self) -> Survey | None:
        """Statistics of the files that the data was prepared from; None if they were not written."""
        if not (self.root / runs.PREPARED / runs.SURVEY).exists():
            return None
        with self._reading(runs.PREPARED / runs.SURVEY, "pipeline prepare"):
            return Survey.read(self.root / runs.PREPARED)

    @cached_property
    def _shapes(self) -> dict[str, list[tuple[int, int]]]:
        """Height and width of the originals by split, in the order of the arrays' rows."""
        splits = self.sample_table.groupby("split", sort=False)
        return {str(split): list(zip(rows["height"], rows["width"], strict=True)) for split, rows in splits}

    def get_frame(self, split: str, row: int) -> Frame:
        """Return how a sample's original was fitted into its square; a composite fills it."""
        if split in self._composite_splits:
            return Frame(1, 1, self._resize)
        height, width = self._shapes[split][row]
        return Frame(int(height), int(width), self._resize)

    def read_image(self, split: str, row: int) -> ImageArray:
        """Read a sample's image."""
        with self._reading(runs.PREPARED / split / runs.IMAGES, "pipeline prepare") as path:
            image: ImageArray = np.array(np.load(path, mmap_mode="r")[row])
            return image

    def read_ground_truth(self, split: str, row: int) -> Mask:
        """Read a sample's ground truth."""
        with self._reading(runs.PREPARED / split / runs.MASKS, "pipeline prepare") as path:
            return np.array(np.load(path, mmap_mode="r")[row], dtype=np.uint8)

    def read_record(self, run: str) -> RunRecord:
        """Read a run's record."""
        with self._reading(runs.RUNS / run / runs.RECORD, f"dvc repro train@{run}"):
            return RunRecord.read(self.root / runs.RUNS / run)

    def read_showcase_masks(self, run: str) -> npt.NDArray[np.uint8]:
        """Read the predictions for the first showcase image after each epoch: epoch x H x W."""
        with (
            self._reading(runs.RUNS / run / runs.SHOWCASE_MASKS, f"dvc repro train@{run}") as path,
            np.load(path) as file,
        ):
            return np.asarray(file["masks"][:, 0], dtype=np.uint8)

    def read_evaluation(self, run: str) -> Evaluation:
        """Read a run's scores."""
        with self._reading(runs.EVALUATION / run / runs.METRICS, f"dvc repro evaluate@{run}"):
            return Evaluation.read(self.root / runs.EVALUATION / run)

    def read_reliability(self, run: str) -> pd.DataFrame:
        """Read a run's calibration by confidence on training and validation images: `CALIBRATION_COLUMNS`."""
        with self._reading(runs.EVALUATION / run / runs.CALIBRATION, f"dvc repro evaluate@{run}") as path:
            return _read_table(path, runs.CALIBRATION_COLUMNS, {"split": str})

    def read_feature_maps(self, run: str) -> dict[str, npt.NDArray[np.uint8]]:
        """Read a U-Net's feature maps of the showcase by name; none for other networks."""
        if not (self.root / runs.EVALUATION / run / runs.EXPLAIN).exists():
            return {}
        with (
            self._reading(runs.EVALUATION / run / runs.EXPLAIN, f"dvc repro evaluate@{run}") as path,
            np.load(path, allow_pickle=False) as file,
        ):
            return {name: np.asarray(file[name], dtype=np.uint8) for name in ("skip", "below", "before", "after")}

    def read_image_scores(self, run: str, score: str) -> dict[str, float]:
        """Read a score of a run's images by sample, without undefined ones."""
        with self._reading(runs.EVALUATION / run / runs.PER_IMAGE, f"dvc repro evaluate@{run}") as path:
            table = pd.read_csv(path, dtype={"id": str}).dropna(subset=[score])
            return dict(zip(table["id"], table[score].astype(float), strict=True))

    def read_validation_losses(self, run: str) -> dict[str, float]:
        """Read the losses of the validation images with evaluated pixels by sample, at a run's best epoch."""
        with self._reading(runs.EVALUATION / run / runs.PER_IMAGE, f"dvc repro evaluate@{run}") as path:
            table = pd.read_csv(path, dtype={"id": str}).dropna(subset=["loss"])
            rows = table[table["split"] == "validation"]
            return dict(zip(rows["id"], rows["loss"].astype(float), strict=True))

    def list_examples(self, run: str) -> frozenset[str]:
        """List the samples with stored predictions of a run."""
        with self._reading(runs.EVALUATION / run / runs.EXAMPLES, f"dvc repro evaluate@{run}") as path:
            found = frozenset(file.stem for file in path.iterdir() if file.suffix == ".png")
            if not found:
                raise ValueError("it contains no predictions")
            return found

    def read_example(self, run: str, sample: str) -> Mask:
        """Read a run's prediction for a sample."""
        with (
            self._reading(runs.EVALUATION / run / runs.EXAMPLES / f"{sample}.png", f"dvc repro evaluate@{run}") as path,
            Image.open(path) as file,
        ):
            if file.mode not in ("L", "P"):  # both store class indices, P with a palette
                raise ValueError(f"it must contain 8-bit class indices, but its mode is {file.mode}")
            return np.asarray(file, dtype=np.uint8)

    @cached_property
    def cutouts(self) -> Cutouts:
        """Predictions for the images of `report.showcase`."""
        with self._reading(runs.CUTOUTS / runs.CUTOUT_LIST, "pipeline showcase"):
            return Cutouts.read(self.root / runs.CUTOUTS)

    def read_cutout(self, place: int) -> tuple[ImageArray, Mask, Mask | None]:
        """Read an image of `report.showcase`, its prediction, and its ground truth if there is one."""
        with (
            self._reading(runs.CUTOUTS / runs.CUTOUT.format(place), "pipeline showcase") as path,
            np.load(path, allow_pickle=False) as file,
        ):
            ground_truth = np.asarray(file["truth"], dtype=np.uint8) if "truth" in file else None
            return np.asarray(file["image"]), np.asarray(file["prediction"], dtype=np.uint8), ground_truth

    @contextlib.contextmanager
    def _reading(self, path: Path, maker: str) -> Iterator[Path]:
        """Yield the path in the root, and turn errors of reading it into a message that names it."""
        try:
            yield self.root / path
        except PipelineError as error:
            raise PipelineError(str(error).replace(f"{self.root}/", "")) from None
        except FileNotFoundError:
            raise PipelineError(
                f"{path} is missing. Run `{maker}`, or `{make('report', self.root)}` for all stages."
            ) from None
        except (OSError, ValueError, KeyError, TypeError, IndexError, EOFError, zipfile.BadZipFile) as error:
            what = f"{type(error).__name__}: {error}".replace(f"{self.root}/", "")
            raise PipelineError(f"{path} cannot be read ({what}). Run `{maker}` again.") from None


def _read_table(
    path: Path, columns: Sequence[str], dtypes: dict[str, type], *, keep_default_na: bool = True
) -> pd.DataFrame:
    """Read a CSV table; without `keep_default_na`, text such as "NA" stays text.

    Raises:
        ValueError: A column is missing.
    """
    table = pd.read_csv(path, dtype=dtypes, keep_default_na=keep_default_na)
    if missing := set(columns) - set(table.columns):
        raise ValueError(f"columns {', '.join(sorted(missing))} are missing")
    return table


@dataclass(frozen=True)
class ExternalResults:
    """Other people's results, and notices for files that cannot be read."""

    results: tuple[Result, ...]  # named as on the page
    sources: tuple[tuple[str, str], ...]  # name, and author or publication
    problems: tuple[Notice, ...]


def read_external_results(report: Report, root: Path) -> ExternalResults:
    """Read the files that the parameters name, in `reports/references/` of the project."""
    results: list[Result] = []
    sources, problems = [], []
    project = project_folder(root)
    for reference in report.references:
        try:
            for found in read_results(project / runs.REFERENCES / reference.file):
                name = f"{reference.name}: {found.name}" if found.name else reference.name
                results.append(Result(name, found.curves, found.numbers))
            sources.append((reference.name, reference.source))
        except PipelineError as error:
            problems.append(
                Notice(f"{reference.name} is not shown", str(error).replace(f"{project}/", ""), is_fault=True)
            )
    return ExternalResults(tuple(results), tuple(sources), tuple(problems))
