"""What of a variant only its network can tell, asked before anything runs."""

from __future__ import annotations

from collections.abc import Collection

from pipeline.errors import PipelineError
from pipeline.params import Cell, Params
from pipeline.params.custom_code import custom_imports
from pipeline.params.import_path import describe_error, import_factory
from pipeline.params.model import Model, SmpModel, has_weights


def check_models(params: Params, variants: Collection[str]) -> None:
    """Look up what an import path names, build what is not known to work, and try it on an image of the data's size.

    Of the family `smp`, encoders with pretrained weights are known to work, so that usually nothing is imported and
    nothing built. A network of the user's is built when its training begins: only then are its classes known.

    Args:
        params: the whole of `params.yaml`.
        variants: which of its variants to look at.

    Raises:
        PipelineError: A line for each variant whose network or optimiser cannot be found or built, or whose network
            cannot take such images.
    """
    found = [
        f"variants.{name}: {mistake}"
        for name in dict.fromkeys(variants)
        if (mistake := _mistake(_cell(params, name), params.data.image_size))
    ]
    if found:
        raise PipelineError("\n".join(found))


def _mistake(cell: Cell, size: int) -> str | None:
    try:
        for key, factory in cell.custom_factories.items():
            with custom_imports(key):
                import_factory(key, factory)
    except PipelineError as error:
        return str(error)
    return model_mistake(cell.model, size)


def model_mistake(model: Model, size: int) -> str | None:
    """A sentence on why a network cannot take images of `size` x `size` px; None where it can, or nobody knows."""
    if size % model.size_divisor:
        return f"data.image_size: {size} px is no multiple of {model.size_divisor}, which its network needs."
    if not isinstance(model, SmpModel):
        return None
    if size < model.smallest_size:
        return f"data.image_size: {model.architecture} needs {model.smallest_size} px or more, but it is {size}."
    if has_weights(model.encoder) and model.architecture != "DPT":
        return None  # a test tries each architecture on these, at its smallest size
    return _trial(model, size)


def _cell(params: Params, variant: str) -> Cell:
    return params.cell(variant, params.grid.learning_rate[0], params.grid.seed[0])


def _trial(model: SmpModel, size: int) -> str | None:
    import torch

    from pipeline.models.factory import build_network

    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            network = build_network(model, channels=3, classes=2).eval()
        except PipelineError as error:
            return str(error)
        try:
            shape = tuple(network(torch.zeros(1, 3, size, size)).shape)
        except Exception as error:  # each encoder refuses a size in its own way
            said = describe_error(error)
        else:
            if shape == (1, 2, size, size):
                return None
            said = f"its logits are of shape {shape}"
    return (
        f"model.encoder: {model.architecture} on {model.encoder} cannot take images of {size} px: {said}. "
        "Choose another encoder or another data.image_size."
    )
