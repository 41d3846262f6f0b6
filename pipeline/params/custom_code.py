"""Users' own code: import it by an import path, `module:callable`, and describe its errors in one sentence.

dvc.yaml lists `custom/` as a dependency of every stage that builds a network, so that DVC retrains after an edit. Code
imported from elsewhere in the project would be invisible to DVC, so it is refused.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

from pydantic import AfterValidator

from pipeline.artifacts.project import Project
from pipeline.errors import PipelineError
from pipeline.wording import find_closest, suggest_closest

CUSTOM = Path("custom")
BYTECODE = "__pycache__"
_PACKAGE = Path(__file__).parents[1]
_SITE_FOLDERS = {"site-packages", "dist-packages"}


def custom_files(project: Path) -> list[Path]:
    """List every file of `custom/`, data files included, except bytecode caches, in a stable order."""
    files = (path for path in (project / CUSTOM).rglob("*") if path.is_file())
    return sorted(path for path in files if BYTECODE not in path.parts)


def _misplaced_file(module: ModuleType) -> Path | None:
    """Return the file of a module inside the project but outside `custom/`, this package and installed packages."""
    file, project = _file(module), Project().home
    if file is None or not any(one.is_relative_to(project.resolve()) for one in (file, file.resolve())):
        return None
    known = (_PACKAGE, Path(sysconfig.get_path("stdlib")))
    if any(file.is_relative_to(folder) for folder in known) or _SITE_FOLDERS & set(file.parts):
        return None
    folder = file.parent.resolve()  # DVC follows a linked file, but no linked folder inside of custom/
    return None if folder.is_relative_to((project / CUSTOM).resolve()) else folder / file.name


def _suggested_name(file: Path) -> str:
    """Return the import path that a module of the project has once it is moved to `custom/`."""
    return f"{CUSTOM}.{file.parent.name if file.name == '__init__.py' else file.stem}"


@contextlib.contextmanager
def _project_on_path() -> Iterator[None]:
    """Put the project's folder first on the import path, as `python -m` does; a console script does not."""
    here = str(Project().home)
    sys.path.insert(0, here)
    importlib.invalidate_caches()  # the finders may have listed the folder before the module was written
    try:
        yield
    finally:
        sys.path.remove(here)


@contextlib.contextmanager
def custom_imports(key: str) -> Iterator[None]:
    """Run a block that imports or calls a user's code, and check what it imported.

    Raises:
        PipelineError: The code imported a module from elsewhere in the project.
    """
    before = set(sys.modules)
    with _project_on_path():
        try:
            yield
        finally:
            found = {name: file for name, module in _loaded_since(before) if (file := _misplaced_file(module))}
            if found:
                _unload(before)  # otherwise a second attempt in this process would find nothing newly imported
    if found:
        name, file = next(iter(found.items()))
        raise PipelineError(
            f"{key}: its code imports '{name}' from {file}. DVC does not see edits of that file, because it is outside "
            f"{CUSTOM}/, and would keep old results. Move it to {CUSTOM}/ and import it as {_suggested_name(file)}."
        )


def _loaded_since(before: set[str]) -> list[tuple[str, ModuleType]]:
    return [(name, module) for name, module in list(sys.modules.items()) if name not in before and module is not None]


def _unload(before: set[str]) -> None:
    custom = Project().home / CUSTOM
    for name, module in _loaded_since(before):
        file = _file(module)
        if _misplaced_file(module) or (file and file.is_relative_to(custom)):
            del sys.modules[name]


def _file(module: ModuleType) -> Path | None:
    # Not getattr(): objects that only pose as modules, such as torch.ops, invent attributes or load code.
    name = getattr(module, "__dict__", {}).get("__file__")
    return Path(name) if isinstance(name, str) and Path(name).is_absolute() else None


def _check_format(import_path: str) -> str:
    module, _, name = import_path.partition(":")
    if not name.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise ValueError("must be module:callable, such as custom.my_net:build")
    return import_path


ImportPath = Annotated[str, AfterValidator(_check_format)]  # of a callable that creates a network or optimizer


def import_factory(key: str, import_path: str) -> Callable[..., Any]:
    """Import a callable; `key` is the one of `params.yaml`, for messages.

    Raises:
        PipelineError: The module cannot be imported, is in the project outside `custom/`, or has no such callable.
    """
    name = import_path.partition(":")[2]
    module = _import_module(key, import_path)
    if file := _misplaced_file(module):
        raise PipelineError(
            f"{key}: {import_path} is in {file}. DVC does not see edits of that file, because it is outside {CUSTOM}/, "
            f"and would keep old results. Move it to {CUSTOM}/ and write {_suggested_name(file)}:{name}."
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
    with _project_on_path():
        try:
            found = importlib.util.find_spec(import_path.partition(":")[0])
        except ImportError:  # of a package around it
            return None
    return Path(found.origin) if found and found.has_location and found.origin else None


def describe_type(value: object) -> str:
    """Describe a value of the wrong type in a message."""
    if isinstance(value, type):
        return f"the class {value.__name__} itself"
    return f"a value of type {type(value).__name__}"


def describe_error(error: BaseException) -> str:
    """Describe an exception of the user's code on one line, with the last line of their code in the traceback."""
    here = Project().home
    places = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(here)
        and "site-packages" not in frame.filename
        and not Path(frame.filename).is_relative_to(_PACKAGE)
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
    if near := find_closest(missing.rpartition(".")[2], modules):
        return f"did you mean {modules[near]}?"
    return f"write it in {CUSTOM}/ and name it {CUSTOM}.{missing.removeprefix(f'{CUSTOM}.')}, or correct the name."
