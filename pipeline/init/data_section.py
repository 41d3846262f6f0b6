"""Find the section `data` of a folder: the one of `params.yaml`, or else a suggested one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.init.inspect_folder import inspect_folder
from pipeline.init.suggestion import SuggestedData
from pipeline.params import validate
from pipeline.params.data import Data, find_data_mistakes
from pipeline.params.file import PARAMS_FILE, read_params, read_sections


@dataclass(frozen=True)
class FoundSection:
    """A section that reads a folder.

    Attributes:
        data: the section.
        origin: params.yaml, or the command that would write it.
        notices: guesses.
    """

    data: Data
    origin: str
    notices: tuple[str, ...] = ()


def find_section(folder: Path) -> FoundSection:
    """Take the section of `params.yaml` if it is of this folder, else what `pipeline init` would propose.

    Raises:
        PipelineError: `params.yaml` is of this folder and wrong, or nothing can be proposed.
    """
    if _is_section_of(folder):
        return FoundSection(read_params().data, str(PARAMS_FILE))
    suggestion = inspect_folder(folder)
    data = validate(SuggestedData, {"data": suggestion.section}, "").data
    if mistakes := find_data_mistakes(data):
        raise PipelineError("\n".join(mistakes))
    return FoundSection(data, "`pipeline init`", suggestion.notices)


def _is_section_of(folder: Path) -> bool:
    """Whether `params.yaml`, if there is one, is of this folder."""
    try:
        data = read_sections(PARAMS_FILE).get("data")
    except PipelineError:
        return False
    sections = [data, data.get("external_test")] if isinstance(data, dict) else []
    paths = [section.get("path") for section in sections if isinstance(section, dict)]
    return any(isinstance(path, str) and os.path.realpath(path) == os.path.realpath(folder) for path in paths)
