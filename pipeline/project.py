"""Where the project is, seen from its own folder or from that of a study in it, and how to name commands there."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline import runs

STUDIES = Path("studies")  # a folder a study, in the project's folder; docs/studies.md


def project_folder(start: Path = Path()) -> Path:
    """The nearest folder from `start` upward that holds the report's templates; `start` itself where none does.

    What a study does not have itself comes from there: templates, a user's own modules, the MLflow store.
    """
    here = start.absolute()
    return next((folder for folder in (here, *here.parents) if (folder / runs.TEMPLATES).is_dir()), here)


def project_root(start: Path = Path()) -> Path:
    """The project's folder, absolute: DVC says it (`DVC_ROOT`) to the stages it runs, else it is around `start`.

    DVC runs an experiment of its queue in a copy that is gone afterwards, and says where the project itself is.
    """
    return Path(os.environ.get("DVC_ROOT") or project_folder(start)).absolute()


def study_name(folder: Path) -> str | None:
    """The name of the study that a folder is of; None for the project's own folder."""
    here = folder.absolute()
    return here.name if here.parent == project_folder(here) / STUDIES else None


def make(target: str, folder: Path) -> str:
    """`make report` or `make ui` as it is typed in the project's folder for what lies in `folder`."""
    name = study_name(folder)
    return f"make {target} SET={name}" if name else f"make {target}"


def inside(folder: Path, command: str) -> str:
    """A command for the shell that is to run in `folder`, as it is typed in the project's folder."""
    name = study_name(folder)
    return f"cd {STUDIES / name} && {command}" if name else command
