"""Filter runs with an expression of `pandas.DataFrame.query`, such as `variant == 'unet' and learning_rate <= 1e-3`.

The expression is checked before pandas evaluates it, because pandas also evaluates calls and attributes. Only
comparisons of columns with numbers and text, `in`, `and`, `or` and `not` are allowed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from pipeline.artifacts.comparison import RUN_COLUMNS, RUN_TEXT_COLUMNS, RunSummary, tabulate_runs
from pipeline.errors import PipelineError
from pipeline.wording import suggest_closest

MAX_LENGTH = 1_000  # characters; pandas recurses once per comparison
EXAMPLE = "variant == 'unet' and learning_rate <= 1e-3"

_ORDER = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)


def is_filter(run_spec: str) -> bool:
    """Return whether a run specification is a filter, which contains an operator, rather than names or patterns."""
    return re.search(r"[=<>]|\sin\s", run_spec) is not None


def filter_runs(rows: Sequence[RunSummary], expression: str) -> tuple[RunSummary, ...]:
    """Select the runs that match an expression.

    A missing value is neither equal to, nor above, nor below any other value.

    Raises:
        PipelineError: The expression is not valid, or names an unknown column.
    """
    if len(expression) > MAX_LENGTH:
        raise PipelineError(
            f"--runs: the filter has {len(expression):,} characters, but at most {MAX_LENGTH:,} are allowed."
        )
    try:
        tree = ast.parse(expression, mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        single = re.search(r"(?<![<>=!])=(?!=)", expression)
        hint = "compare with ==, and put text in quotes" if single else "combine comparisons with and, or"
        raise _error(expression, f"this is not a valid filter; {hint}") from None
    _check_condition(tree.body, expression)
    return tuple(rows[place] for place in tabulate_runs(rows).query(expression, engine="python").index)


def _check_condition(node: ast.expr, expression: str) -> None:
    """Check that a condition consists of comparisons combined with `and`, `or` and `not`.

    Raises:
        PipelineError: The condition contains something else.
    """
    if isinstance(node, ast.BoolOp):
        for value in node.values:
            _check_condition(value, expression)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        _check_condition(node.operand, expression)
    elif isinstance(node, ast.Compare):
        _check_comparison(node, expression)
    else:
        problem = "is not a comparison; write comparisons, combined with and, or, not"
        raise _error(expression, f"'{ast.unparse(node)}' {problem}")


def _check_comparison(node: ast.Compare, expression: str) -> None:
    operands, part = [node.left, *node.comparators], ast.unparse(node)
    types = {_find_type(operand, expression) for operand in operands}
    columns = [operand.id for operand in operands if isinstance(operand, ast.Name)]
    if not columns:
        raise _error(expression, f"'{part}' contains no column; the columns are {', '.join(RUN_COLUMNS)}")
    if len(types) > 1:
        kind, value = ("text", "text in quotes") if columns[0] in RUN_TEXT_COLUMNS else ("a number", "a number")
        raise _error(expression, f"'{part}': {columns[0]} is {kind}; compare it with {value}")
    for operator, right in zip(node.ops, node.comparators, strict=True):
        if isinstance(operator, ast.In | ast.NotIn) != isinstance(right, ast.List | ast.Tuple):
            raise _error(expression, f"'{part}': use a list after in, such as seed in [0, 1], and nowhere else")
        if isinstance(operator, ast.Is | ast.IsNot):
            raise _error(expression, f"'{part}': compare with == or !=")
        if isinstance(operator, _ORDER) and types == {str}:
            raise _error(expression, f"'{part}': compare text with ==, != or in")


def _find_type(node: ast.expr, expression: str) -> type:
    """Return `str` or `float`, the type of an operand."""
    if isinstance(node, ast.Name):
        if node.id in RUN_COLUMNS:
            return str if node.id in RUN_TEXT_COLUMNS else float
        hint = f"{suggest_closest(node.id, RUN_COLUMNS)} Text needs quotes: '{node.id}'"
        raise _error(expression, f"unknown column {node.id}; {hint}")
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return str
    number = node.operand if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) else node
    if isinstance(number, ast.Constant) and type(number.value) in (int, float):
        return float
    if isinstance(node, ast.List | ast.Tuple) and node.elts and all(isinstance(one, ast.Constant) for one in node.elts):
        types = {_find_type(one, expression) for one in node.elts}
        if len(types) == 1:
            return types.pop()
    raise _error(expression, f"'{ast.unparse(node)}' is not a column, a number, or text in quotes")


def _error(expression: str, problem: str) -> PipelineError:
    return PipelineError(f'--runs {expression}: {problem}. Example: --runs "{EXAMPLE}"')
