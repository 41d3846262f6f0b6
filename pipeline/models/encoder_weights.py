"""Load weights into an encoder using smp or timm, which rename tensors and adapt the first convolution."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from typing import Any

import timm
import torch
from torch import Tensor, nn

from pipeline.artifacts.weights_folder import TIMM
from pipeline.errors import PipelineError
from pipeline.models.normalization import RGB
from pipeline.models.smp import VISION_TRANSFORMER, create_smp_network, resolve_encoder_name
from pipeline.models.weight_files import (
    CLASSIFIERS,
    MAX_SHOWN,
    drop_classifier,
    find_mismatches,
    find_other_shapes,
    strip_prefix,
)
from pipeline.params.model import SmpModel
from pipeline.wording import join_names, pluralize

TIMM_LOADER = logging.getLogger("timm.models._builder")  # timm reports tensors that it cannot load only in its log
_KEYS = re.compile(r"(Missing|Unexpected) keys \((.*?)\)")


def load_encoder(
    encoder: nn.Module, model: SmpModel, tensors: dict[str, Tensor], channels: int, *, is_published: bool
) -> list[str]:
    """Load weights into an encoder in place.

    The tensors have the names of smp's encoder, or those of the library that published the weights. Classifier tensors
    are left out. If timm published the weights, any other tensors that the encoder does not have are left out, too.

    Returns:
        Notes on adapted and omitted tensors.

    Raises:
        PipelineError: The tensors belong to a different encoder, or the first convolution cannot be adapted to the
            number of channels.
    """
    expected = encoder.state_dict()
    named, left_out = drop_classifier(strip_prefix(tensors, expected), expected)
    if not find_mismatches(named, expected):
        encoder.load_state_dict({**expected, **named})
        return _describe(left_out)
    name = resolve_encoder_name(model.encoder, model.architecture)
    with torch.random.fork_rng(devices=[]):  # the libraries initialize the copy before they load its weights
        if name.startswith(TIMM):
            copy, left_out, is_adapted = _load_with_timm(model, name, tensors, expected, channels, is_published)
        else:
            copy, is_adapted = _load_with_smp(model, named, channels), channels != RGB
    encoder.load_state_dict(copy.state_dict())
    adapted = [f"first convolution adapted from {RGB} to {pluralize(channels, 'channel')}"] if is_adapted else []
    return _describe(left_out) + adapted


def _describe(left_out: list[str]) -> list[str]:
    return [f"left out: {join_names(left_out, MAX_SHOWN)}"] if left_out else []


def _load_with_smp(model: SmpModel, tensors: dict[str, Tensor], channels: int) -> nn.Module:
    """Load tensors into a copy of one of smp's own encoders."""
    copy: Any = create_smp_network(model, RGB, 1).get_submodule("encoder")
    expected = copy.state_dict()
    try:
        copy.load_state_dict(dict(tensors))
    except RuntimeError:
        raise _create_error(model, tensors, expected) from None
    copy.set_in_channels(channels, pretrained=True)
    encoder: nn.Module = copy
    return encoder


def _load_with_timm(
    model: SmpModel,
    name: str,
    tensors: dict[str, Tensor],
    expected: dict[str, Tensor],
    channels: int,
    is_published: bool,
) -> tuple[nn.Module, list[str], bool]:
    """Load tensors into a copy of a timm encoder.

    Returns:
        The copy, the names of the omitted tensors, and whether the first convolution was adapted.
    """
    options = VISION_TRANSFORMER if model.architecture == "DPT" else {"num_classes": 0}
    classifier = timm.create_model(name.removeprefix(TIMM), in_chans=channels, **options).state_dict()
    named = strip_prefix(tensors, classifier)
    try:
        with _collect_keys() as (missing, unexpected):
            copy = create_smp_network(model, channels, 1, named).get_submodule("encoder")
    except PipelineError:  # tensors with different shapes
        raise _create_error(model, drop_classifier(named, classifier)[0], classifier) from None
    # timm's wrappers for feature maps add prefixes, and replace dots in names with underscores.
    known = {one.removeprefix("model.").removeprefix("model.").replace(".", "_") for one in expected}
    lost = [key for key in missing if key.replace(".", "_") in known]
    unknown = [key for key in unexpected if key not in classifier and key.split(".")[0] not in CLASSIFIERS]
    if unadapted := [key for key in lost if key in named]:  # timm leaves out a first layer that it cannot adapt
        raise PipelineError(
            f"model.pretrained: timm cannot adapt the weights of {model.encoder} from {RGB} to {channels} channels "
            f"({join_names(unadapted)}). Set pretrained: false, or choose another encoder."
        )
    if lost or (unknown and not is_published):
        raise _create_error(model, drop_classifier(named, classifier)[0], classifier)
    return copy, unexpected, bool(find_other_shapes(named, classifier))


def _create_error(model: SmpModel, tensors: dict[str, Tensor], expected: dict[str, Tensor]) -> PipelineError:
    return PipelineError(
        f"model.pretrained: {model.pretrained if isinstance(model.pretrained, str) else 'the published file'} does not "
        f"fit the encoder {model.encoder}. "
        f"{'. '.join(find_mismatches(tensors, expected))}."
    )


@contextlib.contextmanager
def _collect_keys() -> Iterator[tuple[list[str], list[str]]]:
    """Collect the names of missing and unexpected tensors that timm logs inside the context."""
    found: dict[str, list[str]] = {"Missing": [], "Unexpected": []}

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if match := _KEYS.match(record.getMessage()):
                found[match[1]] += match[2].split(", ")

    collector, level = Collector(), TIMM_LOADER.level
    TIMM_LOADER.addHandler(collector)
    TIMM_LOADER.setLevel(logging.INFO)
    TIMM_LOADER.propagate = False
    try:
        yield found["Missing"], found["Unexpected"]
    finally:
        TIMM_LOADER.removeHandler(collector)
        TIMM_LOADER.setLevel(level)
        TIMM_LOADER.propagate = True
