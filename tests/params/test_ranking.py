"""`compare.rank_by`: unknown metrics, and metrics that no run can have, are explained before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from ruamel.yaml import YAML

from pipeline.artifacts.metric_names import FOREGROUND_METRICS, OBJECT_METRICS, RankBy
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.params.file import read_params
from tests.conftest import write_params
from tests.nuclei import COCO_SECTION, SECTION


def read(folder: Path, rank_by: str, data: dict[str, Any] | None = None, **evaluation: object) -> Params:
    """Read the tiny parameters with a metric, optionally with another section `data`."""
    path, yaml = write_params(folder, {"compare": {"rank_by": rank_by}, "evaluation": evaluation}), YAML(typ="safe")
    if data is not None:
        content = yaml.load(path.read_text(encoding="utf-8"))
        content["data"] = data
        with path.open("w", encoding="utf-8") as file:
            yaml.dump(content, file)
    return read_params(path)


def change_classes(**changes: object) -> dict[str, Any]:
    """Return the section of numbered nuclei as ordinary classes, with these keys changed in all of them."""
    classes = [{**item, **changes} for item in SECTION["classes"]]
    return {**{key: value for key, value in SECTION.items() if key != "instances"}, "classes": classes}


def test_every_metric_can_be_chosen_if_objects_are_scored(tmp_path: Path) -> None:
    for metric in get_args(RankBy):
        assert read(tmp_path, metric, objects=["animal"]).compare.rank_by == metric
    assert set(OBJECT_METRICS) < set(get_args(RankBy))
    assert set(FOREGROUND_METRICS) - set(get_args(RankBy)) == {"precision", "recall"}


@pytest.mark.parametrize("section", [SECTION, COCO_SECTION], ids=["instances", "annotations"])
def test_numbered_objects_are_scored_without_being_named(tmp_path: Path, section: dict[str, Any]) -> None:
    assert read(tmp_path, "object_f1", section).compare.rank_by == "object_f1"


@pytest.mark.parametrize(
    ("rank_by", "data", "evaluation", "message"),
    [
        ("dize", None, {}, "'asd', 'object_f1', "),
        ("dize", None, {}, "did you mean dice?"),
        ("object_f1", None, {}, "object_f1 requires scores of objects, but evaluation.objects is null"),
        ("object_f1", SECTION, {"objects": []}, "object_f1 requires scores of objects, but evaluation.objects is []"),
        ("foreground_iou", change_classes(foreground=True), {}, "undefined if all classes are foreground"),
        ("object_iou", change_classes(is_boundary=False), {}, "no class has is_boundary: true"),
    ],
)
def test_metric_that_no_run_can_have_is_explained_in_one_line(
    tmp_path: Path, rank_by: str, data: dict[str, Any] | None, evaluation: dict[str, Any], message: str
) -> None:
    with pytest.raises(PipelineError) as caught:
        read(tmp_path, rank_by, data, **evaluation)
    assert message in str(caught.value)
    assert "compare.rank_by: " in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
