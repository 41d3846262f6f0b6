"""Formatting of numbers, lists and code for the report."""

from __future__ import annotations

import math

import pytest

from pipeline.number_format import format_number, format_spread
from pipeline.report.formatting import mark_code


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.12345, "0.123"), (-0.5, "−0.500"), (-0.0001, "0.000"), (None, "–"), (math.nan, "–"), (math.inf, "–")],
)
def test_format_number(value: float | None, text: str) -> None:
    assert format_number(value) == text


def test_format_spread_omits_missing_numbers() -> None:
    assert format_spread(0.5, 0.01) == "0.500\u00a0±\u00a00.010"
    assert format_spread(0.5, None) == "0.500"
    assert format_spread(None, None) == "–"


def test_format_spread_adds_decimals_to_a_small_standard_deviation() -> None:
    assert format_spread(0.19983, 0.00046) == "0.1998\u00a0±\u00a00.0005"
    assert format_spread(0.19983, 0.00004) == "0.19983\u00a0±\u00a00.00004"
    assert format_spread(0.19983, 0.000004) == "0.200\u00a0±\u00a00.000"
    assert format_spread(0.2, 0.0) == "0.200\u00a0±\u00a00.000"


def test_mark_code_converts_backticks_and_escapes_tags() -> None:
    assert mark_code("run `make <x>` <now>") == "run <code>make &lt;x&gt;</code> &lt;now&gt;"
