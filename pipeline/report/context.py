"""Artifacts and external results for the sections of the report, read when a section asks for them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

from pipeline.analysis.curve_readers import ExternalResult, read_results
from pipeline.artifacts.comparison import Summary
from pipeline.artifacts.prepared_data import Dataset
from pipeline.artifacts.project import EXTERNAL_RESULTS, Project
from pipeline.errors import PipelineError
from pipeline.imaging.resize import Resize
from pipeline.params import Report
from pipeline.report.view_models import Frame, Notice


class ReportContext:
    """The artifacts that the report shows.

    Args:
        project: The folder of the project, of a study, or of runs from MLflow.
        composite_splits: Splits of composites, which are made at the prepared size from a part of each original.
        resize: How the originals of the other splits were fitted into the prepared squares.
    """

    def __init__(self, project: Project, composite_splits: Collection[str] = (), resize: Resize = "stretch") -> None:
        self.project, self._composite_splits, self._resize = project, composite_splits, resize

    @property
    def summary(self) -> Summary:
        """The results of the grid."""
        return self.project.comparison.summary

    @property
    def dataset(self) -> Dataset:
        """Title, classes and fingerprint of the data."""
        return self.project.prepared.dataset

    @cached_property
    def sample_ids(self) -> dict[str, tuple[str, ...]]:
        """IDs of the samples by split, in the order of the arrays."""
        splits = self.project.prepared.samples.groupby("split", sort=False)
        return {str(split): tuple(rows["id"]) for split, rows in splits}

    @cached_property
    def _shapes(self) -> dict[str, list[tuple[int, int]]]:
        """Height and width of the originals by split, in the order of the arrays."""
        splits = self.project.prepared.samples.groupby("split", sort=False)
        return {str(split): list(zip(rows["height"], rows["width"], strict=True)) for split, rows in splits}

    def get_frame(self, split: str, row: int) -> Frame:
        """Return how a sample's original was fitted into its square; a composite fills it."""
        if split in self._composite_splits:
            return Frame(1, 1, self._resize)
        height, width = self._shapes[split][row]
        return Frame(int(height), int(width), self._resize)

    def read_image_scores(self, run: str, score: str, split: str = "") -> dict[str, float]:
        """Read a score of a run's images by sample, without undefined ones; of all splits or of one."""
        table = self.project.evaluation(run).read_per_image().dropna(subset=[score])
        rows = table[table["split"] == split] if split else table
        return dict(zip(rows["id"], rows[score].astype(float), strict=True))


@dataclass(frozen=True)
class ExternalResults:
    """Other people's results, and notices for files that cannot be read."""

    results: tuple[ExternalResult, ...]  # named as on the page
    sources: tuple[tuple[str, str], ...]  # name, and author or publication
    problems: tuple[Notice, ...]


def read_external_results(report: Report, project: Project) -> ExternalResults:
    """Read the files that the parameters name, in `reports/external_results/` of the project."""
    results: list[ExternalResult] = []
    sources, problems = [], []
    home = project.home
    for reference in report.external_results:
        try:
            for found in read_results(home / EXTERNAL_RESULTS / reference.file):
                name = f"{reference.name}: {found.name}" if found.name else reference.name
                results.append(ExternalResult(name, found.curves, found.numbers))
            sources.append((reference.name, reference.source))
        except PipelineError as error:
            problems.append(Notice(f"{reference.name} is not shown", str(error).replace(f"{home}/", ""), is_fault=True))
    return ExternalResults(tuple(results), tuple(sources), tuple(problems))
