"""Import user code by its import path, `module:callable`, and report its errors in one line.

`custom/` is a dependency of every stage in dvc.yaml that builds a network, so DVC retrains after an edit there. DVC
would not notice edits to code elsewhere in the project, so importing code from elsewhere is an error.
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
    """List all files in `custom/` except bytecode caches, sorted by path."""
    files = (path for path in (project / CUSTOM).rglob("*") if path.is_file())
    return sorted(path for path in files if BYTECODE not in path.parts)


def _misplaced_file(module: ModuleType) -> Path | None:
    """Return a module's file if it is in the project, but not in `custom/`, this package or an installed package."""
    file, project = _file(module), Project().home
    if file is None or not any(one.is_relative_to(project.resolve()) for one in (file, file.resolve())):
        return None
    known = (_PACKAGE, Path(sysconfig.get_path("stdlib")))
    if any(file.is_relative_to(folder) for folder in known) or _SITE_FOLDERS & set(file.parts):
        return None
    folder = file.parent.resolve()  # DVC follows links to files, but not to folders, inside custom/
    return None if folder.is_relative_to((project / CUSTOM).resolve()) else folder / file.name


def _suggested_name(file: Path) -> str:
    """Return the name of a module after moving its file to `custom/`."""
    return f"{CUSTOM}.{file.parent.name if file.name == '__init__.py' else file.stem}"


@contextlib.contextmanager
def _project_on_path() -> Iterator[None]:
    """Put the project's folder first in `sys.path`, as `python -m` does but a console script does not."""
    here = str(Project().home)
    sys.path.insert(0, here)
    importlib.invalidate_caches()  # the finders may have listed the folder before the module was written
    try:
        yield
    finally:
        sys.path.remove(here)


@contextlib.contextmanager
def custom_imports(key: str) -> Iterator[None]:
    """Run a block that imports or calls a user's code, and check which modules the code imports.

    Args:
        key: Key of `params.yaml` that names the code, for error messages.

    Raises:
        PipelineError: The code imported a module of the project from outside `custom/`.
    """
    before = set(sys.modules)
    with _project_on_path():
        try:
            yield
        finally:
            found = {name: file for name, module in _loaded_since(before) if (file := _misplaced_file(module))}
            if found:
                _unload(before)  # so that another attempt in this process imports and reports them again
    if found:
        name, file = next(iter(found.items()))
        raise PipelineError(
            f"{key}: its code imports '{name}' from {file}. DVC does not see edits to that file, because it is outside "
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
    # Not `module.__file__`: lookups on module-like objects such as torch.ops create attributes or load code.
    name = getattr(module, "__dict__", {}).get("__file__")
    return Path(name) if isinstance(name, str) and Path(name).is_absolute() else None


def _check_format(import_path: str) -> str:
    module, _, name = import_path.partition(":")
    if not name.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise ValueError("must be module:callable, such as custom.my_net:build")
    return import_path


ImportPath = Annotated[str, AfterValidator(_check_format)]  # names a callable that creates a network or an optimizer


def import_factory(key: str, import_path: str) -> Callable[..., Any]:
    """Import a callable that creates a network or an optimizer.

    Args:
        key: Key of `params.yaml` that contains the import path, for error messages.
        import_path: `module:callable`.

    Raises:
        PipelineError: The module cannot be imported, is in the project outside `custom/`, or has no such callable.
    """
    name = import_path.partition(":")[2]
    module = _import_module(key, import_path)
    if file := _misplaced_file(module):
        raise PipelineError(
            f"{key}: {import_path} is in {file}. DVC does not see edits to that file, because it is outside {CUSTOM}/, "
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
    """Find the file of the module in an import path. Return None if the module does not exist or has no file."""
    with _project_on_path():
        try:
            found = importlib.util.find_spec(import_path.partition(":")[0])
        except ImportError:  # a parent package is missing
            return None
    return Path(found.origin) if found and found.has_location and found.origin else None


def describe_type(value: object) -> str:
    """Describe the type of a value for an error message."""
    if isinstance(value, type):
        return f"the class {value.__name__} itself"
    return f"a value of type {type(value).__name__}"


def describe_error(error: BaseException) -> str:
    """Describe an exception on one line, with the last line of the user's code in its traceback."""
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
        if name != missing and not name.startswith(f"{missing}."):  # the module exists, but imports a missing one
            raise _import_error(key, name, error) from error
        raise PipelineError(
            f"{key}: module '{missing}' is neither in the project's folder nor installed; {_suggest_module(missing)}"
        ) from None
    except (Exception, SystemExit) as error:
        raise _import_error(key, name, error) from error


def _import_error(key: str, name: str, error: BaseException) -> PipelineError:
    return PipelineError(f"{key}: module '{name}' cannot be imported: it raised {describe_error(error)}.")


def _suggest_module(missing: str) -> str:
    """Suggest the module in `custom/` whose name is closest, whether or not the missing one begins with `custom.`."""
    project = Project().home
    files = [file.relative_to(project) for file in custom_files(project) if file.suffix == ".py"]
    modules = {file.stem: ".".join(file.with_suffix("").parts) for file in files if file.stem != "__init__"}
    if near := find_closest(missing.rpartition(".")[2], modules):
        return f"did you mean {modules[near]}?"
    return f"write it in {CUSTOM}/ and name it {CUSTOM}.{missing.removeprefix(f'{CUSTOM}.')}, or correct the name."
