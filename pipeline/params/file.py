"""Read `params.yaml` as DVC does, and check it, including its variants."""

from __future__ import annotations

import copy
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.errors import PipelineError
from pipeline.imaging.instances import BORDER
from pipeline.params import Cell, Params, validate
from pipeline.params.data import find_data_mistakes, find_mask_section
from pipeline.params.data.composites import CompositesData
from pipeline.params.data.fields import list_values
from pipeline.params.data.image_data import CategoryData, FilePatterns, MaskData
from pipeline.params.merge_conflict import find_conflict
from pipeline.params.model import KerasPetsModel, SmpModel, UNetModel, compute_smallest_size
from pipeline.params.objects import find_object_mistakes
from pipeline.params.ranking import find_ranking_mistakes
from pipeline.params.train import find_weight_mistakes

PARAMS_FILE = Path("params.yaml")
VARIANT_NAME = re.compile(r"[a-z0-9_]+")


def read_params(path: Path = PARAMS_FILE) -> Params:
    """Read and check a parameter file, including its variants.

    Raises:
        PipelineError: The file cannot be read or is invalid. The message has one line per error.
    """
    return check_params(read_sections(path), str(path))


def read_sections(path: Path, parser: YAML | None = None) -> dict[str, Any]:
    """Read the sections of a YAML file without checking them.

    Args:
        path: The file.
        parser: Parser whose result keeps comments, for example; None for `parse_yaml`.

    Raises:
        PipelineError: The file cannot be read, or its content is not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = parse_yaml(text) if parser is None else parser.load(text)
    except FileNotFoundError:
        raise PipelineError(f"{path} is missing. Run this in the project's folder, which contains {path}.") from None
    except OSError as error:
        raise PipelineError(f"{path} cannot be read: {error.strerror}.") from None
    except (YAMLError, UnicodeDecodeError) as error:
        if conflict := find_conflict(path.read_text(encoding="utf-8", errors="replace")):
            raise PipelineError(f"{path}: {conflict}") from None
        raise PipelineError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(content, dict):
        found = "is empty" if content is None else f"is a {type(content).__name__}"
        raise PipelineError(f"{path} {found}; it must be a mapping with sections such as `data` and `grid`.")
    return content


def parse_yaml(text: str) -> Any:
    """Parse YAML 1.2, as DVC does: 1e-3 is a number.

    Parsing `params.yaml` takes longer than checking it, and many commands read the same text several times, so the
    results for the latest texts are kept. The parser is written in Python: the one in C (`ruamel.yaml.clib`) does not
    read colons in `{class: custom.nets:Net}`, and its messages do not show the line.

    Raises:
        YAMLError: The text is not valid.
    """
    return copy.deepcopy(_parse_yaml(text))


@lru_cache(maxsize=64)
def _parse_yaml(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def check_params(content: dict[str, Any], where: str) -> Params:
    """Check the content of a parameter file, including its variants.

    Raises:
        PipelineError: The content is invalid. The message has one line per error, which starts with `where`.
    """
    try:
        params = validate(Params, content, "")
        mistakes = _check_across_keys(params)
    except PipelineError as error:
        mistakes = str(error).splitlines()
    if mistakes:
        raise PipelineError("\n".join(f"{where}: {mistake}" for mistake in mistakes))
    return params


def _check_across_keys(params: Params) -> list[str]:
    """Find invalid names, duplicates, and keys that contradict each other."""
    mistakes = [
        f"variants.{name}: a variant's name may contain a-z, 0-9 and _ only, since it names folders; rename it."
        for name in params.variants
        if not VARIANT_NAME.fullmatch(name)
    ]
    for key in ("variant", "learning_rate", "seed"):
        values = getattr(params.grid, key)
        mistakes += [
            f"grid.{key}: {value} is listed more than once; remove the duplicate."
            for value in sorted(set(values))
            if values.count(value) > 1
        ]
    mistakes += find_data_mistakes(params.data)
    mistakes += _check_objects(params)
    mistakes += _check_showcase(params)
    mistakes += find_ranking_mistakes(params)
    for name in params.variants:
        mistakes += _check_variant(params, name)
    return mistakes + [
        f"grid.variant: '{name}' is not among variants: {', '.join(params.variants)}. Define it there or remove it."
        for name in params.grid.variant
        if name not in params.variants
    ]


def _check_showcase(params: Params) -> list[str]:
    """Find masks of showcase images, which are single files, although each mask of the data has several files."""
    is_composed = isinstance(params.data, CompositesData)
    key, data = "data.external_test" if is_composed else "data", find_mask_section(params.data)
    if not isinstance(data, FilePatterns) or not data.mask_part:
        return []
    return [
        f"report.showcase[{index}].mask: must be null if {key}.masks has {{{data.mask_part}}}, because a mask then has "
        f"several files, but is '{image.mask}'; remove it to show only the prediction."
        for index, image in enumerate(params.report.showcase)
        if image.mask is not None
    ]


def _check_objects(params: Params) -> list[str]:
    """Find classes of objects that do not fit the data. Those of other sources are known only after `prepare`."""
    names, data = params.evaluation.objects, params.data
    if names == [] or not isinstance(data, MaskData | CategoryData):
        return []
    mistakes = find_object_mistakes(names, data.classes) if names else []
    if isinstance(data, MaskData) and data.instances:
        mistakes += [
            f"data.classes: '{item.name}' has the border pixels of numbered objects; write is_boundary: true, so that "
            f"objects get their borders back, or turn the scores of objects off with evaluation.objects: []."
            for item in data.classes
            if list_values(item.mask_value) == (BORDER,) and not item.is_boundary
        ]
    return mistakes


def _check_variant(params: Params, name: str) -> list[str]:
    """Find mistakes in a variant. If it is in the grid, also find settings that do not fit the data."""
    try:
        cell = params.cell(name, params.grid.learning_rate[0], params.grid.seed[0])
    except PipelineError as error:
        return str(error).splitlines()
    if name not in params.grid.variant:
        return []
    mistakes = _check_sizes(params, cell)
    if isinstance(cell.model, KerasPetsModel) and cell.train.encoder_lr_factor != 1:
        mistakes.append(
            f"train.encoder_lr_factor: must be 1.0 for variant '{name}', but is {cell.train.encoder_lr_factor}: "
            f"keras_pets has no module named encoder. Set it in variants.{name}.train."
        )
    # A custom network may load weights itself.
    if isinstance(cell.model, UNetModel | SmpModel) and not cell.model.pretrained and not cell.train.encoder_lr_factor:
        mistakes.append(
            f"train.encoder_lr_factor: must be above 0 for variant '{name}', but is 0, which freezes an encoder with "
            f"random weights. Set it in variants.{name}.train, or pretrained weights in variants.{name}.model."
        )
    # The classes of other sources are known only after `prepare`.
    if isinstance(cell.train.class_weights, dict) and isinstance(params.data, MaskData | CategoryData):
        classes = [item.name for item in params.data.classes]
        mistakes += [f"variants.{name}: {one}" for one in find_weight_mistakes(cell.train.class_weights, classes)]
    # The number of images of other sources is known only after `prepare`.
    most = params.data.samples.train if isinstance(params.data, CompositesData) else None
    if most is not None and cell.max_train_images is not None and cell.max_train_images > most:
        mistakes.append(
            f"data.max_train_images: must be at most {most} (data.samples.train) for variant '{name}', but is "
            f"{cell.max_train_images}."
        )
    return mistakes


def _check_sizes(params: Params, cell: Cell) -> list[str]:
    """Find mistakes in the size of a network's input: prepared images, or patches of native images."""
    patch, where = cell.train.patch, f"variant '{cell.variant}'"
    if params.data.size is None and patch is None:
        return [
            f"train.patch_size: {where} has none, but data.image_size is native. Set the side of the patches that "
            f"training sees, such as 256."
        ]
    if params.data.size is not None and patch is not None:
        return [
            f"train.patch_size: must be null for {where}, but is {cell.train.patch_size}, because data.image_size is "
            f"{params.data.image_size}. Set data.image_size: native, or remove the patch size."
        ]
    key, sides = ("data.image_size", params.data.size) if patch is None else ("train.patch_size", patch)
    smallest = compute_smallest_size(cell.model)
    if sides is None or min(sides) >= smallest:
        return []
    smaller = " or a smaller model.depth" if isinstance(cell.model, UNetModel) else ""
    return [f"{key}: must be at least {smallest} px for {where}, but is {min(sides)}; set {smallest}{smaller}."]
