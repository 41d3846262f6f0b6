"""A user's own network: `model.factory` names a callable in the project's folder, and this builds and probes it.

DVC does not know of the user's module: unless it stands among the deps of `train` in dvc.yaml, an edit to it trains
nothing again, and old runs pass for new ones. docs/your-own-variant.md says how to add it.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.errors import PipelineError
from pipeline.params.model import OwnModel

PROBE = 64  # px; small, yet more than a pixel is left after five halvings, which instance normalisation needs


def own_network(model: OwnModel, channels: int, classes: int) -> nn.Module:
    """Import the factory from the current folder, call it, and try what it returns on two blank images.

    Args:
        model: `factory` is called as `build(channels=..., classes=...)`; height and width of the probe are the smallest
            multiple of `size_divisor` from `PROBE` on.
        channels: of the images, which come as N x C x H x W in -1..1.
        classes: of the masks; the network must answer with logits N x classes x H x W.

    Raises:
        PipelineError: The module does not import, the name is missing or cannot be called, or what it returns is no
            network that can be trained, kept and asked for masks.
    """
    with _project_on_path():
        network = _built(model.factory, channels, classes)
        _probe(network, model, channels, classes)
    _check_parameters(network, model.factory)
    return network


def factory_file(factory: str) -> Path | None:
    """The file that a factory's module is read from; None where Python finds none."""
    with _project_on_path():
        try:
            found = importlib.util.find_spec(factory.partition(":")[0])
        except ImportError:  # of a package around it
            return None
    return Path(found.origin) if found and found.has_location and found.origin else None


@contextmanager
def _project_on_path() -> Iterator[None]:
    """The current folder first, as `python -m` has it; a console script has only its own folder there."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    importlib.invalidate_caches()  # the finders may have listed the folder before the module was written
    try:
        yield
    finally:
        sys.path.remove(here)


def _built(factory: str, channels: int, classes: int) -> nn.Module:
    name = factory.partition(":")[2]
    build = _callable(factory)
    try:
        network = build(channels=channels, classes=classes)
    except (Exception, SystemExit) as error:
        raise PipelineError(
            f"model.factory: {name}(channels={channels}, classes={classes}) of {factory} raised {_words(error)}."
        ) from error
    if not isinstance(network, nn.Module):
        raise PipelineError(f"model.factory: {factory} must return a torch.nn.Module, but returned {_kind(network)}.")
    return network


def _callable(factory: str) -> Callable[..., Any]:
    name = factory.partition(":")[2]
    module = _module(factory)
    if not hasattr(module, name):
        names = [known for known, value in vars(module).items() if callable(value) and not known.startswith("_")]
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"define {name}(channels, classes) there."
        raise PipelineError(f"model.factory: there is no '{name}' in {module.__file__ or factory}; {hint}")
    build = getattr(module, name)
    if not callable(build):
        raise PipelineError(f"model.factory: {factory} must be something to call, but is {_kind(build)}.")
    found: Callable[..., Any] = build
    return found


def _module(factory: str) -> ModuleType:
    name = factory.partition(":")[0]
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name != missing and not name.startswith(f"{missing}."):  # the module is there, and misses another one
            raise _import_error(name, error) from error
        files = [path.stem for path in Path().iterdir() if path.suffix == ".py" or path.is_dir()]
        near = difflib.get_close_matches(missing, files, n=1)
        hint = f"did you mean {near[0]}?" if near else "write it there, or correct the name."
        raise PipelineError(
            f"model.factory: there is no module '{missing}' in the project's folder, nor is one installed; {hint}"
        ) from None
    except (Exception, SystemExit) as error:
        raise _import_error(name, error) from error


def _import_error(name: str, error: BaseException) -> PipelineError:
    return PipelineError(f"model.factory: module '{name}' cannot be imported, it raised {_words(error)}.")


def _probe(network: nn.Module, model: OwnModel, channels: int, classes: int) -> None:
    """Run two blank images through the network and leave it, and torch's generator, as they were."""
    side = -(-PROBE // model.size_divisor) * model.size_divisor
    images = torch.zeros(2, channels, side, side)
    was_training = network.training
    network.eval()  # running statistics stay as they are
    try:
        # no_grad and not inference_mode: a lazy layer makes its weights now, and they are to be trained.
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            output = network(images)
    except (Exception, SystemExit) as error:
        raise PipelineError(
            f"model.factory: the network of {model.factory} raised {_words(error)}, when given images of shape "
            f"{tuple(images.shape)}."
        ) from error
    network.train(was_training)
    expected = (2, classes, side, side)
    if not isinstance(output, Tensor) or tuple(output.shape) != expected or not output.is_floating_point():
        raise PipelineError(
            f"model.factory: the network of {model.factory} must answer images of shape {tuple(images.shape)} with "
            f"logits of shape {expected}, but answered with {_kind(output)}."
        )


def _check_parameters(network: nn.Module, factory: str) -> None:
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise PipelineError(f"model.factory: the network of {factory} has no parameter that training may change.")
    places: dict[int, str] = {}
    for name, tensor in network.state_dict().items():
        if isinstance(tensor, Tensor) and tensor.numel():
            first = places.setdefault(tensor.data_ptr(), name)
            if first != name:  # found now, or only after hours of training
                raise PipelineError(
                    f"model.factory: {first} and {name} of {factory} are one tensor, which safetensors cannot keep "
                    "under two names; register it once, and use it twice in forward()."
                )


def _kind(value: object) -> str:
    if isinstance(value, Tensor):
        return f"shape {tuple(value.shape)} of {value.dtype}"
    return (
        f"the class {value.__name__} itself" if isinstance(value, type) else f"a value of type {type(value).__name__}"
    )


def _words(error: BaseException) -> str:
    """What the user's code raised, on one line, and the last place of it that is the project's own."""
    here = Path.cwd()
    places = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(here)
        and "site-packages" not in frame.filename
        and frame.filename != __file__
    ]
    where = f" in {Path(places[-1].filename).name}, line {places[-1].lineno}" if places else ""
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}{f' ({said[0]})' if said else ''}{where}"
