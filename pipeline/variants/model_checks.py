"""Check before training that a network can be built, and that it accepts the image size and the batch size."""

from __future__ import annotations

from collections.abc import Collection

from pipeline.errors import PipelineError
from pipeline.models.initial_weights import check_weights
from pipeline.params import Cell, Params
from pipeline.params.custom_code import custom_imports, describe_error, import_factory
from pipeline.params.model import CustomModel, SmpModel, compute_smallest_size, is_packaged
from pipeline.variants.data_shape import choose_input_size
from pipeline.wording import format_size

MIN_BATCH = 2  # images; normalization layers of the built-in families accept any larger batch too


def check_models(params: Params, variants: Collection[str]) -> None:
    """Check the networks and optimizers of variants.

    Custom factories are imported, initial weights must be on this machine, and networks that are not known to work are
    tried on one blank image. Encoders with weights in pip packages are known to work, so usually no network is built.
    Custom networks are built when training starts, because the number of classes is not known earlier.

    Raises:
        PipelineError: A network or optimizer cannot be imported or built, its weights are missing, or the network does
            not accept the image size; one line per variant.
    """
    problems = [
        f"variants.{name}: {problem}"
        for name in dict.fromkeys(variants)
        if (problem := _check_variant(params, name)) is not None
    ]
    if problems:
        raise PipelineError("\n".join(problems))


def _check_variant(params: Params, name: str) -> str | None:
    cell = params.cell(name, params.grid.learning_rate[0], params.grid.seed[0])
    try:
        for key, import_path in cell.custom_import_paths.items():
            with custom_imports(key):
                import_factory(key, import_path)
        check_weights(cell.model)
        return find_size_problem(cell, choose_input_size(cell, params.data.size))
    except PipelineError as error:
        return str(error)


def find_size_problem(cell: Cell, size: tuple[int, int]) -> str | None:
    """Describe why a network does not accept images of `size` (height and width, px); None if no problem is known."""
    model, key = cell.model, "data.image_size" if cell.train.patch is None else "train.patch_size"
    if (side := min(size)) < (smallest := compute_smallest_size(model)):
        name = model.architecture if isinstance(model, SmpModel) else "this network"
        return f"{key}: must be at least {smallest} for {name}, but is {side}."
    if not isinstance(model, SmpModel):
        return None
    if is_packaged(model.encoder) and model.architecture != "DPT":
        return None  # a test covers each architecture with these encoders at its minimum size
    return _try_image(model.model_copy(update={"pretrained": False}), size, key)


def _try_image(model: SmpModel, size: tuple[int, int], key: str) -> str | None:
    import torch

    from pipeline.models.factory import build_network

    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            network = build_network(model, channels=3, classes=2).eval()
        except PipelineError as error:
            return str(error)
        try:
            shape = tuple(network(torch.zeros(1, 3, *size)).shape)
        except Exception as error:  # encoders raise exceptions of many types
            problem = describe_error(error)
        else:
            if shape == (1, 2, *size):
                return None
            problem = f"its logits have shape {shape}"
    return (
        f"model.encoder: {model.architecture} with {model.encoder} cannot process images of {format_size(size)}: "
        f"{problem}. Choose another encoder or another {key}."
    )


def check_batch(cell: Cell, num_samples: int, size: tuple[int, int], channels: int, classes: int) -> None:
    """Try the smallest batch of a run in training mode.

    Normalization layers cannot be trained on a single value per channel. A batch of one image has only one after global
    pooling, and at the bottom of a deep network on small images. The check runs only for such batches and for custom
    networks, on a separate copy of the network.

    Args:
        cell: Cell of the grid.
        num_samples: Number of images or patches in an epoch.
        size: Height and width of an image or patch, px.
        channels: Number of channels of the images.
        classes: Number of classes of the masks.

    Raises:
        PipelineError: The network does not accept the batch.
    """
    import torch

    from pipeline.models.factory import build_network

    batch = min(cell.train.batch_size, num_samples)
    if batch >= MIN_BATCH and not isinstance(cell.model, CustomModel):
        return
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        network = build_network(cell.model, channels, classes).train()
        try:
            network(torch.zeros(min(batch, MIN_BATCH), channels, *size))
        except (Exception, SystemExit) as error:
            raise PipelineError(_describe_batch_problem(cell, num_samples, size, error)) from error


def _describe_batch_problem(cell: Cell, num_samples: int, size: tuple[int, int], error: BaseException) -> str:
    shape = format_size(size)
    where = f"variants.{cell.variant}: model:"
    if "Expected more than 1 value per channel" in str(error) and num_samples < MIN_BATCH:
        kind = "image" if cell.train.patch is None else "patch"
        return (
            f"{where} training has {num_samples} {kind} per epoch, so train.batch_size: {cell.train.batch_size} "
            f"gives batches of 1 {kind} of {shape}, in which a normalization layer of this network has only 1 value "
            "per channel and cannot be trained. Train on 2 images or more (add images, or give validation and test "
            "fewer), or choose a network without global pooling or with fewer downsamplings, such as family: unet."
        )
    return (
        f"{where} the network cannot be trained on images of {shape}: in training mode it raised "
        f"{describe_error(error)}. Change the network or data.image_size."
    )
