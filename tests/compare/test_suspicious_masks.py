"""`compare` ranks masks by the seeds of the best setting."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.artifacts.project import Project
from pipeline.compare.compare_runs import compare
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.params.file import read_params
from tests.compare.test_compare import LOSSES, write_run
from tests.conftest import write_params

BEST = ("unet-0.001-0", "unet-0.001-1")


@pytest.fixture
def grid(project: Path) -> Params:
    """A grid of folder images, whose runs agree that one training mask is wrong."""
    classes = project / "data/prepared/classes.json"
    classes.write_text(json.dumps({**json.loads(classes.read_text()), "source": "image_mask_folder"}))
    params = read_params(write_params(project, {}))
    samples = Project(project).prepared.samples
    for cell in params.cells():
        write_run(project, cell, LOSSES[cell.name])
        folder = Project(project).evaluation(cell.name)
        rows = [
            (sample, split, 0.9 if index == 3 else 0.01 * (index % 5) + (0.5 if cell.name not in BEST else 0))
            for index, (sample, split) in enumerate(zip(samples["id"], samples["split"], strict=True))
            if split in ("train", "validation")
        ]
        folder.write_table(folder.CONTRADICTIONS, folder.CONTRADICTION_COLUMNS, rows)
    return params


def test_compare_ranks_all_training_and_validation_masks(grid: Params, project: Path) -> None:
    compare(grid)
    samples, table = Project(project).prepared.samples, Project(project).comparison.suspicious_masks
    assert table.loc[0, "id"] == samples.loc[3, "id"]
    assert sorted(table["id"]) == sorted(samples.loc[samples["split"].isin(["train", "validation"]), "id"])
    assert table["score"].is_monotonic_decreasing
    assert table["highest"][1:].max() <= 0.04  # the runs of other settings do not count


def test_compare_of_composites_writes_no_suspicious_masks(grid: Params, project: Path) -> None:
    classes = project / "data/prepared/classes.json"
    classes.write_text(json.dumps({**json.loads(classes.read_text()), "source": "composites"}))
    compare(grid)
    assert Project(project).comparison.suspicious_masks.empty


def test_compare_without_contradictions_names_the_command(grid: Params, project: Path) -> None:
    (project / "evaluation" / BEST[0] / "contradictions.csv").unlink()
    with pytest.raises(PipelineError, match=f"contradictions.csv is missing. Run `pipeline evaluate {BEST[0]}`"):
        compare(grid)
