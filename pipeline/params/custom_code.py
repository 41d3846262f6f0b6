"""Find users' own code and check that it is in `custom/`, so that DVC retrains after an edit.

dvc.yaml lists `custom/` as a dependency of every stage that builds a network. Code imported from elsewhere in the
project would be invisible to DVC, so it is refused.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from pipeline.artifacts.project import Project
from pipeline.errors import PipelineError

CUSTOM = Path("custom")
BYTECODE = "__pycache__"
_PACKAGE = Path(__file__).parents[1]
_SITE_FOLDERS = {"site-packages", "dist-packages"}


def custom_files(project: Path) -> list[Path]:
    """List every file of `custom/`, data files included, except bytecode caches, in a stable order."""
    files = (path for path in (project / CUSTOM).rglob("*") if path.is_file())
    return sorted(path for path in files if BYTECODE not in path.parts)


def misplaced_file(module: ModuleType) -> Path | None:
    """Return the file of a module inside the project but outside `custom/`, this package and installed packages."""
    file, project = _file(module), Project().home
    if file is None or not any(one.is_relative_to(project.resolve()) for one in (file, file.resolve())):
        return None
    known = (_PACKAGE, Path(sysconfig.get_path("stdlib")))
    if any(file.is_relative_to(folder) for folder in known) or _SITE_FOLDERS & set(file.parts):
        return None
    folder = file.parent.resolve()  # DVC follows a linked file, but no linked folder inside of custom/
    return None if folder.is_relative_to((project / CUSTOM).resolve()) else folder / file.name


def suggested_name(file: Path) -> str:
    """Return the import path that a module of the project has once it is moved to `custom/`."""
    return f"{CUSTOM}.{file.parent.name if file.name == '__init__.py' else file.stem}"


@contextlib.contextmanager
def project_on_path() -> Iterator[None]:
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

    Args:
        key: of `params.yaml`, for the message.

    Raises:
        PipelineError: The code imported a module from elsewhere in the project.
    """
    before = set(sys.modules)
    with project_on_path():
        try:
            yield
        finally:
            found = {name: file for name, module in _loaded_since(before) if (file := misplaced_file(module))}
            if found:
                _unload(before)  # otherwise a second attempt in this process would find nothing newly imported
    if found:
        name, file = next(iter(found.items()))
        raise PipelineError(
            f"{key}: its code imports '{name}' from {file}. DVC does not see edits of that file, because it is outside "
            f"{CUSTOM}/, and would keep old results. Move it to {CUSTOM}/ and import it as {suggested_name(file)}."
        )


def _loaded_since(before: set[str]) -> list[tuple[str, ModuleType]]:
    return [(name, module) for name, module in list(sys.modules.items()) if name not in before and module is not None]


def _unload(before: set[str]) -> None:
    custom = Project().home / CUSTOM
    for name, module in _loaded_since(before):
        file = _file(module)
        if misplaced_file(module) or (file and file.is_relative_to(custom)):
            del sys.modules[name]


def _file(module: ModuleType) -> Path | None:
    # Not getattr(): objects that only pose as modules, such as torch.ops, invent attributes or load code.
    name = getattr(module, "__dict__", {}).get("__file__")
    return Path(name) if isinstance(name, str) and Path(name).is_absolute() else None
