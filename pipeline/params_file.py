"""Reads `params.yaml` as DVC does, and checks what no single key shows, for each variant, before anything runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.errors import PipelineError
from pipeline.params import Params, validate

PARAMS_FILE = Path("params.yaml")
VARIANT_NAME = re.compile(r"[a-z0-9_]+")


def read_params(path: Path = PARAMS_FILE) -> Params:
    """Read and check a parameter file, all variants of its grid included.

    Raises `PipelineError` with every mistake found, a line each.
    """
    try:
        # The parser that DVC uses: YAML 1.2, where 1e-3 is a number.
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PipelineError(f"{path} is missing. Run this in the project's folder, where {path} stands.") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise PipelineError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise PipelineError(f"{path} must hold sections such as data: and grid:, but holds {content!r}.")
    try:
        params = validate(Params, content, "")
        mistakes = _cross_checks(params)
    except PipelineError as error:
        mistakes = str(error).splitlines()
    if mistakes:
        raise PipelineError("\n".join(f"{path}: {mistake}" for mistake in mistakes))
    return params


def _cross_checks(params: Params) -> list[str]:
    """What no single key shows: names, doubles, sizes and counts that do not fit together."""
    mistakes = [
        f"variants.{name}: a variant's name may hold a-z, 0-9 and _, since folders are named by it; rename it."
        for name in params.variants
        if not VARIANT_NAME.fullmatch(name)
    ]
    for key in ("variant", "learning_rate", "seed"):
        values = getattr(params.grid, key)
        mistakes += [
            f"grid.{key}: {value} stands there more than once; a cell is trained once, remove the double."
            for value in sorted(set(values))
            if values.count(value) > 1
        ]
    for name, overrides in params.variants.items():
        mistakes += _variant_checks(params, name, overrides)
    return mistakes + [
        f"grid.variant: '{name}' is not among variants: {', '.join(params.variants)}. Define it there or remove it."
        for name in params.grid.variant
        if name not in params.variants
    ]


def _variant_checks(params: Params, name: str, overrides: dict[str, Any]) -> list[str]:
    where = f"variants.{name}"
    if foreign := sorted(set(overrides) - {"model", "train", "data"}):
        return [f"{where}.{key}: a variant may override model, train and data.train_images only." for key in foreign]
    if isinstance(overrides.get("data"), dict) and set(overrides["data"]) - {"train_images"}:
        return [f"{where}.data: a variant may override train_images only; all runs share the prepared data."]
    try:
        cell = params.cell(name, params.grid.learning_rate[0], params.grid.seed[0])
    except PipelineError as error:
        return str(error).splitlines()
    mistakes = []
    size, divisor = params.data.image_size, cell.model.size_divisor
    if size % divisor:
        below, above = size // divisor * divisor, (size // divisor + 1) * divisor
        nearest = f"{below} or {above}" if below else str(above)
        mistakes.append(
            f"data.image_size: {size} px cannot be halved as often as variant '{name}' needs (multiples of {divisor}); "
            f"set {nearest}, or a smaller depth."
        )
    if cell.train_images is not None and cell.train_images > params.data.samples.train:
        mistakes.append(
            f"{where}: train_images is {cell.train_images}, more than data.samples.train, {params.data.samples.train}."
        )
    return mistakes
