"""Find where smp and timm publish the weights of encoders, and which of these weights params.yaml needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pipeline.artifacts.weights_folder import TIMM
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.params.model import SmpModel, is_packaged

Statistics = tuple[float, ...]
DEFAULT_SETTING = "imagenet"  # preferred weights of smp's encoders; some encoders have only others


@dataclass(frozen=True)
class HubSource:
    """A repository of the Hugging Face hub with the weights of an encoder."""

    encoder: str  # key in the index of `weights/`
    library: Literal["smp", "timm"]
    repository: str
    revision: str | None  # None if the library does not pin one
    license: str | None  # None if it must be read from the hub
    statistics: tuple[Statistics, Statistics] | None  # mean and standard deviation; None if to be read from the hub


def find_source(encoder: str, architecture: str = "Unet") -> HubSource:
    """Find the weights that the installed versions of smp and timm publish for an encoder.

    Raises:
        PipelineError: The encoder is unknown, or has no weights on the hub.
    """
    import timm
    from segmentation_models_pytorch.encoders import encoders as own

    from pipeline.models.smp import resolve_encoder_name

    name = resolve_encoder_name(encoder, architecture)
    bare = name.removeprefix(TIMM)
    if name == bare:
        settings = own[name]["pretrained_settings"]
        setting = settings.get(DEFAULT_SETTING) or next(iter(settings.values()))
        return HubSource(name, "smp", setting["repo_id"], setting["revision"], None, None)
    config = timm.get_pretrained_cfg(bare)
    if config is None or not config.hf_hub_id:
        raise PipelineError(
            f"{encoder}: timm publishes no weights for it on the Hugging Face hub. Choose another encoder, set "
            "pretrained: false, or put a file with weights into weights/ and name it in model.pretrained."
        )
    repository, _, revision = config.hf_hub_id.partition("@")
    key = name if bare in own else bare
    statistics = (config.mean, config.std)
    return HubSource(key, "timm", repository, revision or None, config.license, statistics)


def list_needed(params: Params) -> Iterator[tuple[SmpModel, list[str]]]:
    """Yield one model per encoder that starts from published weights, with the names of the variants that use it.

    Encoders of variants in the grid come first.
    """
    needed: dict[str, tuple[SmpModel, list[str]]] = {}
    for name in dict.fromkeys([*params.grid.variant, *params.variants]):
        model = params.cell(name, params.grid.learning_rate[0], params.grid.seed[0]).model
        if isinstance(model, SmpModel) and model.pretrained is True:
            needed.setdefault(model.encoder, (model, []))[1].append(name)
    yield from needed.values()


def list_needed_from_hub(params: Params) -> list[SmpModel]:
    """List the models that start from published weights which are not in a pip package."""
    return [model for model, _ in list_needed(params) if not is_packaged(model.encoder)]
