"""A study's `dvc.yaml`: the project's own, with the project's code two folders up."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.params.file import PARAMS_FILE
from pipeline.project import STUDIES
from pipeline.study.document import as_text, read_document

STAGES_FILE = Path("dvc.yaml")
HEADER = """\
# Made by `pipeline study {name}` from dvc.yaml. Edit that: this file is written over.

"""
_DATA = "${data."  # what the dependencies on the data begin with


def study_stages(name: str, project: Path, data_keys: Iterable[str]) -> str:
    """The stages of the project for a study's folder.

    What a stage makes, and what other stages read of it, lies in the study's folder; code and templates are the
    project's. Paths that stand in `params.yaml` are right already.

    Args:
        name: the study's.
        project: the project's folder.
        data_keys: the keys of `params.yaml` that name what `prepare` reads; a study's data may need other ones.

    Raises:
        PipelineError: The project's `dvc.yaml` cannot be read.
    """
    document = read_document(project / STAGES_FILE)
    stages = document["stages"].values()
    made = [PurePosixPath(path) for stage in stages for kind in ("outs", "metrics") for path in _names(stage, kind)]
    up = os.path.relpath(project, project / STUDIES / name)
    for stage in stages:
        deps = stage.get("deps", [])
        for place, path in enumerate(deps):
            if not path.startswith("${") and not _is_made(path, made):
                deps[place] = f"{up}/{path}"
        if any(path.startswith(_DATA) for path in deps):
            deps[:] = [f"${{{key}}}" for key in data_keys] + [path for path in deps if not path.startswith(_DATA)]
        for item in stage.get("params", []):
            for file in list(item) if isinstance(item, dict) else []:
                if file != str(PARAMS_FILE):
                    item[f"{up}/{file}"] = item.pop(file)
    return HEADER.format(name=name) + as_text(document)


def _names(stage: dict[str, Any], kind: str) -> list[str]:
    """The paths of a stage's outputs; one with options is a mapping of a single key."""
    return [name for item in stage.get(kind, []) for name in ([item] if isinstance(item, str) else item)]


def _is_made(path: str, made: list[PurePosixPath]) -> bool:
    """Whether a stage makes the path, something in it, or the folder that it is in."""
    place = PurePosixPath(path)
    return any(place.is_relative_to(other) or other.is_relative_to(place) for other in made)
