"""Convert pydantic's validation errors to messages about the keys of `params.yaml`."""

from __future__ import annotations

import re
import typing
from typing import Any

from pydantic import BaseModel, ValidationError

from pipeline.wording import find_closest, suggest_closest

_EXPECTED = {
    "missing": "is missing; add it (docs/reference/parameters.md describes every key)",
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
    "union_tag_not_found": "must be a section with a {discriminator}: key",
    "union_tag_invalid": "must have a {discriminator} that is one of {expected_tags}",
}


def describe_errors(error: ValidationError, model: type[BaseModel], where: str) -> list[str]:
    """Describe each error on one line, with the key, the value, what is expected, and the closest valid choice.

    Args:
        error: Error of the validation.
        model: Schema that the content was validated against.
        where: Key of the validated content in the file; empty for the whole file.
    """
    lines = []
    for item in error.errors(include_url=False):
        path, sections, discriminator = _walk(model, item["loc"])
        key = _dotted([where, *path] if where else path)
        if item["type"] == "extra_forbidden":
            valid = sorted({name for section in sections for name in section.model_fields})
            hint = suggest_closest(str(path[-1]), valid, f"valid keys here: {', '.join(valid)}.")
            lines.append(f"{key}: unknown key; {hint}")
            continue
        if item["type"] in ("dict_type", "model_type") and discriminator and isinstance(item["input"], str):
            example = _as_section(item["input"], sections, discriminator)
            lines.append(f"{key}: must be a section of keys, but is {item['input']!r}; {example}")
            continue
        expected = _EXPECTED.get(item["type"])
        if expected is None:  # pydantic's or a validator's message may contain braces
            expected = item["msg"].removeprefix("Value error, ")
        else:
            expected = expected.format(**{name: _unquoted(name, value) for name, value in item.get("ctx", {}).items()})
        found = item["ctx"]["tag"] if item["type"] == "union_tag_invalid" else item["input"]
        said = "" if item["type"] == "missing" else f", but is {found!r}"
        quoted = item["type"] in ("float_type", "int_type") and isinstance(found, str) and _is_number(found)
        ending = "; remove the quotes." if quoted else _suggest(found, item.get("ctx", {}))
        lines.append(f"{key}: {expected}{said}{ending}")
    return lines


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _suggest(found: Any, context: dict[str, Any]) -> str:
    """Return the end of a message: a suggestion if one of the valid choices is close to the value, else a period."""
    named = re.findall(r"'([^']*)'", str(context.get("expected_tags", context.get("expected", ""))))
    near = find_closest(str(found), named)
    return f"; did you mean {near}?" if near else "."


def _as_section(name: str, sections: list[type[BaseModel]], discriminator: str) -> str:
    """Show how to write a section when only its name was given."""
    named = {_tag(section, discriminator) or "": section for section in sections}
    near = find_closest(name, named)
    if near is None:
        return f"write {{{discriminator}: ...}} with one of {', '.join(named)}, and its keys."
    keys = [f"{key}: {near if key == discriminator else '...'}" for key in named[near].model_fields]
    return f"write {{{', '.join(keys)}}}."


def _walk(model: type[BaseModel], location: tuple[Any, ...]) -> tuple[list[Any], list[type[BaseModel]], str | None]:
    """Follow the location of a pydantic error through the sections of a model.

    Returns:
        The keys in the file; the sections that the last key may be or belong to; and the key whose value selects one of
        these sections, or None if there is no choice.
    """
    path: list[Any] = []
    here = [model]
    discriminator: str | None = None  # key whose value selects a member of a union: family, source
    for part in location:
        tagged = [section for section in here if discriminator and _tag(section, discriminator) == part]
        if tagged:  # the selected member of a union is not a level of the file
            here, discriminator = tagged, None
            continue
        path.append(part)
        fields = [section.model_fields[part] for section in here if part in section.model_fields]
        discriminator = next((field.discriminator for field in fields if isinstance(field.discriminator, str)), None)
        here = [found for field in fields for found in _sections_in(field.annotation)] or here
    return path, here, discriminator


def _dotted(path: list[Any]) -> str:
    key = ""
    for part in path:
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else str(part)
    return key


def _sections_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for part in typing.get_args(annotation) for section in _sections_in(part)]


def _tag(section: type[BaseModel], discriminator: str) -> str | None:
    field = section.model_fields.get(discriminator)
    return typing.get_args(field.annotation)[0] if field else None


def _unquoted(name: str, value: Any) -> Any:
    return str(value).strip("'") if name == "discriminator" else value
