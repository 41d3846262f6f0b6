"""Write a suggested section `data` as YAML, with comments.

Comments on classes precede their list, since DVC keeps none inside a list (`pipeline.params.yaml_document`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.init.suggestion import Suggestion
from pipeline.params.yaml_document import format_like_dvc

_COLUMN = 26  # of comments, unless the line is longer
_COMMENTS = {
    "source": "docs/reference/parameters.md has each source's keys",
    "path": "of the folder",
    "resize": "stretch: stretched to the square | letterbox: keeps the aspect, centered in the square",
    "channels": "empty: RGB, or one if all images are 16-bit gray | 1: gray | the number of channels of TIFFs",
    "annotations": "COCO instances, relative to the folder",
    "classes": "choose names and colors; foreground: the objects of interest",
    "ignore_value": "pixels without training and scores; empty, or [] of categories: none",
    "crowd": "annotations with iscrowd: 1; ignore: their pixels are ignored | object: drawn like all others",
    "mask_threshold": "from this value on, pixels are the class of the higher value",
    "instances": "masks number objects; width of the border between them, px",
    "on_invalid": "error: report all invalid files | skip: leave out and list them",
    "showcase_ids": "ids of images to show first, in no split; empty: a typical training image is chosen",
    "seed": "of the split, never of a run",
    "max_train_images": "number of training images of a run; empty: all",
    "stratify": "every class in every split, if there are enough images",
    "split_file": "empty: splits.csv, if it exists | another table and its columns",
}


def format_section(suggestion: Suggestion) -> str:
    """Format the section `data:`, ending with a line break."""
    lines = ["data:"]
    for key, value in suggestion.section.items():
        comment = suggestion.remarks.get(key) or _COMMENTS.get(key, "")
        if key == "classes":
            lines += [_format_line("  classes:", _COMMENTS["classes"]), *_format_classes(suggestion)]
        elif isinstance(value, dict):
            lines.append(_format_line(f"  {key}:", comment))
            for inner, setting in value.items():
                lines.append(_format_line(f"    {inner}: {format_scalar(setting)}", _COMMENTS.get(inner, "")))
            if key == "splits" and suggestion.groups:
                what = "keeps images of a patient, film or slide in one split, if the names number them"
                lines.append(_format_line(f"    # group_regex: {format_scalar(suggestion.groups)}", what))
        else:
            lines.append(_format_line(f"  {key}: {format_scalar(value)}", comment))
    return format_like_dvc("\n".join(lines) + "\n")


def replace_section(text: str, section: str) -> str:
    """Replace the section `data` in the text of a `params.yaml`."""
    block = re.compile(r"^data:.*\n(?:(?:[ \t].*|#.*)?\n)*?(?=^[A-Za-z_]|\Z)", re.MULTILINE)
    return block.sub(lambda _: f"{section}\n", text, count=1)


def format_scalar(value: Any) -> str:
    """Format a value on one line of YAML: plain if that reads back unchanged, else as JSON."""
    if isinstance(value, str) and re.fullmatch(r"[\w./ -]+", value):
        try:
            if YAML(typ="safe").load(f"key: {value}") == {"key": value}:
                return value
        except (YAMLError, ValueError):  # an invalid date
            pass
    if isinstance(value, list):
        return f"[{', '.join(map(format_scalar, value))}]"
    text = json.dumps(value, ensure_ascii=False)
    return "".join(letter if letter.isprintable() else f"\\U{ord(letter):08x}" for letter in text)


def _format_classes(suggestion: Suggestion) -> Iterator[str]:
    classes = suggestion.section["classes"]
    for item, remark in zip(classes, suggestion.class_remarks, strict=False):
        if remark:
            yield f"    # {format_scalar(item['name'])}: {remark}"
    for item in classes:
        pairs = [f"{key}: {format_scalar(value)}" for key, value in item.items() if key != "is_boundary" or value]
        yield f"  - {{{', '.join(pairs)}}}"


def _format_line(text: str, comment: str) -> str:
    if not comment:
        return text
    return f"{text:{_COLUMN}}# {comment}" if len(text) < _COLUMN else f"{text}  # {comment}"
