"""Presets of a project: `params/<name>.yaml`, with optional notes in `params/<name>.md`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import PipelineError, suggest_closest
from pipeline.params.file import read_sections

PRESETS = Path("params")
PRESET_NAME = re.compile(r"[a-z0-9_]+")


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
