"""Format YAML as DVC does, so that `dvc exp run -S train.epochs=3` changes one line only."""

from __future__ import annotations

import io
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

_MAX_PASSES = 5  # comments beside values of a new length settle in the second pass


def format_like_dvc(text: str) -> str:
    """Format YAML so that DVC, which rewrites the whole file when it sets one value, leaves every other line alone.

    DVC keeps the comments of mappings. It replaces each list by a plain one, and drops comments and blank lines that
    follow an item.

    Text whose values ruamel cannot write, such as one with a next-line character (U+0085), is returned unchanged.
    """
    formatted = text
    try:
        for _ in range(_MAX_PASSES):
            before, formatted = formatted, _rewrite(formatted)
            if formatted == before:
                break
        return formatted if _load(formatted) == _load(text) else text
    except YAMLError:  # ruamel cannot read {a: :0}, which it writes
        return text


def _load(text: str) -> Any:
    return YAML(typ="safe").load(text)


def _rewrite(text: str) -> str:
    document = YAML().load(text)
    _replace_lists(document)
    yaml = YAML()
    yaml.default_flow_style = False
    stream = io.StringIO()
    yaml.dump(document, stream)
    return stream.getvalue()


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
