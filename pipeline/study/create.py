"""Create or update a study's folder: `studies/<name>/` with its own `params.yaml` and `dvc.yaml`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.artifacts.project import STUDIES
from pipeline.atomic_io import write_text
from pipeline.params import Params
from pipeline.params.file import PARAMS_FILE
from pipeline.params.yaml_document import dump_document, read_document
from pipeline.study.compose import check_data, compose, find_preset

DVC_FILE = Path("dvc.yaml")
HEADER = """\
# Made by `pipeline study {name}` from dvc.yaml. Edit that: this file is written over.

"""
_DATA = "${data."  # start of dependencies on the data


def create_study(name: str, project: Path, data: Path | None = None) -> Params:
    """Write the files of a study's folder that are missing or different, for a preset; see `compose`.

    Raises:
        PipelineError: The preset does not exist or is invalid, or its data is missing; then nothing is written.
    """
    preset = find_preset(name, project)
    composition = compose(preset, project, data)
    check_data(composition, preset, project)
    folder = project / STUDIES / name
    _write_if_different(folder / PARAMS_FILE, composition.text)
    _write_if_different(folder / DVC_FILE, _build_dvc_file(name, project, composition.data_paths))
    return composition.params


def _build_dvc_file(name: str, project: Path, data_keys: Iterable[str]) -> str:
    """Build a study's `dvc.yaml`: the project's own, with outputs in the study's folder, and the project's code.

    Paths in `params.yaml` are relative to the study's folder already; `data_keys` are those that `prepare` reads.
    """
    document = read_document(project / DVC_FILE)
    stages = document["stages"].values()
    outputs = [PurePosixPath(path) for stage in stages for kind in ("outs", "metrics") for path in _paths(stage, kind)]
    up = os.path.relpath(project, project / STUDIES / name)
    for stage in stages:
        deps = stage.get("deps", [])
        for index, path in enumerate(deps):
            if not path.startswith("${") and not _is_output(path, outputs):
                deps[index] = f"{up}/{path}"
        if any(path.startswith(_DATA) for path in deps):
            deps[:] = [f"${{{key}}}" for key in data_keys] + [path for path in deps if not path.startswith(_DATA)]
        for item in stage.get("params", []):
            for file in list(item) if isinstance(item, dict) else []:
                if file != str(PARAMS_FILE):
                    item[f"{up}/{file}"] = item.pop(file)
    return HEADER.format(name=name) + dump_document(document)


def _paths(stage: dict[str, Any], kind: str) -> list[str]:
    """List the paths of a stage's outputs; an output with options is a mapping with one key."""
    return [path for item in stage.get(kind, []) for path in ([item] if isinstance(item, str) else item)]


def _is_output(path: str, outputs: list[PurePosixPath]) -> bool:
    """Return whether a path is an output, inside of one, or contains one."""
    path_ = PurePosixPath(path)
    return any(path_.is_relative_to(output) or output.is_relative_to(path_) for output in outputs)


def _write_if_different(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
