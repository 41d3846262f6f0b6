"""Suggest the columns and classes of a Hugging Face data set in a local folder."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE
from pipeline.imaging.decode import ENDINGS
from pipeline.init.inspect_images import suggest_section
from pipeline.init.layouts.layout import name_classes
from pipeline.init.mask_classes import suggest_classes
from pipeline.init.suggestion import SuggestedClasses, Suggestion
from pipeline.params.data.fields import list_values
from pipeline.params.data.file_pattern import find_ending
from pipeline.prepare.image_tables.table_files import TableFile, check_columns, find_table_files, open_tables
from pipeline.prepare.read_file import read_limited
from pipeline.prepare.sources.hugging_face import list_pairs
from pipeline.prepare.sources.image_files import list_files
from pipeline.volumes.open_volume import CERTAIN_ENDINGS
from pipeline.wording import join_names, pluralize

_COMMAND = "pipeline init"
_MASK_COLUMN = re.compile(
    r"(^|_)(mask|label|annotation|annotated|seg|segmentation|semantic|gt|ground_truth|target)(s|$|_)", re.IGNORECASE
)
_NAMES_FILE = "id2label.json"  # class names by mask value, as models on the Hub have them in their configuration
_MAX_NAMES_BYTES = 1_000_000


def inspect_hugging_face(folder: Path) -> Suggestion | None:
    """Suggest a section for a folder of tables. Return None if it has none, or if they describe image files.

    Raises:
        PipelineError: A table is broken, or has no column of images or no column of masks.
    """
    files = find_table_files(folder, _COMMAND)
    if not files:
        return None
    tables = open_tables(folder, files, _COMMAND)
    if not any(table.list_image_columns() for table in tables) and _has_image_files(folder):
        return None
    images, masks, notices = _choose_columns(folder, tables)
    check_columns(tables, {f"{_COMMAND}, column of images": images, f"{_COMMAND}, column of masks": masks}, folder)
    pairs = list_pairs(folder, tables, images, masks).values()
    classes = suggest_classes(folder, [pair.mask for pair in pairs])
    classes = _name_classes(classes, folder, tables)
    section = {"images": images, "masks": masks, **classes.section}
    remarks = {"images": "column of the images", "masks": "column of the masks", **classes.remarks}
    suggested = replace(classes, section=section, notices=(*notices, *classes.notices), remarks=remarks)
    suggestion = suggest_section("huggingface", folder, {pair.image: pair.name for pair in pairs}, suggested)
    found = f"{pluralize(len(files), 'file', 'files')} of a Hugging Face data set with the columns {images} and {masks}"
    return replace(suggestion, found=f"{found}, {suggestion.found}")


def _has_image_files(folder: Path) -> bool:
    return any(find_ending(path.name, (*ENDINGS, *CERTAIN_ENDINGS)) for path in list_files(folder, "", _COMMAND))


def _choose_columns(folder: Path, tables: Sequence[TableFile]) -> tuple[str, str, list[str]]:
    """Choose the columns of images and masks.

    Returns:
        Both columns, and notices about columns that may be meant instead.

    Raises:
        PipelineError: A column of images or of masks is missing.
    """
    first = tables[0]
    columns = first.list_image_columns()
    masks = [column for column in columns if _MASK_COLUMN.search(column)]
    images = [column for column in columns if column not in masks]
    if not images or not masks:
        raise PipelineError(
            f"{_COMMAND}: {folder / first.file} has the columns {join_names(first.schema.names) or 'none'}; expected a "
            f"column of images and one of masks, such as image and annotation. Columns with image files: "
            f"{join_names(columns) or 'none'}. If two of them are images and masks, write the section by hand with "
            f"source: huggingface; see docs/how-to/hugging-face.md."
        )
    others = [
        f"{key}: {chosen[0]} is proposed; other columns with image files are {join_names(chosen[1:])}."
        for key, chosen in (("data.images", images), ("data.masks", masks))
        if len(chosen) > 1
    ]
    return images[0], masks[0], others


def _name_classes(classes: SuggestedClasses, folder: Path, tables: Sequence[TableFile]) -> SuggestedClasses:
    """Give classes the names that the data set declares, if these include all values that the masks have."""
    names, origin = _read_names(folder, tables[0].read_features())
    guessed = classes.section["classes"]
    values = [value for item in guessed for value in list_values(item["mask_value"])]
    is_plain = classes.section.keys() <= {"classes", "ignore_value"} and len(values) == len(guessed)
    if not is_plain or not set(values) <= names.keys():
        return classes
    ignored = [int(value) for value in list_values(classes.section["ignore_value"])]
    kept = {value: name for value, name in sorted(names.items()) if value not in ignored}
    if len(kept) >= IGNORE:
        return classes
    background = next((item["mask_value"] for item in guessed if not item["foreground"]), None)
    named = name_classes(kept, background, ignored)
    notice = (
        f"The classes have the names in {origin}, by their mask values: check that the masks mean them. "
        f"{pluralize(len(kept) - len(values), 'class', 'classes')} did not occur in the masks that were opened."
    )
    return replace(named, notices=(*classes.notices, notice))


def _read_names(folder: Path, features: Mapping[str, Any]) -> tuple[dict[int, str], str]:
    """Read class names by mask value from id2label.json, or from the only list of class labels in the features.

    The labels of a single value per image are not the classes of its pixels.

    Returns:
        The names, which are empty if there are none, and where they are from.
    """
    try:
        content = json.loads(read_limited(folder / _NAMES_FILE, _MAX_NAMES_BYTES))
        return {int(value): str(name) for value, name in content.items()}, _NAMES_FILE
    except (OSError, ValueError, AttributeError, RecursionError):
        pass  # missing, or not a mapping from numbers
    lists = {column: names for column, feature in features.items() if (names := _find_listed_names(feature))}
    if len(lists) != 1:
        return {}, ""
    ((column, found),) = lists.items()
    return dict(enumerate(found)), f"the features of the column {column}"


def _find_listed_names(feature: Any) -> list[str]:
    """Return the names of the class labels in a list; empty for other features."""
    if isinstance(feature, list) and len(feature) == 1:
        inner = feature[0]
    elif isinstance(feature, dict) and feature.get("_type") in ("Sequence", "List", "LargeList"):
        inner = feature.get("feature")
    else:
        return []
    if not isinstance(inner, dict) or inner.get("_type") != "ClassLabel" or not isinstance(inner.get("names"), list):
        return []
    return [str(name) for name in inner["names"]]
