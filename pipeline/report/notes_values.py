"""Insert values into the author's notes, such as the current number for `{{ best.val_loss }}`."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, fields
from types import SimpleNamespace
from typing import Any

import jinja2
from jinja2.sandbox import SandboxedEnvironment
from jinja2.utils import missing

from pipeline.artifacts.comparison import (
    RUN_COLUMNS,
    Judgment,
    RunSummary,
    Summary,
    list_run_values,
    list_setting_values,
)
from pipeline.errors import PipelineError
from pipeline.number_format import MISSING, format_number
from pipeline.report.figures.feature_maps import NAMES
from pipeline.wording import suggest_closest

# Placeholder of a figure in Markdown, in private-use characters; it becomes a paragraph of its own in HTML.
_PICTURE = "\ue000{}\ue001"
PICTURE_INLINE = re.compile(r"\ue000(\w+)\ue001")
PICTURE_MARK = re.compile(rf"<p>{PICTURE_INLINE.pattern}</p>\n?")

_UNUSED = "\x00"  # occurs in no text, so Jinja's blocks {% and comments {# are disabled


# The attributes of a run, all undefined.
_RUN = dict.fromkeys(
    [field.name for kind in (RunSummary, Judgment) for field in fields(kind) if field.name != "judgment"]
    + list(RUN_COLUMNS)
)


def _build_values(summary: Summary) -> dict[str, Any]:
    """Build the values that expressions can use, by name.

    `best`, `baseline`, `run(name)` and `rate(variant, learning_rate)` have numbers as attributes; undefined numbers are
    None. `picture(name)` is the placeholder of a figure of feature maps.
    """
    runs = {row.run: row for row in summary.runs}
    settings = {f"rate('{row.variant}', {row.learning_rate})": row for row in summary.settings}

    def run(name: str) -> SimpleNamespace:
        if name not in runs:
            raise PipelineError(f"unknown run '{name}'; {suggest_closest(str(name), runs)}")
        row = asdict(runs[name])
        values = {**list_run_values(runs[name]), **row, **(row["judgment"] or {})}
        return SimpleNamespace(**{**_RUN, **_flatten(values)})

    def rate(variant: str, learning_rate: float) -> SimpleNamespace:
        requested = f"rate('{variant}', {learning_rate})"
        for row in settings.values():
            if row.setting == (variant, learning_rate):
                return SimpleNamespace(**_flatten(list_setting_values(row)))
        raise PipelineError(f"the grid has no {requested}; {suggest_closest(requested, settings)}")

    def picture(name: str) -> str:
        if name not in NAMES:
            raise PipelineError(f"unknown picture '{name}'; {suggest_closest(str(name), NAMES)}")
        return _PICTURE.format(name)

    best = summary.best
    scores = {f"test_{name}": getattr(best and best.test, name, None) for name in ("loss", "accuracy", "mean_iou")}
    return {
        "best": SimpleNamespace(**(vars(run(best.run)) if best else _RUN), **scores),
        "baseline": SimpleNamespace(**_flatten(asdict(summary.baseline))),
        "run": run,
        "rate": rate,
        "picture": picture,
    }


def fill_template(text: str, summary: Summary, path: str) -> str:
    """Replace each `{{ expression }}` in text with its value.

    Args:
        text: The text; other braces in it are kept.
        summary: The comparison with the values.
        path: The file that contains the text, for error messages.

    Raises:
        PipelineError: A name is unknown, or an expression is invalid; the message gives the line.
    """
    environment = SandboxedEnvironment(
        block_start_string=f"{_UNUSED}b",
        block_end_string=f"{_UNUSED}B",
        comment_start_string=f"{_UNUSED}c",
        comment_end_string=f"{_UNUSED}C",
        undefined=_Unknown,
        finalize=_format_value,
        keep_trailing_newline=True,
    )
    environment.globals.clear()
    environment.globals.update(_build_values(summary))
    # Replaces Jinja's own filter, whose result would be formatted with three decimals again.
    environment.filters["round"] = lambda value, digits=0: format_number(value, digits)
    environment.filters["percent"] = lambda value: MISSING if value is None else f"{value:.1%}"
    try:
        return environment.from_string(text).render()
    except jinja2.TemplateSyntaxError as error:
        raise PipelineError(f"{path}, line {error.lineno}: invalid expression in double braces: {error}") from None
    except (jinja2.TemplateError, PipelineError, TypeError, ValueError) as error:
        raise PipelineError(f"{path}, line {_find_line(error)}: {error}") from None


class _Unknown(jinja2.StrictUndefined):
    """An unknown name in an expression, whose error message suggests the closest known name."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:  # a message from Jinja's sandbox
            return self._undefined_hint
        if isinstance(self._undefined_obj, _Unknown):
            return self._undefined_obj._undefined_message
        name = str(self._undefined_name)
        if self._undefined_obj is missing:
            return f"unknown value '{name}'; {suggest_closest(name, ('best', 'baseline', 'run', 'rate', 'picture'))}"
        return f"unknown attribute '{name}'; {suggest_closest(name, getattr(self._undefined_obj, '__dict__', ()))}"


def _flatten(row: dict[str, Any]) -> dict[str, Any]:
    """Leave out lists and nested values, and write the learning rate as in run names."""
    values = {name: value for name, value in row.items() if not isinstance(value, (dict, list, tuple))}
    if "learning_rate" in values:
        values["learning_rate"] = str(values["learning_rate"])
    return values


def _format_value(value: object) -> object:
    if isinstance(value, SimpleNamespace):
        names = ", ".join(sorted(vars(value)))
        raise ValueError(f"the expression is a group of values; add a dot and one of these names: {names}")
    if callable(value) and not isinstance(value, jinja2.Undefined):
        raise ValueError("the function needs arguments, such as run('unet-0.004-0') or rate('unet', 1e-3)")
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return MISSING
    return format_number(value) if isinstance(value, float) else value


def _find_line(error: BaseException) -> int:
    """Find the template line that raised an error, using the stack frames that Jinja names `<template>`."""
    line, trace = 1, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
