"""Read, change and write YAML with its comments."""

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
    """Read a YAML file with its comments.

    Raises:
        PipelineError: The file cannot be read.
    """
    document = read_sections(path, YAML())
    assert isinstance(document, CommentedMap)  # the type of mappings of this parser
    return document


def dump_document(document: CommentedMap) -> str:
    """Dump a document without its first comment, which is about the original file."""
    if document.ca.comment:
        document.ca.comment[1] = None
    stream = io.StringIO()
    YAML().dump(document, stream)
    return stream.getvalue().strip() + "\n"


def space_sections(text: str) -> str:
    """Put one blank line above each section; ruamel attaches blank lines to the value above, which may be gone."""
    return _SECTION.sub(r"\n\g<0>", re.sub(r"\n{2,}", "\n", text)).lstrip()


def update_document(document: CommentedMap, content: dict[str, Any], source: Any) -> None:
    """Update a document in place; unchanged values keep their position and comment.

    Args:
        document: The document to change.
        content: Its new content.
        source: The document with the changed values, whose comments and style are used.
    """
    for key in [key for key in document if key not in content]:
        del document[key]
    for key, value in content.items():
        old, new = document.get(key), source.get(key) if isinstance(source, CommentedMap) else None
        if key in document and old == value:
            continue
        if isinstance(value, dict) and isinstance(old, CommentedMap) and old.keys() <= value.keys():
            update_document(old, value, new)
            continue
        document[key] = new if new == value else value
        if isinstance(source, CommentedMap) and key in source.ca.items:
            document.ca.items[key] = source.ca.items[key]


def get_comment(document: Any, *keys: str) -> str:
    """Return the comment beside a value, in one line; empty without one."""
    *sections, last = keys
    for key in sections:
        document = document.get(key) if isinstance(document, CommentedMap) else None
    if not isinstance(document, CommentedMap) or last not in document.ca.items:
        return ""
    token = document.ca.items[last][2]
    return " ".join(line.strip(" #") for line in token.value.splitlines()).strip() if token else ""
