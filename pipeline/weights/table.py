"""The table of `pipeline weights`: encoders that params.yaml needs, and others whose weights are available."""

from __future__ import annotations

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

Row = tuple[str, ...]


def describe_weights_table(params: Params, folder: WeightsFolder) -> str:
    """Format a table of the encoders that variants need and of other available ones, and how to fetch missing weights.

    Raises:
        PipelineError: `weights/hub.json` cannot be read.
    """
    rows, known, missing = [], set(), []
    for model, variants in list_needed(params):
        row = _describe_needed(model, ", ".join(variants), folder)
        rows.append(row)
        known.add(row[0].removeprefix(TIMM))
        if row[2] == MISSING:
            missing.append(model.encoder)
    rows += [_describe_package(name, UNKNOWN) for name in PACKAGES if name not in known]
    rows += [
        _describe_hub(name, UNKNOWN, found)
        for name, found in folder.read_index().items()
        if name.removeprefix(TIMM) not in known and find_cached(found)
    ]
    lines = align_columns(list(zip(HEADER, *rows, strict=True)), left=range(len(HEADER) - 1))
    if missing:
        lines += ["", f"Fetch the missing weights: pipeline weights fetch {' '.join(missing)}"]
    return "\n".join(lines)


def _describe_needed(model: SmpModel, variants: str, folder: WeightsFolder) -> Row:
    if is_packaged(model.encoder):
        return _describe_package(model.encoder, variants)
    if found := folder.find_hub_file(model.encoder, timm_only=model.architecture == "DPT"):
        return _describe_hub(model.encoder, variants, found)
    try:
        source = find_source(model.encoder, model.architecture)
    except PipelineError as error:
        return (model.encoder, variants, str(error), *(UNKNOWN,) * 4)
    revision = (source.revision or UNKNOWN)[:SHORT]
    return (model.encoder, variants, MISSING, source.repository, revision, source.license or UNKNOWN, UNKNOWN)


def _describe_package(encoder: str, variants: str) -> Row:
    package, _ = PACKAGES[encoder.removeprefix(TIMM)]
    size = format_megabytes(locate_packaged(encoder).stat().st_size)
    return (encoder, variants, PIP, package, UNKNOWN, PACKAGED_LICENSE, size)


def _describe_hub(encoder: str, variants: str, found: HubFile) -> Row:
    status = CACHE if find_cached(found) else MISSING
    size = format_megabytes(found.bytes)
    return (encoder, variants, status, found.repository, found.revision[:SHORT], found.license or UNKNOWN, size)
