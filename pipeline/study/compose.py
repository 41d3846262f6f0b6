"""Compose a study's `params.yaml`: a preset merged into the project's own.

A preset is a file `params/<name>.yaml`, with optional notes in `params/<name>.md`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.artifacts.project import STUDIES
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.params.file import PARAMS_FILE, check_params, read_sections
from pipeline.params.section import merge_overrides
from pipeline.params.yaml_document import (
    dump_document,
    format_like_dvc,
    get_comment,
    read_document,
    space_sections,
    update_document,
)
from pipeline.wording import suggest_closest

PRESETS = Path("params")
PRESET_NAME = re.compile(r"[a-z0-9_]+")
HEADER = """\
# Made by `pipeline study {name}` from params.yaml and params/{name}.yaml.
# Edit those: this file is written over. Its paths start in this folder.

"""


@dataclass(frozen=True)
class Preset:
    """Changes of a study to `params.yaml`."""

    file: Path

    @property
    def name(self) -> str:
        """Name of the preset and of its study."""
        return self.file.stem

    @property
    def notes(self) -> Path | None:
        """Markdown for the report; None for the notes of `params.yaml`."""
        notes = self.file.with_suffix(".md")
        return notes if notes.exists() else None

    def read_title(self) -> str:
        """Read the study's title.

        Raises:
            PipelineError: The file cannot be read.
        """
        report = read_sections(self.file).get("report")
        return str(report.get("title", "")) if isinstance(report, dict) else ""


@dataclass(frozen=True)
class Composition:
    """A study's `params.yaml`."""

    text: str
    params: Params
    data_paths: dict[str, str]  # paths that `prepare` reads, relative to the study's folder, by key of params.yaml


def list_presets(project: Path) -> list[Preset]:
    """List all presets by name.

    Raises:
        PipelineError: A file name is not valid as the name of a folder, an experiment and a make variable.
    """
    files = sorted((project / PRESETS).glob("*.yaml"))
    for file in files:
        if not PRESET_NAME.fullmatch(file.stem):
            raise PipelineError(
                f"{PRESETS / file.name}: a preset's name may contain a-z, 0-9 and _ only, since it names a folder; "
                "rename it."
            )
    return list(map(Preset, files))


def find_preset(name: str, project: Path) -> Preset:
    """Find a preset.

    Raises:
        PipelineError: There is none of this name; the message gives the closest one.
    """
    found = {one.name: one for one in list_presets(project)}
    if name in found:
        return found[name]
    if not found:
        raise PipelineError(f"{project / PRESETS} has no preset '{name}', nor any other. Run this in the project.")
    hint = suggest_closest(name, found, f"presets: {', '.join(found)}.")
    raise PipelineError(f"There is no preset '{name}': {PRESETS / name}.yaml does not exist; {hint}")


def compose(preset: Preset, project: Path, data: Path | None = None) -> Composition:
    """Merge a preset into `params.yaml` like a variant's overrides; its `variants:` replace the others.

    Args:
        preset: The preset. Without an experiment in it, `tracking.experiment` is its name.
        project: Folder of the project, to which paths in both files are relative.
        data: Folder of the user's images, relative to the current folder, in place of `data.path`; or of the path of a
            section in `data`: with `data.external_test`, the user's images are the test set of the bundled data.

    Raises:
        PipelineError: A file cannot be read, or the result is not a valid `params.yaml`.
    """
    where = f"{PARAMS_FILE} with {PRESETS / preset.file.name}"
    changes = read_sections(preset.file)
    content = merge_overrides(read_sections(project / PARAMS_FILE), changes)
    if "variants" in changes:  # those of params.yaml may not fit the preset's data
        content["variants"] = changes["variants"]
    check_params(content, where)

    if "experiment" not in changes.get("tracking", {}):
        content["tracking"] = {**content["tracking"], "experiment": preset.name}
    document = read_document(project / PARAMS_FILE)
    update_document(document, content, read_document(preset.file))

    folder = project / STUDIES / preset.name
    sections = [section for section, _ in _find_paths(document["data"])]
    for section in sections:
        section["path"] = _make_relative(folder, project / section["path"], project)
    if data is not None:
        sections[-1]["path"] = _make_relative(folder, data.absolute(), project)
    notes = preset.notes or project / document["report"]["notes_file"]
    document["report"]["notes_file"] = _make_relative(folder, notes, project)

    text = format_like_dvc(HEADER.format(name=preset.name) + space_sections(dump_document(document)))
    written = YAML(typ="safe").load(text)
    paths = {key: section["path"] for section, key in _find_paths(written["data"])}
    return Composition(text, check_params(written, where), paths)


def check_data(composition: Composition, preset: Preset, project: Path) -> None:
    """Check that the data of a study exist.

    Raises:
        PipelineError: Data are missing; the message says what is expected.
    """
    for key, path in composition.data_paths.items():
        place = Path(os.path.normpath(project / STUDIES / preset.name / path))  # the study's folder may not exist yet
        if place.exists():
            continue
        expected = get_comment(read_document(preset.file), *key.split("."))
        raise PipelineError(
            f"{key} of the preset '{preset.name}': {place} does not exist; expected: "
            f"{expected or 'a folder of images, see docs/how-to/folder-of-images.md'}. Put it there, or name "
            f"another folder: make report SET={preset.name} DATA=folder"
        )


def _find_paths(section: dict[str, Any], prefix: str = "data") -> Iterator[tuple[dict[str, Any], str]]:
    """Find every section with a path, and the key of the path; outer sections first."""
    if isinstance(section.get("path"), str):
        yield section, f"{prefix}.path"
    for key, value in section.items():
        if isinstance(value, dict):
            yield from _find_paths(value, f"{prefix}.{key}")


def _make_relative(folder: Path, path: Path, project: Path) -> str:
    """Return a path as written in a study's folder: relative inside the project, which may be moved, else absolute."""
    place = Path(os.path.normpath(path))
    return os.path.relpath(place, folder) if place.is_relative_to(project) else str(place)
