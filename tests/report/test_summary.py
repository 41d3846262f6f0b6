"""`pipeline summary`: Markdown, JSON, CSV, figures, and conditions that fail."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.analysis.best_setting import NAMES, TEXT_NAMES, describe_best
from pipeline.analysis.ranked_metric import get_metric
from pipeline.artifacts.comparison import SettingSummary
from pipeline.artifacts.run_folder import RunTiming
from pipeline.cli import main
from pipeline.compare.settling import list_settlings
from pipeline.compare.summary_tables import summarize_settings
from pipeline.errors import PipelineError
from pipeline.summary.gate import parse_condition
from pipeline.wording import format_duration
from tests.report.conftest import REPOSITORY, ReportProject

Run = Callable[..., Result]


@pytest.fixture
def run(project: ReportProject, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A function that runs `pipeline summary` in the project's folder."""
    shutil.copy(REPOSITORY / "params.yaml", project.root)
    monkeypatch.chdir(project.root)
    return lambda *arguments: CliRunner().invoke(main, ["summary", *arguments])


def test_markdown_fits_a_comment_and_names_the_best_setting(run: Run, project: ReportProject) -> None:
    result = run()
    assert result.exit_code == 0
    assert len(result.output.splitlines()) < 60
    best = project.summary.best
    assert best is not None
    assert f"**Best: {best.setting}**" in result.output
    assert result.output.count("\n| ") == 1 + len(project.summary.settings)  # with the heading
    assert "1 diverged" in result.output


def test_markdown_of_a_large_grid_has_less_than_60_lines(run: Run, project: ReportProject) -> None:
    settings = [
        SettingSummary(f"v{i}", 0.01, 1, 1, True, None, 0.5, None, 0.1, None, 0.5, None, 0.0) for i in range(300)
    ]
    project.write_summary(replace(project.summary, settings=(*project.summary.settings, *settings)))
    project.write_findings(*((f"Finding {i}.", []) for i in range(50)))
    output = run().output
    assert len(output.splitlines()) < 60
    assert "more settings in `comparison/settings.csv`" in output


def test_unranked_grid_is_described(run: Run, project: ReportProject) -> None:
    project.write_summary(replace(project.summary, best=None, best_of_variant=()))
    assert "**No setting is ranked**" in run().output
    assert json.loads(run("--json").output)["best"] is None


def test_json_has_the_numbers_of_the_comparison(run: Run, project: ReportProject) -> None:
    content = json.loads(run("--json").output)
    assert content["best"] == describe_best(project.summary)
    assert [row["val_loss_mean"] for row in content["settings"]] == [
        row.val_loss_mean for row in project.summary.settings
    ]
    assert content["runs"] == {"finished": 7, "diverged": 1}


def test_csv_is_the_table_of_settings(run: Run, project: ReportProject) -> None:
    table = pd.read_csv(io.StringIO(run("--csv").output))
    assert list(table["variant"]) == [row.variant for row in project.summary.settings]


def test_figures_are_written_and_linked(run: Run, project: ReportProject) -> None:
    output = run("--figures", "figures").output
    for name in ("loss-curves.png", "settings.png"):
        assert f"](figures/{name})" in output
        with Image.open(project.root / "figures" / name) as image:
            assert min(image.size) > 100


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        ("best.verdict != memorizing", 0),
        ("best.verdict!=learning", 3),
        ("best.verdict == 'memorizing'", 3),
        ("best.gap > 9", 0),
        ("best.gap>=0", 3),
        ("best.val_loss <= 1e2", 3),
        ("best.gap_sd > 9", 0),
    ],
)
def test_condition_that_holds_exits_with_code_3(run: Run, condition: str, code: int) -> None:
    result = run("--fail-on", "best.seeds < 1", "--fail-on", condition)
    assert result.exit_code == code
    assert ("Failed: best." in result.stderr) == (code == 3)
    assert "**Best:" in result.stdout  # the results are printed in any case


