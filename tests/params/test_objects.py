"""`evaluation.objects`: classes that cannot be objects are explained before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.params.file import read_params
from tests.conftest import write_params
from tests.nuclei import SECTION


def read(folder: Path, evaluation: dict[str, Any], data: dict[str, Any]) -> Params:
    path, yaml = write_params(folder, {"evaluation": evaluation}), YAML(typ="safe")
    content = yaml.load(path.read_text(encoding="utf-8"))
    content["data"] = data
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)
    return read_params(path)


def test_objects_are_optional(tmp_path: Path) -> None:
    evaluation = read(tmp_path, {}, SECTION).evaluation
    assert (evaluation.objects, evaluation.min_object_area) == (None, 0)
    assert read(tmp_path, {"objects": ["nucleus"], "min_object_area": 9}, SECTION).evaluation.objects == ["nucleus"]


@pytest.mark.parametrize(
    ("evaluation", "message"),
    [
        ({"objects": ["border"]}, "evaluation.objects: 'border' is not a foreground class of the data; write nucleus."),
        ({"objects": ["nuclei"]}, "evaluation.objects: 'nuclei' is not a foreground class of the data; write nucleus."),
        ({"objects": ["nucleus", "nucleus"]}, "evaluation.objects: 'nucleus' is repeated; remove one."),
        ({"objects": "nucleus"}, "evaluation.objects: "),
        ({"min_object_area": -1}, "evaluation.min_object_area: "),
    ],
)
def test_invalid_objects_are_explained(tmp_path: Path, evaluation: dict[str, Any], message: str) -> None:
    with pytest.raises(PipelineError) as caught:
        read(tmp_path, evaluation, SECTION)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("names", [None, ["nucleus"]])
def test_numbered_objects_without_a_boundary_class_are_explained(tmp_path: Path, names: list[str] | None) -> None:
    classes = [{key: value for key, value in item.items() if key != "is_boundary"} for item in SECTION["classes"]]
    data = {**SECTION, "classes": classes}
    with pytest.raises(
        PipelineError, match="'border' has the border pixels of numbered objects; write is_boundary: true"
    ):
        read(tmp_path, {"objects": names}, data)
    assert read(tmp_path, {"objects": []}, data).evaluation.objects == []
