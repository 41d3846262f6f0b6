"""Load the initial weights of a network's encoder or of the whole network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from pipeline.artifacts.project import Project
from pipeline.artifacts.weights_folder import TIMM, HubFile, WeightsRecord
from pipeline.errors import PipelineError
from pipeline.models.initial_weights import describe_weights, find_hub_file, hash_weights, locate_hub_file
from pipeline.models.normalization import IMAGENET, NORMALIZE, Normalize
from pipeline.models.weight_files import find_mismatches, read_tensors, replace_last_layer, strip_prefix
from pipeline.params.model import Model, SmpModel, is_packaged

ENCODER = "encoder."
IN_RUN = "1."  # prefix of the network, which comes after the normalization, in the weights of a run


def load_initial_weights(
    normalize: Normalize, network: nn.Module, model: Model, channels: int, classes: int
) -> WeightsRecord:
    """Load the weights specified by `model.pretrained`, and set the normalization that they expect.

    Args:
        normalize: normalization of the images before the network.
        network: network with random weights.
        model: the `model` section of the parameters, with `pretrained` not false.
        channels: number of channels of the images.
        classes: number of classes of the masks.

    Returns:
        The record of the weights, with notes on adapted, initialized and omitted tensors.

    Raises:
        PipelineError: The weights are missing or damaged, or belong to a different network.
    """
    record = describe_weights(model)
    assert record is not None
    if isinstance(model.pretrained, str):
        notes = _load_file(Project().weights.locate(model.pretrained), normalize, network, model, channels, classes)
    else:
        assert isinstance(model, SmpModel)
        notes = _load_published(normalize, network, model, channels)
    return replace(record, notes=tuple(notes))


def _load_published(normalize: Normalize, network: nn.Module, model: SmpModel, channels: int) -> list[str]:
    encoder = network.get_submodule("encoder")
    if is_packaged(model.encoder):  # these weights expect the default normalization
        from pipeline.models.smp import load_packaged_encoder

        load_packaged_encoder(encoder, model.encoder, channels)
        return []
    from pipeline.models.encoder_weights import load_encoder

    found = find_hub_file(model, Project().weights)
    path = locate_hub_file(model, found)
    _verify(path, found, model.encoder)
    normalize.set_statistics(found.mean, found.std, channels)
    return load_encoder(encoder, model, read_tensors(path), channels, is_published=True)


def _verify(path: Path, expected: HubFile, encoder: str) -> None:
    if (found := hash_weights(path)) != expected.sha256:
        raise PipelineError(
            f"{path} has the SHA-256 {found}, but weights/hub.json records {expected.sha256}. The file is damaged or "
            f"was replaced. Run `pipeline weights fetch {encoder}` to fetch it again."
        )


def _load_file(
    path: Path, normalize: Normalize, network: nn.Module, model: Model, channels: int, classes: int
) -> list[str]:
    tensors = read_tensors(path)
    statistics = [tensors.pop(f"{NORMALIZE}{name}", None) for name in ("mean", "std")]
    is_run = all(name.startswith(IN_RUN) for name in tensors)
    expected = network.state_dict()
    if isinstance(model, SmpModel) and not _has_decoder(strip_prefix(tensors, expected), expected):
        from pipeline.models.encoder_weights import load_encoder

        normalize.set_statistics(*_find_statistics(model), channels)
        return load_encoder(network.get_submodule("encoder"), model, tensors, channels, is_published=False)
    tensors, note = replace_last_layer(strip_prefix(tensors, expected), expected, classes)
    if mismatches := find_mismatches(tensors, expected):
        raise PipelineError(f"model.pretrained: {model.pretrained} does not fit this network. {'. '.join(mismatches)}.")
    network.load_state_dict({**expected, **tensors})
    mean, std = statistics
    if mean is not None and std is not None:
        normalize.copy_statistics(mean, std, channels)
    elif isinstance(model, SmpModel) and not is_run:
        normalize.set_statistics(*_find_statistics(model), channels)
    return [note] if note else []


def _has_decoder(tensors: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return any(name in expected and not name.startswith(ENCODER) for name in tensors)


def _find_statistics(model: SmpModel) -> tuple[Sequence[float], Sequence[float]]:
    """Return the normalization that goes with the encoder's published weights, for use with other weights."""
    import timm

    from pipeline.models.smp import resolve_encoder_name

    name = resolve_encoder_name(model.encoder, model.architecture)
    config = timm.get_pretrained_cfg(name.removeprefix(TIMM)) if name.startswith(TIMM) else None
    return (config.mean, config.std) if config else IMAGENET
