"""The artifacts that the sections of the report show."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pandas as pd

from pipeline.artifacts.comparison import Summary
from pipeline.artifacts.prepared_data import Dataset, PreparedData, Split
from pipeline.artifacts.project import Project
from pipeline.errors import PipelineError
from pipeline.params.data import Data
from pipeline.params.data.composites import CompositesData
from pipeline.params.data.image_data import ImageMaskData
from pipeline.report.images import Frame, ImageArray, Mask
from pipeline.report.primary_score import PrimaryScore
from pipeline.wording import join_words


class ReportContext:
    """Access to the artifacts of a project, a study, or runs from MLflow.

    Args:
        project: The folder with the artifacts.
        data: The `data` section of params.yaml.
    """

    def __init__(self, project: Project, data: Data) -> None:
        self.project, self._data = project, data

    @property
    def downscale(self) -> float:
        """Factor by which native images are shrunk before training; 1 for other data."""
        return self._data.downscale if isinstance(self._data, ImageMaskData) else 1.0

    @property
    def summary(self) -> Summary:
        """The results of the grid."""
        return self.project.comparison.summary

    @property
    def dataset(self) -> Dataset:
        """Title, classes and fingerprint of the data."""
        return self.project.prepared.dataset

    @cached_property
    def prepared(self) -> PreparedData:
        """The prepared data; with cross-validation, as the best run saw it, or else the runs of the first fold."""
        prepared = self.project.prepared
        if prepared.dataset.folds is None:
            return prepared
        best = self.summary.best
        return prepared.select_fold(self.summary.get_run(best.run).fold if best else 0)

    @cached_property
    def primary_score(self) -> PrimaryScore:
        """The primary score for the classes of the data."""
        return PrimaryScore.of([item.name for item in self.dataset.classes if item.foreground])

    @cached_property
    def _samples(self) -> dict[str, pd.DataFrame]:
        """Rows of `samples.csv` by split, in the order of the arrays."""
        return {str(split): rows for split, rows in self.prepared.samples.groupby("split", sort=False)}

    @cached_property
    def sample_ids(self) -> dict[str, tuple[str, ...]]:
        """Sample ids of each split, in the order of the arrays."""
        return {split: tuple(rows["id"]) for split, rows in self._samples.items()}

    @cached_property
    def training_limits(self) -> str:
        """A sentence on the runs that are trained on a part of the training images; empty if there are none."""
        variants: dict[int | None, list[str]] = {}
        for row in self.summary.runs:
            if row.best_epoch is not None:
                names = variants.setdefault(self.project.run(row.run).record.cell.get("max_train_images"), [])
                names += [row.variant] if row.variant not in names else []
        limits = {count: names for count, names in variants.items() if count is not None}
        if len(limits) == len(variants) == 1:
            return f"Each run is trained on {next(iter(limits)):,} of the training images."
        parts = [f"{join_words(names)} on {count:,}" for count, names in limits.items()]
        return f"Not all runs are trained on all training images: {join_words(parts)}." if parts else ""

    @cached_property
    def validated_ids(self) -> tuple[str, ...]:
        """Ids of the images that a run is validated on; with cross-validation, those of all folds."""
        samples = self.project.prepared.samples
        return tuple(samples.loc[(samples["split"] == "validation") | (samples["fold"] != ""), "id"])

    def name_run(self, run: str) -> str:
        """Return the name of a run on the page: with cross-validation, its setting, whose runs cover all folds."""
        row = self.summary.get_run(run)
        return run if row.fold is None else str(row.setting)

    def open_validation(self, run: str) -> Split:
        """Open the images that a run is validated on."""
        return self.project.prepared.select_fold(self.summary.get_run(run).fold).open_split("validation")

    def find_sample(self, sample: str) -> tuple[str, int]:
        """Find the split and the row of a sample, which with cross-validation are those of the best run's fold.

        Raises:
            PipelineError: The prepared data has no such sample.
        """
        for split, ids in self.sample_ids.items():
            if sample in ids:
                return split, ids.index(sample)
        raise PipelineError(f"The prepared data has no image {sample}. Run `{self.prepared.redo_command}` again.")

    def read_sample(self, split: str, row: int) -> tuple[ImageArray, Mask, Frame]:
        """Read the prepared image and mask of a sample, and the frame of its original image."""
        samples = self.prepared.open_split(split)
        return np.array(samples.images[row]), np.array(samples.masks[row]), self.get_frame(split, row)

    def read_sample_by_id(self, sample: str) -> tuple[ImageArray, Mask, Frame]:
        """Read the prepared image and mask of a sample, and its frame; see `find_sample`."""
        return self.read_sample(*self.find_sample(sample))

    def get_frame(self, split: str, row: int) -> Frame:
        """Return the size of a sample's original image, and how it was resized."""
        original = self._samples[split].iloc[row]
        return create_frame(self._data, split, int(original["height"]), int(original["width"]))

    def read_image_scores(self, run: str, score: str, split: str = "") -> dict[str, float]:
        """Read one score of a run for each image, by sample id.

        Undefined scores are left out. If `split` is empty, the images of all splits are included.
        """
        table = self.project.evaluation(run).read_per_image().dropna(subset=[score])
        rows = table[table["split"] == split] if split else table
        return dict(zip(rows["id"], rows[score].astype(float), strict=True))


def create_frame(data: Data, split: str, height: int, width: int) -> Frame:
    """Create the frame of an image in a split, given the height and width of the original in px.

    Composites are created at the prepared size, which therefore counts as their original size.
    """
    if isinstance(data, CompositesData) and (split != "test" or data.external_test is None):
        return Frame(*data.size, data.resize)
    return Frame(height, width, "stretch" if data.size is None else data.resize)  # native images have no padding
