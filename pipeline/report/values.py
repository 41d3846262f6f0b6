"""Live numbers in the author's words: `{{ best.val_loss }}` stays right when the runs are trained again."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, fields
from types import SimpleNamespace
from typing import Any

import jinja2
from jinja2.sandbox import SandboxedEnvironment
from jinja2.utils import missing

from pipeline.comparison import Judgement, RateRow, RunRow, Summary
from pipeline.errors import PipelineError
from pipeline.report import wording
from pipeline.report.figures.maps import NAMES

# What a picture is until the text is HTML: a paragraph of its own, of characters that no text means anything by.
_PICTURE = "\ue000{}\ue001"
PICTURE_INLINE = re.compile(r"\ue000(\w+)\ue001")
PICTURE_MARK = re.compile(rf"<p>{PICTURE_INLINE.pattern}</p>\n?")

_NEVER = "\x00"  # what no text holds: only {{ }} means something, so that {# and {% may stand in Markdown


# What is said of a run, where nothing is known of it.
_RUN = dict.fromkeys(field.name for kind in (RunRow, Judgement) for field in fields(kind) if field.name != "judgement")


class Values:
    """The names that the notes may use.

    `best`, `baseline`, `run(name)` and `rate(variant, learning_rate)` have numbers; `picture(name)`, alone in its
    paragraph, becomes a figure of the network's maps.
    """

    def __init__(self, summary: Summary) -> None:
        self._summary = summary

    def names(self) -> dict[str, Any]:
        """By name; what is not known is None."""
        return {
            "best": self._best(),
            "baseline": SimpleNamespace(**_plain(asdict(self._summary.baseline))),
            "run": self._run,
            "rate": self._rate,
            "picture": _picture,
        }

    def _best(self) -> SimpleNamespace:
        """The grid's best run, with what the test says of it; all unknown where nothing is ranked."""
        best = self._summary.best
        found = vars(self._run(best.run)) if best else _RUN
        test = best.test if best else None
        scores = {"test_loss": "loss", "test_accuracy": "accuracy", "test_mean_iou": "mean_iou"}
        return SimpleNamespace(**found, **{name: getattr(test, score, None) for name, score in scores.items()})

    def _run(self, name: str) -> SimpleNamespace:
        rows = {row.run: row for row in self._summary.runs}
        if name not in rows:
            raise PipelineError(f"there is no run '{name}'; {wording.nearest(str(name), rows)}")
        row = asdict(rows[name])
        return SimpleNamespace(**{**_RUN, **_plain({**row, **(row["judgement"] or {})})})

    def _rate(self, variant: str, learning_rate: float) -> SimpleNamespace:
        rows: dict[str, RateRow] = {f"rate('{row.variant}', {row.learning_rate})": row for row in self._summary.rates}
        for row in rows.values():
            if (row.variant, row.learning_rate) == (variant, learning_rate):
                return SimpleNamespace(**_plain(asdict(row)))
        wanted = f"rate('{variant}', {learning_rate})"
        raise PipelineError(f"the grid has no {wanted}; {wording.nearest(wanted, rows)}")


def filled(text: str, summary: Summary, path: str) -> str:
    """The text with its `{{ }}` replaced; other braces stay.

    Args:
        text: Markdown.
        summary: what the values come from.
        path: the text's file, for complaints.

    Raises:
        PipelineError: A name is not known, or what stands in the braces is no expression; with the line.
    """
    environment = SandboxedEnvironment(
        block_start_string=f"{_NEVER}b",
        block_end_string=f"{_NEVER}B",
        comment_start_string=f"{_NEVER}c",
        comment_end_string=f"{_NEVER}C",
        undefined=_Unknown,
        finalize=_as_text,
        keep_trailing_newline=True,
    )
    environment.globals.clear()
    environment.globals.update(Values(summary).names())
    # Rounded as the page rounds: Jinja's own would make a number of it, which is written with three decimals again.
    environment.filters["round"] = lambda value, digits=0: wording.number(value, digits)
    environment.filters["percent"] = lambda value: wording.NONE if value is None else wording.percent(value)
    try:
        return environment.from_string(text).render()
    except jinja2.TemplateSyntaxError as error:
        raise PipelineError(f"{path}, line {error.lineno}: between the braces stands no value: {error}") from None
    except (jinja2.TemplateError, PipelineError, TypeError, ValueError) as error:
        raise PipelineError(f"{path}, line {_line(error)}: {error}") from None


def _picture(name: str) -> str:
    if name not in NAMES:
        raise PipelineError(f"there is no picture '{name}'; {wording.nearest(str(name), NAMES)}")
    return _PICTURE.format(name)


class _Unknown(jinja2.StrictUndefined):
    """A name that is not there, said with the nearest that is."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:  # the sandbox's own words
            return self._undefined_hint
        if isinstance(self._undefined_obj, _Unknown):
            return self._undefined_obj._undefined_message
        name = str(self._undefined_name)
        if self._undefined_obj is missing:
            return (
                f"there is no value '{name}'; {wording.nearest(name, ('best', 'baseline', 'run', 'rate', 'picture'))}"
            )
        return f"there is no '{name}' here; {wording.nearest(name, getattr(self._undefined_obj, '__dict__', ()))}"


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Without lists and sections; a learning rate spelled as in the run's name."""
    plain = {name: value for name, value in row.items() if not isinstance(value, (dict, list, tuple))}
    if "learning_rate" in plain:
        plain["learning_rate"] = wording.rate(plain["learning_rate"])
    return plain


def _as_text(value: object) -> object:
    if isinstance(value, SimpleNamespace):
        raise ValueError(f"this is a group of values: add a point and one of {', '.join(sorted(vars(value)))}")
    if callable(value) and not isinstance(value, jinja2.Undefined):
        raise ValueError("this takes names in brackets, such as run('unet-0.001-0') or rate('unet', 1e-3)")
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return wording.NONE
    return wording.number(value) if isinstance(value, float) else value


def _line(error: BaseException) -> int:
    """The line of the text that an error comes from: Jinja's own frames are named <template>."""
    line, trace = 1, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
