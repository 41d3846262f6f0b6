"""Read, change and write YAML files without losing their comments."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from pipeline.params.file import parse_yaml, read_sections

_SECTION = re.compile(r"^(#.*\n)*\w+:", re.MULTILINE)  # with the comment lines above it
_MAX_PASSES = 5  # two are usually enough, because the first may move comments beside values


def read_document(path: Path) -> CommentedMap:
    """Read a YAML file with its comments.

    Raises:
        PipelineError: The file cannot be read.
    """
    document = read_sections(path, YAML())
    assert isinstance(document, CommentedMap)  # ruamel's default parser returns mappings with comments
    return document


def dump_document(document: CommentedMap) -> str:
    """Dump a document without the comment at its top, which describes the original file."""
    if document.ca.comment:
        document.ca.comment[1] = None
    return _dump(document).strip() + "\n"


def _dump(document: CommentedMap) -> str:
    stream = io.StringIO()
    YAML().dump(document, stream)
    return stream.getvalue()


def space_sections(text: str) -> str:
    """Put one blank line above each section.

    ruamel stores a blank line with the value above it, so removing that value also removes the blank line.
    """
    return _SECTION.sub(r"\n\g<0>", re.sub(r"\n{2,}", "\n", text)).lstrip()


def update_document(document: CommentedMap, content: dict[str, Any], source: Any) -> None:
    """Replace the content of a document in place. Unchanged values keep their position and comment.

    Args:
        document: Document to change.
        content: New content of the document.
        source: Document that contains the changed values. Their comments and style are copied from it.
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
    """Return the comment beside a value as one line, or an empty string if there is none."""
    *sections, last = keys
    for key in sections:
        document = document.get(key) if isinstance(document, CommentedMap) else None
    if not isinstance(document, CommentedMap) or last not in document.ca.items:
        return ""
    token = document.ca.items[last][2]
    return " ".join(line.strip(" #") for line in token.value.splitlines()).strip() if token else ""


def format_like_dvc(text: str) -> str:
    """Format YAML as DVC does, so that `dvc exp run -S train.epochs=3` changes only one line.

    DVC rewrites the whole file when it sets a value. It keeps the comments of mappings, but replaces each list with a
    plain one, and drops comments and blank lines that follow an item.

    Text with values that ruamel cannot write, such as a next-line character (U+0085), is returned unchanged.
    """
    formatted = text
    try:
        for _ in range(_MAX_PASSES):
            before, formatted = formatted, _rewrite(formatted)
            if formatted == before:
                break
        return formatted if parse_yaml(formatted) == parse_yaml(text) else text
    except YAMLError:  # ruamel writes {a: :0}, but cannot read it
        return text


def _rewrite(text: str) -> str:
    document = YAML().load(text)
    _replace_lists(document)
    return _dump(document)


def _replace_lists(section: dict[str, Any]) -> None:
    for key, value in section.items():
        if isinstance(value, dict):
            _replace_lists(value)
        elif isinstance(value, list):
            section[key] = _to_plain(value)


def _to_plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _to_plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_to_plain(item) for item in value]
    return value
