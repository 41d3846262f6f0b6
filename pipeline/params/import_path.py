"""Import paths in `params.yaml`, `module:callable`: a callable in the project's `custom/` or an installed package.

Errors in the user's own code become one sentence with the key, the exception and the line.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

from pydantic import AfterValidator

from pipeline.artifacts.project import Project
from pipeline.errors import PipelineError, suggest_closest
from pipeline.params.custom_code import CUSTOM, custom_files, misplaced_file, project_on_path, suggested_name


def _check_format(import_path: str) -> str:
    module, _, name = import_path.partition(":")
    if not name.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise ValueError("must be module:callable, such as custom.my_net:build")
    return import_path


ImportPath = Annotated[
    str, AfterValidator(_check_format)
]  # import path of a callable that creates a network or optimizer


def import_factory(key: str, import_path: str) -> Callable[..., Any]:
    """Import a callable.

    Args:
        key: The key of `params.yaml`, for messages.
        import_path: Its import path.

    Raises:
        PipelineError: The module cannot be imported, is in the project outside `custom/`, or has no such callable.
    """
    name = import_path.partition(":")[2]
    module = _import_module(key, import_path)
    if file := misplaced_file(module):
        raise PipelineError(
            f"{key}: {import_path} is in {file}. DVC does not see edits of that file, because it is outside {CUSTOM}/, "
            f"and would keep old results. Move it to {CUSTOM}/ and write {suggested_name(file)}:{name}."
        )
    if not hasattr(module, name):
        names = [known for known, value in vars(module).items() if callable(value) and not known.startswith("_")]
        hint = suggest_closest(name, names, f"define {name} there.")
        raise PipelineError(
            f"{key}: there is no '{name}' in {getattr(module, '__file__', None) or module.__name__}; {hint}"
        )
    found = getattr(module, name)
    if not callable(found):
        raise PipelineError(f"{key}: {import_path} must be callable, but is {describe_type(found)}.")
    return found  # type: ignore[no-any-return]


def find_module_file(import_path: str) -> Path | None:
    """Find the file of the module of an import path; None if there is none."""
    with project_on_path():
        try:
            found = importlib.util.find_spec(import_path.partition(":")[0])
        except ImportError:  # of a package around it
            return None
    return Path(found.origin) if found and found.has_location and found.origin else None


def describe_type(value: object) -> str:
    """Describe a value of the wrong type in a message."""
    return (
        f"the class {value.__name__} itself" if isinstance(value, type) else f"a value of type {type(value).__name__}"
    )


def describe_error(error: BaseException) -> str:
    """Describe an exception of the user's code on one line, with the last line of their code in the traceback."""
    here = Project().home
    package = Path(__file__).parents[1]
    places = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(here)
        and "site-packages" not in frame.filename
        and not Path(frame.filename).is_relative_to(package)
    ]
    where = f" in {Path(places[-1].filename).name}, line {places[-1].lineno}" if places else ""
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}{f' ({said[0]})' if said else ''}{where}"


def _import_module(key: str, import_path: str) -> ModuleType:
    name = import_path.partition(":")[0]
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name != missing and not name.startswith(f"{missing}."):  # it exists, but imports a missing one
            raise _import_error(key, name, error) from error
        raise PipelineError(
            f"{key}: there is no module '{missing}' in the project's folder, nor is one installed; "
            f"{_suggestion(missing)}"
        ) from None
    except (Exception, SystemExit) as error:
        raise _import_error(key, name, error) from error


def _import_error(key: str, name: str, error: BaseException) -> PipelineError:
    return PipelineError(f"{key}: module '{name}' cannot be imported, it raised {describe_error(error)}.")


def _suggestion(missing: str) -> str:
    """Suggest the closest module of `custom/`, whether or not its folder was written."""
    project = Project().home
    files = [file.relative_to(project) for file in custom_files(project) if file.suffix == ".py"]
    modules = {file.stem: ".".join(file.with_suffix("").parts) for file in files if file.stem != "__init__"}
    near = difflib.get_close_matches(missing.rpartition(".")[2], modules, n=1)
    if near:
        return f"did you mean {modules[near[0]]}?"
    return f"write it in {CUSTOM}/ and name it {CUSTOM}.{missing.removeprefix(f'{CUSTOM}.')}, or correct the name."
