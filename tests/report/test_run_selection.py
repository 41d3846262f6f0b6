"""Selecting runs by name, pattern, filter or rank, and errors in selections."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.artifacts.project import REPORT
from pipeline.errors import PipelineError
from pipeline.report.run_selection import MAX_STEM, select_runs

if TYPE_CHECKING:
    from tests.report.conftest import ReportProject


def test_none_and_all_select_every_run_for_different_files(project: ReportProject) -> None:
    all_runs = tuple(row.run for row in project.summary.runs)
    default, everything = select_runs(project.summary, None), select_runs(project.summary, "all")
    assert default.names == everything.names == all_runs
    assert (default.out, everything.out) == (REPORT, Path("reports/all.html"))


def test_best_selects_the_best_run_of_the_grid(project: ReportProject) -> None:
    selection = select_runs(project.summary, "best")
    assert project.summary.best is not None
    assert (selection.names, selection.out) == ((project.summary.best.run,), Path("reports/best.html"))


def test_names_are_in_grid_order_and_name_the_file(project: ReportProject) -> None:
    selection = select_runs(project.summary, " unet_no_skip-0.001-0, unet-0.01-1,unet-0.01-1")
    assert selection.names == ("unet-0.01-1", "unet_no_skip-0.001-0")
    assert selection.out == Path("reports/unet-0.01-1+unet_no_skip-0.001-0.html")


def test_long_file_names_are_shortened_but_distinct(project: ReportProject) -> None:
    names = [row.run for row in project.summary.runs]
    first, second = (select_runs(project.summary, ",".join(runs)).out.stem for runs in (names, names[:-1]))
    assert len(first) == len(second) == MAX_STEM
    assert first != second


def test_unknown_name_is_reported_with_the_closest_match(project: ReportProject) -> None:
    with pytest.raises(PipelineError, match=r"no run 'unet-0\.1-1'.*available runs: unet-0\.01-1, "):
        select_runs(project.summary, "unet-0.1-1")


@pytest.mark.parametrize("selection", ["", " , "])
def test_empty_selection_lists_the_runs(project: ReportProject, selection: str) -> None:
    with pytest.raises(PipelineError, match=r"selection is empty.*unet-0\.01-0"):
        select_runs(project.summary, selection)


def test_best_of_an_unranked_or_empty_grid_is_refused(project: ReportProject) -> None:
    with pytest.raises(PipelineError, match="no best run"):
        select_runs(replace(project.summary, best=None), "best")
    with pytest.raises(PipelineError, match="contains no runs"):
        select_runs(replace(project.summary, runs=()), None)


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ("unet-*", ["unet-0.01-0", "unet-0.01-1", "unet-0.001-0", "unet-0.001-1"]),
        ("*-0.001-?", ["unet-0.001-0", "unet-0.001-1", "unet_no_skip-0.001-0", "unet_no_skip-0.001-1"]),
        ("unet-0.01-1, *skip-0.01-0", ["unet-0.01-1", "unet_no_skip-0.01-0"]),
        ("variant == 'unet' and learning_rate <= 1e-3", ["unet-0.001-0", "unet-0.001-1"]),
        ('seed != 0 and variant=="unet"', ["unet-0.01-1", "unet-0.001-1"]),
        ("variant in ['unet', 'x'] and 1e-4 < learning_rate < 5e-3 and seed not in [0]", ["unet-0.001-1"]),
        ("not (variant == 'unet' or seed == 0 or learning_rate > 1e-3)", ["unet_no_skip-0.001-1"]),
        ("seed < -1 or status == 'diverged'", ["unet_no_skip-0.01-1"]),
    ],
)
def test_patterns_and_filters_select_runs(project: ReportProject, selection: str, expected: list[str]) -> None:
    assert list(select_runs(project.summary, selection).names) == expected


def test_filter_on_the_verdict_selects_the_runs_with_it(project: ReportProject) -> None:
    word = next(row.judgment.verdict for row in project.summary.runs if row.judgment)
    expected = tuple(row.run for row in project.summary.runs if row.judgment and row.judgment.verdict == word)
    assert select_runs(project.summary, f"verdict == '{word}'").names == expected


def test_missing_number_matches_no_comparison(project: ReportProject) -> None:
    runs_below, runs_above = (select_runs(project.summary, f"val_loss {sign} 0.3").names for sign in ("<", ">="))
    all_runs = {row.run for row in project.summary.runs}
    assert all_runs - {*runs_below, *runs_above} == {"unet_no_skip-0.01-1"}  # it diverged


def test_columns_can_be_compared_with_each_other(project: ReportProject) -> None:
    names = select_runs(project.summary, "val_loss > train_loss").names
    expected = [row.run for row in project.summary.runs if row.val_loss and row.val_loss > (row.train_loss or 0)]
    assert list(names) == expected


def test_best_settings_are_represented_by_their_median_runs(project: ReportProject) -> None:
    ranked = sorted(
        (setting for setting in project.summary.settings if setting.ranked),
        key=lambda setting: setting.val_loss_mean or 0,
    )
    selection = select_runs(project.summary, "best:2")
    assert set(selection.names) == {setting.run for setting in ranked[:2]}
    assert selection.out == Path("reports/best-2.html")
    assert len(select_runs(project.summary, "best:99").names) == 3  # the fourth setting has a diverged seed


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ("best:0", "positive whole number"),
        ("best:many", "positive whole number"),
        ("vnet-*", "no run 'vnet-*'"),
        ("variant == 'vnet'", "--runs variant == 'vnet': no run matches; available runs: unet-0.01-0"),
        ("variant=unet", "compare with =="),
        ("variant == unet", "Text needs quotes: 'unet'"),
        (
            "learning_rat == 0.1",
            "unknown column learning_rat; did you mean learning_rate? Text needs quotes: 'learning_rat'.",
        ),
        ("seed == 'one'", "seed is a number"),
        ("variant == 1", "variant is text"),
        ("variant < 'unet'", "compare text with ==, != or in"),
        ("seed == 0, run == 'unet-0.01-0'", "is not a comparison"),
        ("seed == 0 & seed == 0", "is not a column, a number, or text"),
        ("seed == [0, 1]", "use a list after in"),
        ("seed in 'ab'", "seed is a number"),
        ("1 < 2", "contains no column"),
        ("gap < ", "not a valid filter"),
        (" and ".join(["seed == 1"] * 200), "at most 1,000 are allowed"),
    ],
)
def test_invalid_selection_is_explained(project: ReportProject, selection: str, expected: str) -> None:
    with pytest.raises(PipelineError) as error:
        select_runs(project.summary, selection)
    assert expected in str(error.value)


@pytest.mark.parametrize(
    "selection",
    [
        "__import__('os').system('touch harmed') == 0",
        "run.str.len() == @pd.eval('1')",
        "run == open('harmed', 'w').name",
        "seed == (lambda: 1)()",
        "seed == 9 ** 9 ** 9",
        "[seed for seed in [1]] == 1",
        "seed == f'{open}'",
        "`seed` == 1",
        "run.index == 0",
        "(x := seed) == 0",
    ],
)
def test_filter_never_evaluates_code(
    project: ReportProject, selection: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PipelineError, match="--runs"):
        select_runs(project.summary, selection)
    assert list(tmp_path.glob("harmed")) == []
