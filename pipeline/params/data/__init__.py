"""Schema of the `data` section of `params.yaml`: one model per source, and checks across keys."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Annotated

from pydantic import Field

from pipeline.params.data.composites import CompositesData
from pipeline.params.data.fields import list_values
from pipeline.params.data.file_pattern import CLASS, OBJECT, FilePattern
from pipeline.params.data.image_data import (
    AnnotatedClass,
    AnnotatedData,
    CategoryData,
    ClassValue,
    DisplayedClass,
    ExternalTestFolder,
    FolderData,
    GeoVectorsData,
    HuggingFaceData,
    ImageMaskData,
    ImageMaskFolder,
    ImageSource,
    MaskData,
    OxfordPetsData,
)
from pipeline.wording import join_words

Data = Annotated[CompositesData | ImageSource, Field(discriminator="source")]


def find_mask_section(data: Data) -> ExternalTestFolder | ImageSource | None:
    """Return the section that describes masks of the user; None if all masks are computed."""
    return data.external_test if isinstance(data, CompositesData) else data


def find_data_mistakes(data: CompositesData | ImageMaskData) -> list[str]:
    """Find repeated values and contradictory keys in the `data` section."""
    if isinstance(data, CompositesData):
        return [] if data.external_test is None else _check_external_test(data.external_test)
    mistakes = _check_paths("data", data)
    if isinstance(data, FolderData):
        mistakes += _check_patterns("data", data)
    if isinstance(data, HuggingFaceData):
        mistakes += _check_columns(data)
    if isinstance(data, FolderData | HuggingFaceData):
        mistakes += _check_values("data", data) + _check_instances(data)
    if isinstance(data, CategoryData):
        mistakes += _check_categories(data)
    if isinstance(data, FolderData | GeoVectorsData):
        mistakes += _check_scenes(data)
    if isinstance(data, MaskData | CategoryData):
        mistakes += _check_names("data", data.classes) + _check_colors(data.classes)
        if not any(item.foreground for item in data.classes):
            mistakes.append("data.classes: no class is foreground; write foreground: true for the objects of interest.")
    if isinstance(data, OxfordPetsData) and (
        data.splits.test or data.splits.split_file or data.splits.group_regex or data.splits.split_lists
    ):
        mistakes.append(
            "data.splits: Oxford-IIIT Pet has an official test split and no groups; write test: 0, and remove "
            "split_file, split_lists and group_regex."
        )
    if data.splits.folds is None and "validation" not in data.splits.model_fields_set:
        mistakes.append("data.splits.validation: is missing; add it, or write folds for a cross-validation.")
    if data.splits.validation + data.splits.test >= 1:
        mistakes.append(
            f"data.splits: validation {data.splits.validation} and test {data.splits.test} leave no training images; "
            f"their sum must be less than 1."
        )
    if data.downscale != 1 and data.size is not None:
        mistakes.append(
            f"data.downscale: must be 1.0 with image_size: {data.image_size}, but is {data.downscale}; only "
            f"native images are downscaled."
        )
    if data.pixel_size is not None and data.pixel_unit is None:
        mistakes.append(
            f"data.pixel_unit: is missing, but data.pixel_size is {data.pixel_size}; write its unit, such as µm."
        )
    if data.pixel_unit is not None and data.pixel_size is None:
        mistakes.append(
            f"data.pixel_size: is missing, but data.pixel_unit is '{data.pixel_unit}'; write the size of a pixel of "
            f"the original images, or remove the unit."
        )
    if data.showcase_ids == []:
        mistakes.append(
            "data.showcase_ids: must have at least 1 entry, but is []; write null to choose an image automatically."
        )
    return mistakes + [
        f"data.showcase_ids: '{name}' is repeated; remove one." for name in _find_repeated(data.showcase_ids)
    ]


def _check_external_test(data: ExternalTestFolder) -> list[str]:
    mistakes = _check_names("data.external_test", data.classes) + _check_values("data.external_test", data)
    mistakes += _check_patterns("data.external_test", data) + _check_paths("data.external_test", data)
    if (shares := data.splits.validation + data.splits.test) > 1:
        mistakes.append(
            f"data.external_test.splits: the sum of validation and test must be at most 1, but is {shares:g}."
        )
    return mistakes


def _check_names(key: str, classes: Sequence[ClassValue | AnnotatedClass]) -> list[str]:
    repeated = _find_repeated([item.name for item in classes])
    return [f"{key}.classes: two classes are named '{name}'; rename one." for name in repeated]


def _check_colors(classes: Sequence[DisplayedClass]) -> list[str]:
    """Find classes with the same color, which would be indistinguishable in images."""
    by_color: dict[str, list[str]] = {}
    for item in classes:
        by_color.setdefault(item.color.lower(), []).append(f"'{item.name}'")
    return [
        f"data.classes: {join_words(names)} have the same color, {color}, so images would show "
        f"them as one class. Write another `color` for {'one' if len(names) == 2 else 'all but one'} of them."
        for color, names in by_color.items()
        if len(names) > 1
    ]


def _check_values(key: str, data: FolderData | HuggingFaceData | ExternalTestFolder) -> list[str]:
    if data.mask_part == CLASS:
        return _check_class_files(key, data)
    if texts := [value for item in data.classes for value in list_values(item.mask_value) if _is_text(value)]:
        return [
            f"{key}.classes: the mask value '{texts[0]}' must be a whole number from 0 to 65535 or a color in quotes, "
            f'such as "#e69f00". Only if {key}.masks has {{class}}, it is the text that {{class}} matches.'
        ]
    if missing := [item.name for item in data.classes if item.mask_value is None]:
        return [
            f"{key}.classes: the class '{missing[0]}' has mask_value: null, which is only possible if {key}.masks has "
            f"{{class}}; write the value of the class in the masks."
        ]
    values = [value for item in data.classes for value in list_values(item.mask_value)] + list(
        list_values(data.ignore_value)
    )
    normalized = [value.lower() if isinstance(value, str) else value for value in values]
    mistakes = [
        f"{key}.classes: the mask value {value!r} is repeated, here or in {key}.ignore_value; write it once."
        for value in _find_repeated(normalized)
    ]
    if len({type(value) for value in values}) > 1:
        mistakes.append(
            f"{key}.classes: some mask values are numbers and some are colors; write all of them, including "
            f"{key}.ignore_value, as numbers (index, gray or palette masks) or as colors (RGB masks)."
        )
    return mistakes + _check_threshold(key, data, values)


def _is_text(value: str | int) -> bool:
    return isinstance(value, str) and not value.startswith("#")


def _check_class_files(key: str, data: FolderData | HuggingFaceData | ExternalTestFolder) -> list[str]:
    """Check the classes of masks with one class per file."""
    values = [value for item in data.classes for value in list_values(item.mask_value)]
    mistakes = [
        f"{key}.classes: {key}.masks has {{class}}, so mask_value must be a text that it matches, but is {value}."
        for value in values
        if not isinstance(value, str) or not _is_text(value)
    ]
    mistakes += [
        f"{key}.classes: the mask value {value!r} is repeated; write it once." for value in _find_repeated(values)
    ]
    if sum(item.mask_value is None for item in data.classes) != 1:
        mistakes.append(
            f"{key}.classes: exactly one class must have mask_value: null, the class of pixels that no file marks."
        )
    if data.ignore_value is not None:
        mistakes.append(f"{key}.ignore_value: must be null if {key}.masks has {{class}}.")
    return mistakes


def _check_patterns(key: str, data: FolderData | ExternalTestFolder) -> list[str]:
    """Check that the patterns of images and masks can be compared."""
    images, masks = FilePattern(data.images), FilePattern(data.masks)
    if images.part:
        return [f"{key}.images: '{data.images}' must not have {{class}} or {{object}}, which are for masks."]
    if images.num_texts != masks.num_texts:
        return [
            f"{key}.masks: '{data.masks}' has {masks.num_texts} wildcards to compare (*, **, {{a,b}}), but "
            f"{key}.images: '{data.images}' has {images.num_texts}. Write {{any}} for text that is not compared."
        ]
    return []


def _check_columns(data: HuggingFaceData) -> list[str]:
    mistakes = []
    if data.images == data.masks:
        mistakes.append(f"data.masks: is '{data.masks}', the column of the images; write the column of the masks.")
    if data.splits.split_lists is not None:
        mistakes.append(
            "data.splits.split_lists: lists have paths of files, which the images in a column do not have. Remove the "
            "key, or write a table of ids and splits; see data.splits.split_file."
        )
    return mistakes


def _check_threshold(
    key: str, data: FolderData | HuggingFaceData | ExternalTestFolder, values: Sequence[str | int]
) -> list[str]:
    threshold, numbers = data.mask_threshold, [value for value in values if isinstance(value, int)]
    if threshold is None or data.mask_part:
        return []
    if len(values) != 2 or len(numbers) != 2 or data.ignore_value is not None:
        return [
            f"{key}.mask_threshold: requires two classes in {key}.classes with one number each, and "
            f"{key}.ignore_value: null, but the mask values are {', '.join(map(str, values))}."
        ]
    if not min(numbers) < threshold <= max(numbers):
        return [
            f"{key}.mask_threshold: must be above {min(numbers)} and at most {max(numbers)}, the values of the two "
            f"classes, but is {threshold}."
        ]
    return []


def _check_instances(data: FolderData | HuggingFaceData) -> list[str]:
    values = sorted(map(str, (list_values(item.mask_value) for item in data.classes)))
    if data.instances is None:
        if data.mask_part != OBJECT or (values == ["(0,)", "(1,)"] and data.ignore_value is None):
            return []
        return [
            "data.masks: masks of one object per file are converted to two classes. Declare them in data.classes with "
            "the values 0 (background) and 1 (objects), and write ignore_value: null; or set data.instances."
        ]
    if data.mask_part == CLASS:
        return ["data.instances: must be null if data.masks has {class}."]
    if (
        values == ["(0,)", "(1,)", "(2,)"]
        and data.ignore_value is None
        and (data.mask_threshold is None or data.mask_part == OBJECT)
    ):
        return []
    return [
        "data.instances: masks of numbered objects are converted to three classes. Declare them in data.classes with "
        "the values 0 (background), 1 (inside) and 2 (border), and write ignore_value: null."
    ]


def _check_categories(data: CategoryData) -> list[str]:
    named = [name for item in data.classes for name in item.categories] + data.ignore_value
    mistakes = [
        f"data.classes: the category '{name}' is repeated, here or in data.ignore_value; write it once."
        for name in _find_repeated(named)
    ]
    left_over = [item.name for item in data.classes if not item.categories]
    may_ignore = isinstance(data, AnnotatedData) and data.source == "coco_panoptic" and not left_over
    if len(left_over) != 1 and not may_ignore:
        mistakes.append(
            f"data.classes: {len(left_over)} classes have category: null, but exactly one must have it: the class of "
            f"pixels without annotation."
        )
    return mistakes + _check_inside("data.annotations", data.annotations, data.path)


def _check_scenes(data: FolderData | GeoVectorsData) -> list[str]:
    if (scenes := data.scenes) is None:
        return []
    mistakes = []
    if data.size is not None:
        mistakes.append(
            f"data.image_size: must be native with data.scenes, but is {data.image_size}; the network sees patches of "
            f"train.patch_size, and data.downscale shrinks scenes."
        )
    if data.channels is None:
        number = len(scenes.bands) if scenes.bands else "the number of bands"
        mistakes.append(f"data.channels: is missing, but data.scenes is set; write {number}.")
    elif scenes.bands and len(scenes.bands) != data.channels:
        mistakes.append(
            f"data.channels: is {data.channels}, but data.scenes.bands has {len(scenes.bands)} entries; write "
            f"{len(scenes.bands)}."
        )
    mistakes += [f"data.scenes.bands: {band!r} is repeated; write it once." for band in _find_repeated(scenes.bands)]
    if isinstance(data, FolderData) and data.slices is not None:
        mistakes.append("data.scenes: must be null with data.slices; remove one of them.")
    if isinstance(data, FolderData) and data.mask_part:
        mistakes.append("data.masks: must not have {class} or {object} with data.scenes; write one mask per scene.")
    if isinstance(data, FolderData) and data.instances is not None:
        mistakes.append("data.instances: must be null with data.scenes; tiles would divide numbered objects.")
    if isinstance(data, GeoVectorsData):
        texts = [FilePattern(pattern).num_texts for pattern in (data.images, data.annotations)]
        if texts[1] and texts[0] != texts[1]:
            mistakes.append(
                f"data.annotations: '{data.annotations}' has {texts[1]} wildcards to compare (*, **, {{a,b}}), but "
                f"data.images: '{data.images}' has {texts[0]}. Write {{any}} for text that is not compared."
            )
    if isinstance(data, GeoVectorsData) and data.area is not None:
        mistakes += _check_inside("data.area", data.area, data.path)
    return mistakes


def _check_paths(key: str, data: ImageMaskFolder) -> list[str]:
    split_file, split_lists = data.splits.split_file, data.splits.split_lists
    mistakes = []
    if split_file:
        mistakes += _check_inside(f"{key}.splits.split_file.file", split_file.file, data.path)
    if split_lists:
        mistakes += _check_inside(f"{key}.splits.split_lists", split_lists, data.path)
    if split_file and split_lists:
        mistakes.append(f"{key}.splits: has both split_file and split_lists; remove one.")
    return mistakes


def _check_inside(key: str, file: str, folder: str) -> list[str]:
    if not PurePath(file).is_absolute() and ".." not in PurePath(file).parts:
        return []
    return [
        f"{key}: '{file}' must be a file in the folder {folder}, with a path relative to it, because DVC tracks only "
        f"that folder."
    ]


def _find_repeated(values: Sequence[str | int] | None) -> list[str | int]:
    found = list(values or ())
    return [value for index, value in enumerate(found) if value in found[:index]]
