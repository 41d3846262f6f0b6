"""What the section `data` of `params.yaml` may say: a model a source, and what no single key of them shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Annotated

from pydantic import Field

from pipeline.params.data.composites import CompositesData
from pipeline.params.data.fields import list_values
from pipeline.params.data.image_data import (
    ClassValue,
    CocoClass,
    CocoData,
    DisplayedClass,
    ExternalTestFolder,
    FolderData,
    ImageMaskData,
    ImageMaskFolder,
    OxfordPetsData,
)

Data = Annotated[CompositesData | FolderData | CocoData | OxfordPetsData, Field(discriminator="source")]


def find_data_mistakes(data: CompositesData | ImageMaskData) -> list[str]:
    """What no single key of the section shows: doubles, and keys that do not fit together."""
    if isinstance(data, CompositesData):
        return [] if data.test is None else _test_mistakes(data.test)
    mistakes = _path_mistakes("data", data)
    if isinstance(data, FolderData):
        mistakes += _value_mistakes("data", data) + _instance_mistakes(data)
    if isinstance(data, CocoData):
        mistakes += _category_mistakes(data)
    if isinstance(data, FolderData | CocoData):
        mistakes += _name_mistakes("data", data.classes) + _color_mistakes(data.classes)
        if not any(item.foreground for item in data.classes):
            mistakes.append("data.classes: no class is foreground; say foreground: true of what the pictures are of.")
    if isinstance(data, OxfordPetsData) and (data.splits.test or data.splits.list or data.splits.group_pattern):
        mistakes.append(
            "data.splits: Oxford-IIIT Pet has its official test split and no groups; write test: 0, and neither list "
            "nor group_pattern."
        )
    if data.splits.validation + data.splits.test >= 1:
        mistakes.append(
            f"data.splits: validation {data.splits.validation} and test {data.splits.test} leave nothing to train on; "
            f"their sum must be less than 1."
        )
    if data.showcase == []:
        mistakes.append("data.showcase: must have at least 1 entry, but is []; null has an image of training chosen.")
    return mistakes + [f"data.showcase: '{name}' stands there twice; remove one." for name in _doubles(data.showcase)]


def _test_mistakes(data: ExternalTestFolder) -> list[str]:
    mistakes = _name_mistakes("data.test", data.classes) + _value_mistakes("data.test", data)
    mistakes += _path_mistakes("data.test", data)
    if (shares := data.splits.validation + data.splits.test) > 1:
        mistakes.append(f"data.test.splits: validation and test are {shares:g} together, but must be at most 1.")
    return mistakes


def _name_mistakes(key: str, classes: Sequence[ClassValue | CocoClass]) -> list[str]:
    doubles = _doubles([item.name for item in classes])
    return [f"{key}.classes: two classes are named '{name}'; rename one." for name in doubles]


def _color_mistakes(classes: Sequence[DisplayedClass]) -> list[str]:
    """Refuse classes of one color: masks and overlays would show them as one."""
    by_color: dict[str, list[str]] = {}
    for item in classes:
        by_color.setdefault(item.colour.lower(), []).append(f"'{item.name}'")
    return [
        f"data.classes: {', '.join(names[:-1])} and {names[-1]} have the same color, {color}, so images would show "
        f"them as one class. Write another `colour` for {'one' if len(names) == 2 else 'all but one'} of them."
        for color, names in by_color.items()
        if len(names) > 1
    ]


def _value_mistakes(key: str, data: FolderData | ExternalTestFolder) -> list[str]:
    values = [value for item in data.classes for value in list_values(item.value)] + list(list_values(data.ignore))
    spelt = [value.lower() if isinstance(value, str) else value for value in values]
    mistakes = [
        f"{key}.classes: the mask value {value!r} stands there, or at {key}.ignore, twice; a pixel has one class."
        for value in _doubles(spelt)
    ]
    if len({type(value) for value in values}) > 1:
        mistakes.append(
            f"{key}.classes: some mask values are numbers and some are colours; write all of them, {key}.ignore too, "
            f"as numbers (index, grey or palette masks) or all as colours (RGB masks)."
        )
    return mistakes + _threshold_mistakes(key, data, values)


def _threshold_mistakes(key: str, data: FolderData | ExternalTestFolder, values: Sequence[str | int]) -> list[str]:
    threshold, numbers = data.mask_threshold, [value for value in values if isinstance(value, int)]
    if threshold is None:
        return []
    if len(values) != 2 or len(numbers) != 2 or data.ignore is not None:
        return [
            f"{key}.mask_threshold: it divides masks into two classes, so {key}.classes must be two with one number "
            f"each, and {key}.ignore null; the values are {', '.join(map(str, values))}."
        ]
    if not min(numbers) < threshold <= max(numbers):
        return [
            f"{key}.mask_threshold: must be above {min(numbers)} and at most {max(numbers)}, the values of the two "
            f"classes, but is {threshold}."
        ]
    return []


def _instance_mistakes(data: FolderData) -> list[str]:
    if data.instances is None or (
        sorted(map(str, (list_values(item.value) for item in data.classes))) == ["(0,)", "(1,)", "(2,)"]
        and data.ignore is None
        and data.mask_threshold is None
    ):
        return []
    return [
        "data.instances: masks of numbered objects become three classes. Write those in data.classes, with the values "
        "0 (background), 1 (inside) and 2 (border), and ignore: null."
    ]


def _category_mistakes(data: CocoData) -> list[str]:
    named = [name for item in data.classes for name in item.categories] + data.ignore
    mistakes = [
        f"data.classes: the category '{name}' stands there, or at data.ignore, twice; an object has one class."
        for name in _doubles(named)
    ]
    left_over = [item.name for item in data.classes if not item.categories]
    if len(left_over) != 1:
        mistakes.append(
            f"data.classes: {len(left_over)} classes have category: null, but exactly one must: the class of the "
            f"pixels that no annotation covers."
        )
    return mistakes + _inside("data.annotations", data.annotations, data.path)


def _path_mistakes(key: str, data: ImageMaskFolder) -> list[str]:
    return _inside(f"{key}.splits.list.file", data.splits.list.file, data.path) if data.splits.list else []


def _inside(key: str, file: str, folder: str) -> list[str]:
    if not PurePath(file).is_absolute() and ".." not in PurePath(file).parts:
        return []
    return [
        f"{key}: '{file}' must lie in the folder {folder}, and be written relative to it: DVC watches that folder, and "
        f"prepares again when the file changes."
    ]


def _doubles(values: Sequence[str | int] | None) -> list[str | int]:
    found = list(values or ())
    return [value for index, value in enumerate(found) if value in found[:index]]
