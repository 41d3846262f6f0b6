"""Write docs/reference/parameters.md from the schema of params.yaml, and command-line.md from the commands' help.

`make reference` runs it; a test checks that the committed pages are up to date.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel

from pipeline.cli import main
from pipeline.params import Params

FOLDER = Path(__file__).parents[1] / "reference"
WIDTH = 100  # columns of the help texts
TAGS = ("source", "family", "name")  # keys that distinguish the forms of a section
LIMITS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
PARAMETERS = """\
# Parameters

Every key of `params.yaml`, generated from its schema. Unknown keys are refused. `pipeline params` checks the file;
`pipeline params --schema` prints the JSON schema for editors. An empty value in YAML is null. Keys with a default are
optional.
"""
COMMAND_LINE = """\
# Command line

Every command with its options, generated from `--help`. Run the commands in the project's folder, or in a study's.
`python -m pipeline` is the same as `pipeline`. With `--json`, commands print their result as JSON, and messages go to
stderr. The results of stages are JSON files, see [Files](files.md).

To complete commands, options and names of runs with Tab, add this line to `~/.bashrc` (for other shells, replace bash
by zsh or fish):

    eval "$(_PIPELINE_COMPLETE=bash_source pipeline)"
"""


def describe_parameters() -> str:
    """Describe every key of `params.yaml` in Markdown: one table per section."""
    parts = [PARAMETERS]
    for name, field in Params.model_fields.items():
        parts += [f"## {name}\n", *_describe_section(name, field.annotation, 2, set())]
    return "\n".join(parts)


def describe_commands() -> str:
    """Describe every command in Markdown: one heading and its help text per command."""
    parts = [COMMAND_LINE]
    for path, command in _walk_commands(main, "pipeline"):
        settings = {**main.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
        with click.Context(command, info_name=path, **settings) as context:
            text = textwrap.indent(command.get_help(context), "    ", lambda line: bool(line.strip()))
        parts += [f"## {path}\n", f"{text}\n"]
    return "\n".join(parts)


def _walk_commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from _walk_commands(child, f"{path} {name}")


def _describe_section(key: str, annotation: Any, level: int, described: set[tuple[str, type[BaseModel]]]) -> list[str]:
    """Describe a section and the sections in it, each one once; a section with several forms has a table for each."""
    models = [model for model in _find_models(annotation) if (key, model) not in described]
    described |= {(key, model) for model in models}
    if len(models) == 1:
        return _describe_model(key, models[0], level, described)
    parts = []
    for model in models:
        heading = f"{'#' * (level + 1)} {key} with `{_find_tag(model)}: {_find_tag_value(model)}`\n"
        parts += [heading, *_describe_model(key, model, level + 1, described)]
    return parts


def _describe_model(key: str, model: type[BaseModel], level: int, described: set[Any]) -> list[str]:
    descriptions = _read_attribute_docstrings(model)
    schema = model.model_json_schema()
    rows, sections = [], []
    for name in sorted(model.model_fields, key=lambda name: name not in TAGS):  # tags first, then in their order
        field = model.model_fields[name]
        default = "" if field.is_required() else _format_default(field.get_default(call_default_factory=True))
        rows.append(f"| `{name}` | {_format_values(schema['properties'][name])} | {default} | {descriptions[name]} |")
        inner = min(level + 1, 4)
        if content := _describe_section(f"{key}.{name}", field.annotation, inner, described):
            sections += [f"{'#' * inner} {key}.{name}\n", *content]
    summary = inspect.cleandoc(model.__doc__ or "").split("\n\n")[0].replace("\n", " ")
    return [f"{summary}\n", "| key | values | default | |", "|---|---|---|---|", *rows, "", *sections]


def _find_models(annotation: Any) -> list[type[BaseModel]]:
    """Return the sections that a value may be, or may contain."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in typing.get_args(annotation) for model in _find_models(argument)]


def _find_tag(model: type[BaseModel]) -> str:
    """Return the key that distinguishes the forms of a section."""
    return next(name for name in TAGS if name in model.model_fields)


def _find_tag_value(model: type[BaseModel]) -> str:
    return str(typing.get_args(model.model_fields[_find_tag(model)].annotation)[0])


def _read_attribute_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Read the strings below the fields of a model and of its bases.

    Pydantic can do this when a class is created, which would slow down every command.
    """
    found: dict[str, str] = {}
    for base in reversed([base for base in model.__mro__ if issubclass(base, BaseModel) and base.model_fields]):
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(definition, ast.ClassDef)
        for field, text in zip(definition.body, definition.body[1:], strict=False):
            is_text = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and is_text:
                found[field.target.id] = " ".join(str(text.value.value).split())  # type: ignore[attr-defined]
    if missing := model.model_fields.keys() - found.keys():
        raise SystemExit(f"{model.__module__}.{model.__name__}: add a docstring below {', '.join(sorted(missing))}")
    return found


def _format_default(value: Any) -> str:
    if isinstance(value, BaseModel):
        return "each key's default"
    if value is None or isinstance(value, bool):
        return f"`{'null' if value is None else str(value).lower()}`"
    if isinstance(value, float):
        return f"`{value:.6g}`"
    if isinstance(value, tuple):
        return f"`{list(value)}`"
    return f"`{value}`" if value != "" else "empty"


def _format_values(schema: dict[str, Any]) -> str:
    """Describe the values that a JSON schema accepts."""
    if "$ref" in schema:
        return "section"
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if forms := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(map(_format_values, forms)))
    match schema["type"]:
        case "array" if "prefixItems" in schema:
            return "two numbers"
        case "array":
            item = _format_values(schema["items"])
            return "list of sections" if item == "section" else f"list of {item}"
        case "object":
            return "mapping"
        case "null":
            return "`null`"
        case "boolean":
            return "`true`, `false`"
        case "string":
            return "text"
        case kind:
            limits = ", ".join(f"{words} {schema[limit]}" for limit, words in LIMITS.items() if limit in schema)
            return f"{kind} ({limits})" if limits else str(kind)


if __name__ == "__main__":
    (FOLDER / "parameters.md").write_text(describe_parameters(), encoding="utf-8")
    (FOLDER / "command-line.md").write_text(describe_commands(), encoding="utf-8")
