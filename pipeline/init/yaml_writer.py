"""A proposal as text: the section `data` in YAML, a comment beside each line that was guessed.

The classes are a list, in which DVC keeps no comments (`pipeline.params.dvc_form`): theirs are above it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.init.suggestion import Suggestion
from pipeline.params.dvc_form import format_like_dvc

_COLUMN = 26  # where comments begin, if the line is not longer
_COMMENTS = {
    "source": "docs/your-own-data.md has each source's keys",
    "path": "of the folder",
    "resize": "squash: stretched to the square | pad: keeps the aspect, in the middle of the square",
    "channels": "empty: RGB, or one where all images are 16-bit grey | 1: grey | as many as the TIFFs have",
    "annotations": "COCO's instances, from the folder on",
    "classes": "names and colours are for you to choose; `foreground` is what the pictures are of",
    "ignore": "pixels that are left out of training and scores; empty, or [] of categories: none",
    "crowd": "annotations with iscrowd: 1; ignore: their pixels are ignored | object: drawn like all others",
    "mask_threshold": "values from it on are the class of the higher value, the others that of the lower one",
    "instances": "masks number objects; px of the border that keeps touching ones apart",
    "on_fault": "stop: name all faults | set_aside: go on without such images, and list them",
    "showcase": "ids of images to show first, in no split; empty: a typical one of training is taken",
    "seed": "of the split, never of a run",
    "train_images": "how many of the training images a run sees; empty: all",
    "stratify": "every class in every split, as far as there are images",
    "list": "empty: splits.csv, where there is one | another table and its columns",
}


def format_section(proposal: Suggestion) -> str:
    """The lines of `data:`, with a line break at the end."""
    lines = ["data:"]
    for key, value in proposal.section.items():
        comment = proposal.remarks.get(key) or _COMMENTS.get(key, "")
        if key == "classes":
            lines += [_format_line("  classes:", _COMMENTS["classes"]), *_format_classes(proposal)]
        elif isinstance(value, dict):
            lines += [_format_line(f"  {key}:", comment), *_format_nested(value)]
            if key == "splits" and proposal.groups:
                what = "images of one patient, film or slide in one split: their names look as if they had any"
                lines.append(_format_line(f"    # group_pattern: {format_scalar(proposal.groups)}", what))
        else:
            lines.append(_format_line(f"  {key}: {format_scalar(value)}", comment))
    return format_like_dvc("\n".join(lines) + "\n")


def replace_section(text: str, section: str) -> str:
    """The text of a `params.yaml`, its section `data` replaced."""
    block = re.compile(r"^data:.*\n(?:(?:[ \t].*|#.*)?\n)*?(?=^[A-Za-z_]|\Z)", re.MULTILINE)
    return block.sub(lambda _: f"{section}\n", text, count=1)


def format_scalar(value: Any) -> str:
    """A value on one line of YAML: plain where that reads back as it is, else as JSON."""
    if isinstance(value, str) and re.fullmatch(r"[\w./ -]+", value):
        try:
            if YAML(typ="safe").load(f"key: {value}") == {"key": value}:
                return value
        except (YAMLError, ValueError):  # what looks like a date and is none
            pass
    if isinstance(value, list):
        return f"[{', '.join(map(format_scalar, value))}]"
    text = json.dumps(value, ensure_ascii=False)
    return "".join(letter if letter.isprintable() else _escape(letter) for letter in text)


def _escape(letter: str) -> str:
    return f"\\U{ord(letter):08x}"


def _format_classes(proposal: Suggestion) -> Iterator[str]:
    classes = proposal.section["classes"]
    for item, remark in zip(classes, proposal.class_remarks, strict=False):
        if remark:
            yield f"    # {format_scalar(item['name'])}: {remark}"
    for item in classes:
        pairs = [f"{key}: {format_scalar(value)}" for key, value in item.items() if key != "edge" or value]
        yield f"  - {{{', '.join(pairs)}}}"


def _format_nested(section: dict[str, Any]) -> Iterator[str]:
    for key, value in section.items():
        yield _format_line(f"    {key}: {format_scalar(value)}", _COMMENTS.get(key, ""))


def _format_line(text: str, comment: str) -> str:
    if not comment:
        return text
    return f"{text:{_COLUMN}}# {comment}" if len(text) < _COLUMN else f"{text}  # {comment}"
