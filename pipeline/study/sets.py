"""The parameter sets of a project: `params/<name>.yaml`, perhaps with words of its own in `params/<name>.md`."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.params.file import read_sections

SETS = Path("params")
SET_NAME = re.compile(r"[a-z0-9_]+")


@dataclass(frozen=True)
class ParameterSet:
    """What a study changes of `params.yaml`."""

    name: str
    file: Path  # the overlay
    notes: Path | None  # Markdown for the report; None: the notes that params.yaml names

    def title(self) -> str:
        """What the study asks; raises `PipelineError` where the file cannot be read."""
        report = read_sections(self.file).get("report")
        return str(report.get("title", "")) if isinstance(report, dict) else ""


def parameter_sets(project: Path) -> list[ParameterSet]:
    """All sets, by name.

    Raises:
        PipelineError: A file is named so that no folder, experiment or make variable should be.
    """
    return [_named(file) for file in sorted((project / SETS).glob("*.yaml"))]


def find_set(name: str, project: Path) -> ParameterSet:
    """The set of a name; raises `PipelineError`, with the nearest name, where there is none."""
    found = {one.name: one for one in parameter_sets(project)}
    if name in found:
        return found[name]
    if not found:
        raise PipelineError(f"There is no set '{name}': {project / SETS} holds no .yaml file. Run this in the project.")
    near = difflib.get_close_matches(name, found, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(found)}."
    raise PipelineError(f"There is no {SETS / name}.yaml, hence no set '{name}'; {hint}")


def _named(file: Path) -> ParameterSet:
    if not SET_NAME.fullmatch(file.stem):
        raise PipelineError(f"{SETS / file.name}: a set's name may hold a-z, 0-9 and _, since a folder has it; rename.")
    notes = file.with_suffix(".md")
    return ParameterSet(file.stem, file, notes if notes.exists() else None)
