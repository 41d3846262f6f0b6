"""Tables are read as they were written, whatever the names of classes and images."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from pipeline.artifacts.comparison import Comparison
from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.artifacts.folder import ArtifactFolder
from pipeline.errors import PipelineError

NAMES = ["None", "NA", "null", "nan", "", "1e5", "007"]
READERS: dict[str, tuple[type[ArtifactFolder], str, tuple[str, ...], str, Any]] = {
    "gap": (Comparison, Comparison.GAP_PARTS, Comparison.GAP_PART_COLUMNS, "name", lambda one: one.gap_parts),
    "images": (
        EvaluationFolder,
        EvaluationFolder.PER_IMAGE,
        EvaluationFolder.PER_IMAGE_COLUMNS,
        "id",
        EvaluationFolder.read_per_image,
    ),
    "objects": (
        EvaluationFolder,
        EvaluationFolder.OBJECTS,
        EvaluationFolder.OBJECT_COLUMNS,
        "id",
        EvaluationFolder.read_objects,
    ),
}


@pytest.mark.parametrize("case", READERS)
def test_read_a_table_keeps_names_that_look_like_missing_values(tmp_path: Path, case: str) -> None:
    kind, file, columns, key, read = READERS[case]
    folder = kind(tmp_path, tmp_path)
    rows = [[name if column == key else number for column in columns] for number, name in enumerate(NAMES)]
    folder.write_table(file, columns, rows)
    assert read(folder)[key].tolist() == NAMES


def test_read_a_table_has_missing_numbers_in_every_column_without_text(tmp_path: Path) -> None:
    folder = Comparison(tmp_path, tmp_path)
    folder.write_table("x.csv", ("id", "loss", "extra"), [("a", math.nan, ""), ("b", 2, math.inf), ("c", None, 1)])
    table = folder.read_table("x.csv", ("id", "loss"), {"id": str})
    assert table["loss"].isna().tolist() == [True, False, True]
    assert table["extra"].isna().tolist() == [True, False, False]
    assert table["extra"].sum() == math.inf
    with pytest.raises(PipelineError, match="no column gap"):
        folder.read_table("x.csv", ("id", "gap"), {"id": str})
