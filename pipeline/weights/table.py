"""The table of `pipeline weights`: encoders that params.yaml needs, and others whose weights are available."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.artifacts.weights_folder import SHORT, TIMM, HubFile, WeightsFolder
from pipeline.errors import PipelineError
from pipeline.models.initial_weights import PACKAGED_LICENSE, PACKAGES, find_cached, locate_packaged
from pipeline.params import Params
from pipeline.params.model import SmpModel, is_packaged
from pipeline.weights.sources import find_source, list_needed
from pipeline.wording import align_columns, format_megabytes

HEADER = ("encoder", "needed by", "weights", "source", "revision", "license", "size")
PIP, CACHE, MISSING = "pip package", "in the cache", "missing"
UNKNOWN = "-"


@dataclass(frozen=True)
class EncoderWeights:
    """The weights of an encoder, and where they are; unknown values are None."""

    encoder: str
    needed_by: tuple[str, ...]  # names of variants
    status: str  # PIP, CACHE, MISSING, or why the encoder has no weights
    source: str | None = None  # pip package, or repository on the hub
    revision: str | None = None
    license: str | None = None
    bytes: int | None = None


def list_weights(params: Params, folder: WeightsFolder) -> list[EncoderWeights]:
    """List the weights of the encoders that variants need, then other available ones.

    Raises:
        PipelineError: `weights/hub.json` cannot be read.
    """
    rows = [_find_needed(model, tuple(variants), folder) for model, variants in list_needed(params)]
    known = {row.encoder.removeprefix(TIMM) for row in rows}
    rows += [_describe_package(name) for name in PACKAGES if name not in known]
    rows += [
        _describe_hub(name, found)
        for name, found in folder.read_index().items()
        if name.removeprefix(TIMM) not in known and find_cached(found)
    ]
    return rows


def format_weights_table(rows: Sequence[EncoderWeights]) -> str:
    """Format a table of weights, and the command that fetches missing ones."""
    cells = [
        (
            row.encoder,
            ", ".join(row.needed_by) or UNKNOWN,
            row.status,
            row.source or UNKNOWN,
            (row.revision or UNKNOWN)[:SHORT],
            row.license or UNKNOWN,
            UNKNOWN if row.bytes is None else format_megabytes(row.bytes),
        )
        for row in rows
    ]
    lines = align_columns(list(zip(HEADER, *cells, strict=True)), left=range(len(HEADER) - 1))
    if missing := [row.encoder for row in rows if row.status == MISSING]:
        lines += ["", f"Fetch the missing weights: pipeline weights fetch {' '.join(missing)}"]
    return "\n".join(lines)


def _find_needed(model: SmpModel, variants: tuple[str, ...], folder: WeightsFolder) -> EncoderWeights:
    if is_packaged(model.encoder):
        return _describe_package(model.encoder, variants)
    if found := folder.find_hub_file(model.encoder, timm_only=model.architecture == "DPT"):
        return _describe_hub(model.encoder, found, variants)
    try:
        source = find_source(model.encoder, model.architecture)
    except PipelineError as error:
        return EncoderWeights(model.encoder, variants, str(error))
    return EncoderWeights(model.encoder, variants, MISSING, source.repository, source.revision, source.license)


def _describe_package(encoder: str, variants: tuple[str, ...] = ()) -> EncoderWeights:
    package, _ = PACKAGES[encoder.removeprefix(TIMM)]
    size = locate_packaged(encoder).stat().st_size
    return EncoderWeights(encoder, variants, PIP, package, license=PACKAGED_LICENSE, bytes=size)


def _describe_hub(encoder: str, found: HubFile, variants: tuple[str, ...] = ()) -> EncoderWeights:
    status = CACHE if find_cached(found) else MISSING
    return EncoderWeights(encoder, variants, status, found.repository, found.revision, found.license, found.bytes)
