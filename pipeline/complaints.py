"""Words what pydantic found wrong with `params.yaml`: key, found, expected, and the nearest valid key."""

from __future__ import annotations

import difflib
import typing
from typing import Any

from pydantic import BaseModel, ValidationError

_EXPECTED = {
    "missing": "is missing; add it (params.yaml of a fresh checkout shows every key with a comment)",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "finite_number": "must be a finite number",
    "literal_error": "must be one of {expected}",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number such as 1e-3",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "list_type": "must be a list such as [1, 2]",
    "too_short": "must have at least {min_length} entry",
    "dict_type": "must be a section of keys",
    "model_type": "must be a section of keys",
    "union_tag_not_found": "must be a section with a family: key",
    "union_tag_invalid": "must have a family that is one of {expected_tags}",
}


def describe(error: ValidationError, model: type[BaseModel], where: str) -> list[str]:
    """A line for each mistake; `where` is the key that the validated content stands under."""
    lines = []
    for item in error.errors(include_url=False):
        # A discriminated union puts its tag into the path; the file has no such level.
        path = [part for part in item["loc"] if part not in _tags(item["loc"], model)]
        key = _dotted([where, *path] if where else path)
        if item["type"] == "extra_forbidden":
            valid = _keys_at(model, item["loc"][:-1])
            near = difflib.get_close_matches(str(path[-1]), valid, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]}?" if near else f"valid keys here: {', '.join(valid)}."
            lines.append(f"{key}: there is no such key; {hint}")
            continue
        expected = _EXPECTED.get(item["type"], item["msg"].removeprefix("Value error, ")).format(**item.get("ctx", {}))
        found = "" if item["type"] == "missing" else f", but is {item['input']!r}"
        lines.append(f"{key}: {expected}{found}.")
    return lines


def _dotted(path: list[Any]) -> str:
    key = ""
    for part in path:
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else str(part)
    return key


def _tags(path: tuple[Any, ...], model: type[BaseModel]) -> set[str]:
    """The parts of a path that are tags of a union and not keys of the file."""
    return {str(path[i + 1]) for i in range(len(path) - 1) if path[i] == "model" and "model" in model.model_fields}


def _keys_at(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    """The valid keys of the section that a path leads to, tags of unions included."""
    here: list[type[BaseModel]] = [model]
    for part in path:
        found = [m for m in here if part in m.model_fields]
        if found:
            here = [inner for m in found for inner in _models_in(m.model_fields[part].annotation)]
        else:
            here = [m for m in here if _tag(m) == part] or here
    return sorted({key for m in here for key in m.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in _models_in(part)]


def _tag(model: type[BaseModel]) -> str | None:
    field = model.model_fields.get("family")
    return typing.get_args(field.annotation)[0] if field else None
