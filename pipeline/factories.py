"""What `params.yaml` names by an import path, `module:callable`, in the project's folder or installed.

Whatever goes wrong in the user's own code is said in a sentence with the key, the error and the line.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline.errors import PipelineError
from pipeline.project import project_folder

NOT_OWN = {"pipeline", "data", "runs", "evaluation", "comparison", "showcase", "reports", "mlruns", "studies", "docs"}
NOT_OWN |= {"tests", "benchmarks", "build", "dist"}  # folders of the project that hold none of the user's modules


@contextmanager
def project_on_path() -> Iterator[None]:
    """The project's folder first, as `python -m` has it; a console script has only its own folder there."""
    here = str(project_folder())
    sys.path.insert(0, here)
    importlib.invalidate_caches()  # the finders may have listed the folder before the module was written
    try:
        yield
    finally:
        sys.path.remove(here)


def find_factory(key: str, factory: str) -> Callable[..., Any]:
    """The callable that a key of `params.yaml` names.

    Raises:
        PipelineError: The module does not import, or the name is missing in it or cannot be called.
    """
    name = factory.partition(":")[2]
    module = _module(key, factory)
    if not hasattr(module, name):
        names = [known for known, value in vars(module).items() if callable(value) and not known.startswith("_")]
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"define {name} there."
        raise PipelineError(
            f"{key}: there is no '{name}' in {getattr(module, '__file__', None) or module.__name__}; {hint}"
        )
    found = getattr(module, name)
    if not callable(found):
        raise PipelineError(f"{key}: {factory} must be something to call, but is {kind(found)}.")
    callable_: Callable[..., Any] = found
    return callable_


def factory_file(factory: str) -> Path | None:
    """The file that a factory's module is read from; None where Python finds none."""
    with project_on_path():
        try:
            found = importlib.util.find_spec(factory.partition(":")[0])
        except ImportError:  # of a package around it
            return None
    return Path(found.origin) if found and found.has_location and found.origin else None


def kind(value: object) -> str:
    """What something is that was to be something else."""
    return (
        f"the class {value.__name__} itself" if isinstance(value, type) else f"a value of type {type(value).__name__}"
    )


def in_words(error: BaseException) -> str:
    """What the user's code raised, on one line, and the last place of it that is the project's own."""
    here = project_folder()
    package = Path(__file__).parent
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


def _module(key: str, factory: str) -> ModuleType:
    name = factory.partition(":")[0]
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name != missing and not name.startswith(f"{missing}."):  # the module is there, and misses another one
            raise _import_error(key, name, error) from error
        files = [path.stem for path in project_folder().iterdir() if path.suffix == ".py" or path.is_dir()]
        near = difflib.get_close_matches(missing, files, n=1)
        hint = f"did you mean {near[0]}?" if near else "write it there, or correct the name."
        raise PipelineError(
            f"{key}: there is no module '{missing}' in the project's folder, nor is one installed; {hint}"
        ) from None
    except (Exception, SystemExit) as error:
        raise _import_error(key, name, error) from error


def _import_error(key: str, name: str, error: BaseException) -> PipelineError:
    return PipelineError(f"{key}: module '{name}' cannot be imported, it raised {in_words(error)}.")


def own_modules(project: Path) -> list[Path]:
    """Every module of the user's in the project's folder: what a network or an optimiser of the user's may import."""
    found = []
    for folder, folders, files in os.walk(project):
        here = Path(folder)
        skipped = NOT_OWN if here == project else set()
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith((".", "__")) and name not in skipped and not (here / name / "pyvenv.cfg").exists()
        )
        found += [here / name for name in sorted(files) if name.endswith(".py")]
    return found