def test_condition_on_an_undefined_value_counts_as_one_that_holds(run: Run, project: ReportProject) -> None:
    assert project.summary.best is not None
    project.write_summary(replace(project.summary, best=replace(project.summary.best, test_by_seed=())))
    result = run("--fail-on", "best.test_loss > 9")
    assert result.exit_code == 3
    assert "best.test_loss is undefined" in result.stderr


@pytest.mark.parametrize("name", ["hd95", "test_hd95"])
def test_mean_without_one_of_the_seeds_is_undefined(run: Run, project: ReportProject, name: str) -> None:
    summary = project.summary
    assert summary.best is not None
    defined = [{"hd95": None if name == "test_hd95" and seed else 17.0} for seed in range(2)]
    rows = [replace(row, val_metrics={"hd95": None if name == "hd95" and row.seed else 17.0}) for row in summary.runs]
    settings = summarize_settings(rows, get_metric("val_loss", (), ()))
    best = replace(summary.best, test_metrics_by_seed=tuple(defined))
    project.write_summary(replace(summary, runs=tuple(rows), settings=tuple(settings), best=best))
    assert run("--fail-on", f"best.{'test_hd95' if name == 'hd95' else 'hd95'} > 20").exit_code == 0
    result = run("--fail-on", f"best.{name} > 20")
    assert result.exit_code == 3
    assert f"best.{name} is undefined" in result.stderr


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("best.val_los > 1", "did you mean best.val_loss?"),
        ("gap > 1", "gap is unknown"),
        ("best.gap", "is not a condition such as"),
        ("best.verdict > learning", "best.verdict is text"),
        ("best.gap > high", "'high' is not"),
        ("best.gap > nan", "'nan' is not"),
        ("best.verdict == overfiting", "did you mean overfitting?"),
    ],
)
def test_invalid_condition_is_explained_before_anything_is_printed(run: Run, condition: str, message: str) -> None:
    result = run("--fail-on", condition)
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stdout == ""


@given(st.sampled_from(sorted(set(NAMES) - set(TEXT_NAMES))), st.floats(allow_nan=False, allow_infinity=False))
def test_number_is_below_equal_to_or_above_a_constant(name: str, constant: float) -> None:
    best = {**dict.fromkeys(NAMES), name: 0.25}
    held = [symbol for symbol in ("<", "==", ">") if _holds(f"best.{name} {symbol} {constant!r}", best)]
    assert held == ["<" if constant > 0.25 else "==" if constant == 0.25 else ">"]


@given(st.text())
def test_any_text_is_a_condition_or_an_error(text: str) -> None:
    try:
        condition = parse_condition(text)
    except PipelineError:
        return
    assert condition.name in NAMES


def _holds(text: str, best: dict[str, float | None]) -> bool:
    return parse_condition(text).explain_failure(best) is not None


def test_json_and_csv_exclude_each_other(run: Run) -> None:
    assert run("--json", "--csv").exit_code == 2


def test_missing_comparison_is_named(run: Run, project: ReportProject) -> None:
    shutil.rmtree(project.root / "comparison")
    result = run()
    assert result.exit_code == 1
    assert "comparison/summary.json is missing" in result.stderr
    assert not Path("figures").exists()


def test_time_of_proposed_seeds_is_printed_if_the_times_of_the_runs_are_known(run: Run, project: ReportProject) -> None:
    assert "more seed" not in run().output
    for row in project.summary.runs:
        folder = project.project.run(row.run)
        timing = RunTiming(folder.record.key, 90.0, 80.0, 5.0, 10.0, (), "a processor", "2.0")
        folder.write_json(folder.TIMING, timing)
    settling = [one for one in list_settlings(project.summary, 0.02) if one.new_seeds]
    assert settling
    output = run().output
    for one in settling:
        time = format_duration(180.0 * len(one.new_seeds))
        assert f"of {one.first.setting} and {one.second.variant} at" in output
        assert f"take about {time} to train" in output
