"""A study's `params.yaml`: a parameter set laid over the project's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.params.dvc_form import format_like_dvc
from pipeline.params.file import PARAMS_FILE, check_params, read_sections
from pipeline.params.merge import merge_overrides
from pipeline.project import STUDIES
from pipeline.study.document import as_text, read_document, remark, spaced, write_into
from pipeline.study.sets import SETS, ParameterSet

HEADER = """\
# Made by `pipeline study {name}` from params.yaml and params/{name}.yaml.
# Edit those: this file is written over. Its paths start in this folder.

"""


@dataclass(frozen=True)
class Composition:
    """What a study's `params.yaml` says."""

    text: str
    params: Params
    data_paths: dict[str, str]  # key of params.yaml to path, from the study's folder, of all that `prepare` reads


def compose(chosen: ParameterSet, project: Path, data: Path | None = None) -> Composition:
    """Lay a set over `params.yaml`, as a variant's changes are laid over the base; its `variants:` replace all others.

    Args:
        chosen: the set. Where it names no experiment, `tracking.experiment` is its own name.
        project: the project's folder, where the relative paths of both files start.
        data: the user's pictures, relative to the current folder. It goes before `data.path`, or before the path of a
            section in `data`: with `data.test`, the bundled pictures are trained on and the user's are the test.

    Raises:
        PipelineError: A file cannot be read, or what both say together is no valid `params.yaml`.
    """
    where = f"{PARAMS_FILE} with {SETS / chosen.file.name}"
    changes = read_sections(chosen.file)
    wanted = merge_overrides(read_sections(project / PARAMS_FILE), changes)
    if "variants" in changes:  # those of params.yaml may not even fit the set's data
        wanted["variants"] = changes["variants"]
    check_params(wanted, where)  # from here on the sections are what they should be

    if "experiment" not in changes.get("tracking", {}):
        wanted["tracking"] = {**wanted["tracking"], "experiment": chosen.name}
    document = read_document(project / PARAMS_FILE)
    write_into(document, wanted, read_document(chosen.file))

    folder = project / STUDIES / chosen.name
    sections = [section for section, _ in _paths(document["data"])]
    for section in sections:
        section["path"] = _from(folder, project / section["path"], project)
    if data is not None:
        sections[-1]["path"] = _from(folder, data.absolute(), project)
    notes = chosen.notes or project / document["report"]["notes"]
    document["report"]["notes"] = _from(folder, notes, project)

    text = format_like_dvc(HEADER.format(name=chosen.name) + spaced(as_text(document)))
    content = YAML(typ="safe").load(text)
    paths = {key: section["path"] for section, key in _paths(content["data"])}
    return Composition(text, check_params(content, where), paths)


def check_data(composed: Composition, chosen: ParameterSet, project: Path) -> None:
    """Raise `PipelineError` where the data that a study reads is not there, with what is expected."""
    for key, path in composed.data_paths.items():
        place = Path(os.path.normpath(project / STUDIES / chosen.name / path))  # that folder may not be there yet
        if place.exists():
            continue
        expected = remark(read_document(chosen.file), *key.split("."))
        raise PipelineError(
            f"{key} of the set '{chosen.name}': there is nothing at {place}; expected there: "
            f"{expected or 'the folder with the pictures, as docs/your-own-data.md has it'}. Put it there, or name "
            f"another folder: make report SET={chosen.name} DATA=folder"
        )


def _paths(section: dict[str, Any], prefix: str = "data") -> Iterator[tuple[dict[str, Any], str]]:
    """Every section that names a path, with the path's key; those inside of it after it."""
    if isinstance(section.get("path"), str):
        yield section, f"{prefix}.path"
    for key, value in section.items():
        if isinstance(value, dict):
            yield from _paths(value, f"{prefix}.{key}")


def _from(folder: Path, path: Path, project: Path) -> str:
    """A path as a study's folder has it: relative in the project, which may move, and absolute elsewhere."""
    place = Path(os.path.normpath(path))
    return os.path.relpath(place, folder) if place.is_relative_to(project) else str(place)
