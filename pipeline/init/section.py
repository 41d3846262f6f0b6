"""The section `data` that a folder is read by."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.init.look import look
from pipeline.params import validate
from pipeline.params.data import Data, data_mistakes
from pipeline.params.file import PARAMS_FILE, read_params, read_sections
from pipeline.params.section import Section


class _Sections(Section):
    data: Data


def section_of(folder: Path) -> tuple[Data, str]:
    """The section of `params.yaml` if it is of this folder, else what `pipeline init` would propose; and whose it is.

    Raises:
        PipelineError: `params.yaml` is of this folder and wrong, or nothing can be proposed.
    """
    if _is_named(folder):
        return read_params().data, str(PARAMS_FILE)
    content = look(folder).section
    data = validate(_Sections, {"data": content}, "").data
    if mistakes := data_mistakes(data):
        raise PipelineError("\n".join(mistakes))
    return data, "`pipeline init`"


def _is_named(folder: Path) -> bool:
    """Whether `params.yaml`, if there is one, is of this folder."""
    try:
        data = read_sections(PARAMS_FILE).get("data")
    except PipelineError:
        return False
    sections = [data, data.get("test")] if isinstance(data, dict) else []
    paths = [section.get("path") for section in sections if isinstance(section, dict)]
    return any(isinstance(path, str) and os.path.realpath(path) == os.path.realpath(folder) for path in paths)
