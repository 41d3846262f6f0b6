"""docs/reference/: generated pages are up to date, and files.md names every file and column."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from pipeline.artifacts.comparison import Comparison
from pipeline.artifacts.ensemble_folder import EnsembleFolder
from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.artifacts.folder import ArtifactFolder
from pipeline.artifacts.prepared_data import PreparedData
from pipeline.artifacts.run_folder import RunFolder
from pipeline.artifacts.showcase_predictions import ShowcasePredictions

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("page", "function"), [("parameters.md", "describe_parameters"), ("command-line.md", "describe_commands")]
)
def test_generated_page_is_up_to_date(page: str, function: str) -> None:
    generated = runpy.run_path(str(DOCS / "generate/reference.py"))[function]()
    assert generated == (DOCS / "reference" / page).read_text(encoding="utf-8"), "Run `make reference`"


@pytest.mark.parametrize(
    "folder", [PreparedData, RunFolder, EvaluationFolder, Comparison, ShowcasePredictions, EnsembleFolder]
)
def test_files_page_names_every_file_and_column(folder: type[ArtifactFolder]) -> None:
    page = (DOCS / "reference/files.md").read_text(encoding="utf-8")
    constants = [value for name, value in vars(folder).items() if name.isupper()]
    names = {name for value in constants for name in ([value] if isinstance(value, str) else value)}
    assert names
    assert {name for name in names if f"`{name}`" not in page and f"`{name}/" not in page} == set()
