"""YAML that is read, changed and written again with its comments."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from pipeline.params.file import read_sections

_SECTION = re.compile(r"^(#.*\n)*\w+:", re.MULTILINE)  # with the comment lines above it


def read_document(path: Path) -> CommentedMap:
    """A YAML file with its comments; raises `PipelineError` where it cannot be read."""
    document = read_sections(path, YAML())
    assert isinstance(document, CommentedMap)  # what this parser makes of sections
    return document


def as_text(document: CommentedMap) -> str:
    """The document without the comment at its head, which speaks of the file that it was read from."""
    if document.ca.comment:
        document.ca.comment[1] = None
    stream = io.StringIO()
    YAML().dump(document, stream)
    return stream.getvalue().strip() + "\n"


def spaced(text: str) -> str:
    """The text with one blank line above each section.

    ruamel hangs blank lines on the value above them, and they go or move when that value does.
    """
    return _SECTION.sub(r"\n\g<0>", re.sub(r"\n{2,}", "\n", text)).lstrip()


def write_into(document: CommentedMap, wanted: dict[str, Any], source: Any) -> None:
    """Make a document say what is wanted; what does not change keeps its place and its comment.

    Args:
        document: is changed.
        wanted: its new content, plain.
        source: the document that the changes come from, whose comments and manner they take.
    """
    for key in [key for key in document if key not in wanted]:
        del document[key]
    for key, value in wanted.items():
        old, new = document.get(key), source.get(key) if isinstance(source, CommentedMap) else None
        if key in document and old == value:
            continue
        if isinstance(value, dict) and isinstance(old, CommentedMap) and old.keys() <= value.keys():
            write_into(old, value, new)
            continue
        document[key] = new if new == value else value
        if isinstance(source, CommentedMap) and key in source.ca.items:
            document.ca.items[key] = source.ca.items[key]


def remark(document: Any, *keys: str) -> str:
    """The comment beside a value, in one line; empty where there is none."""
    *sections, last = keys
    for key in sections:
        document = document.get(key) if isinstance(document, CommentedMap) else None
    if not isinstance(document, CommentedMap) or last not in document.ca.items:
        return ""
    token = document.ca.items[last][2]
    return " ".join(line.strip(" #") for line in token.value.splitlines()).strip() if token else ""
