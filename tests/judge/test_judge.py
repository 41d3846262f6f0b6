"""`pipeline judge` on loss curves of other tools, and on invalid files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure
from PIL import Image

from pipeline.analysis.curves import LossCurves
from pipeline.analysis.verdict import judge
from pipeline.cli import main
from pipeline.curve_readers.logged_run import RunCurves
from pipeline.judge.curve_plot import draw_panel
from tests.curve_readers.write_logs import create_scalar, write_events, write_plain, write_tensorboard, write_text


def judge_file(path: Path, *options: str) -> list[dict]:
    result = CliRunner().invoke(main, ["judge", str(path), "--json", *options])
    assert result.exit_code == 0, result.output
    return list(json.loads(result.stdout))


def get_error(path: Path, *options: str) -> str:
    result = CliRunner().invoke(main, ["judge", str(path), *options])
    assert result.exit_code == 1
    assert result.stdout == ""
    return str(result.stderr)


@pytest.fixture
def curve_file(tmp_path: Path) -> Path:
    return write_plain(tmp_path)


def test_judge_prints_the_verdict_and_its_evidence(curve_file: Path) -> None:
    result = CliRunner().invoke(main, ["judge", str(curve_file)])
    assert result.stdout.startswith("plain: memorizing\n")
    assert "2.13 times as high" in result.stdout
    assert "not checked: Underfitting" in result.stdout
    with_baseline = CliRunner().invoke(main, ["judge", str(curve_file), "--baseline", "0.15"])
    assert "plain: underfitting" in with_baseline.stdout


def test_judge_accepts_runs_of_different_lengths(tmp_path: Path) -> None:
    lines = [f"a,{epoch},{1 / epoch},{1 / epoch + 0.01}" for epoch in range(1, 13)]
    lines += [f"b,{epoch},nan,nan" for epoch in range(1, 4)]
    judgments = judge_file(write_text(tmp_path / "runs.csv", "run,epoch,train_loss,val_loss", *lines))
    assert [(entry["run"], entry["verdict"]) for entry in judgments] == [("a", "learning"), ("b", "diverged")]
    assert judgments[1]["gap"] is None


def test_judge_of_a_run_without_validation_judges_the_others(tmp_path: Path) -> None:
    lines = [f"crashed,{epoch},{1 / epoch}," for epoch in range(1, 4)]
    path = write_text(tmp_path / "runs.csv", "run,epoch,train_loss,val_loss", *lines)
    assert "run crashed has a training loss (train_loss) but no validation loss" in get_error(path)
    lines += [f"{run},{epoch},{1 / epoch},{1 / epoch + 0.01}" for run in "ab" for epoch in range(1, 13)]
    judgments = judge_file(write_text(path, "run,epoch,train_loss,val_loss", *lines))
    assert [(entry["run"], entry["verdict"]) for entry in judgments] == [("a", "learning"), ("b", "learning")]
    assert "Runs that were left out: crashed." in judgments[0]["evidence"][-1]
    assert "has a training loss (train_loss) but no validation loss" in judgments[0]["evidence"][-1]


def test_judge_of_tensorboard_ignores_hyperparameters(tmp_path: Path) -> None:
    folder = write_tensorboard(tmp_path / "logs")
    write_events(folder / "1700000000.1" / "events.out.tfevents.1.host", [create_scalar("hparam/val_loss", 0.4, 0)])
    (judgment,) = judge_file(tmp_path / "logs")
    assert judgment["verdict"] == "memorizing"
    assert "Runs that were left out: run/1700000000.1." in judgment["evidence"][-1]


@pytest.mark.parametrize("baseline", ["nan", "inf", "0", "-1"])
def test_judge_with_an_invalid_baseline_is_refused(baseline: str, curve_file: Path) -> None:
    result = CliRunner().invoke(main, ["judge", str(curve_file), "--baseline", baseline])
    assert result.exit_code == 2
    assert "Invalid value for '--baseline'" in result.stderr


def test_judge_is_invariant_to_the_order_of_rows_and_runs(tmp_path: Path) -> None:
    lines = [f"{run},{epoch},{1 / epoch},{1 / epoch + run / 100}" for run in (1, 2) for epoch in range(1, 13)]
    first = judge_file(write_text(tmp_path / "a.csv", "run,epoch,train_loss,val_loss", *lines))
    second = judge_file(write_text(tmp_path / "b.csv", "run,epoch,train_loss,val_loss", *reversed(lines)))
    assert sorted(first, key=lambda entry: entry["run"]) == sorted(second, key=lambda entry: entry["run"])


def test_judge_reports_skipped_and_averaged_epochs(tmp_path: Path) -> None:
    lines = ["1,0.9,0.9", "2,0.8,", "3,0.7,0.8", "3,0.5,0.8", "5,0.5,0.7"]
    (judgment,) = judge_file(write_text(tmp_path / "x.csv", "epoch,train_loss,val_loss", *lines))
    evidence = " ".join(judgment["evidence"])
    assert "left out: 2" in evidence
    assert "averaged: 3" in evidence


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "is empty"),
        ("epoch,train_loss,val_loss\n", "has no rows"),
        ("epoch,train,accuracy\n1,2,3\n", "has the columns epoch, train, accuracy; expected"),
        ("epoch,train_loss,val_loss\n1,low,0.3\n", "line 2: train_loss must be a number such as 0.25, but is 'low'"),
        ("epoch,train_loss,val_loss\n1.5,0.2,0.3\n", "line 2: the epoch must be a whole number, but is '1.5'"),
        ("epoch,train_loss,val_loss\n1,0.2\n", "line 2: the number of values differs"),
        ("epoch,train_loss,val_loss\n1,,0.3\n2,0.2,\n", "no epoch has both"),
        ("epoch,val_loss,val_loss\n1,2,3\n", "two columns with the same name"),
    ],
)
def test_judge_of_an_invalid_table_reports_the_problem(content: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(content, encoding="utf-8")
    error = get_error(path)
    assert expected in error
    assert "bad.csv" in error


def test_judge_of_a_binary_file_or_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "image.csv").write_bytes(bytes(range(256)))
    assert "is not UTF-8 text" in get_error(tmp_path / "image.csv")
    (tmp_path / "empty").mkdir()
    assert "has no files; expected event files of TensorBoard" in get_error(tmp_path / "empty")


def test_judge_with_plot_writes_a_figure(curve_file: Path, tmp_path: Path) -> None:
    judge_file(curve_file, "--plot", str(tmp_path / "curves.png"))
    with Image.open(tmp_path / "curves.png") as figure:
        assert figure.size == (780, 510)
    result = CliRunner().invoke(main, ["judge", str(curve_file), "--plot", str(tmp_path / "curves.doc")])
    assert result.exit_code == 2
    assert "unknown figure format '.doc'" in result.stderr


def test_judge_with_plot_of_a_run_named_like_a_formula_writes_a_figure(tmp_path: Path) -> None:
    path = write_text(tmp_path / "log.csv", "run,epoch,train_loss,val_loss", *(f"cost $x_{{$,{i},1,1" for i in (1, 2)))
    judge_file(path, "--plot", str(tmp_path / "curves.svg"))
    assert (tmp_path / "curves.svg").stat().st_size > 1000


def test_axis_of_a_plot_shows_an_overfitting_end_but_not_high_first_losses() -> None:
    val = np.array([9.0, 0.3, *[0.1] * 17, 0.8])
    curves = LossCurves(tuple(range(1, 21)), np.full(20, 0.1), val)
    axes = Figure().add_subplot()
    draw_panel(RunCurves("run", curves, ()), judge(curves), None, axes)
    assert 0.8 < axes.get_ylim()[1] < 1


def test_judge_with_plot_of_negative_losses_and_steps_writes_a_figure(tmp_path: Path) -> None:
    lines = (f"{step},{-step / 100},{-step / 101}" for step in range(5, 100, 5))
    path = write_text(tmp_path / "log.csv", "step,train_loss,val_loss", *lines)
    judge_file(path, "--plot", str(tmp_path / "curves.svg"))
    assert (tmp_path / "curves.svg").stat().st_size > 1000


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("diverged", 3),
        ("overfitting,diverged", 3),
        (" Learning , overfitting", 3),
        ("overfitting", 0),
        ("overfitting,memorized", 2),
        ("", 2),
    ],
)
def test_judge_with_fail_on_exits_with_the_documented_code(words: str, code: int, tmp_path: Path) -> None:
    lines = [f"a,{epoch},{1 / epoch},{1 / epoch + 0.01}" for epoch in range(1, 13)] + ["b,1,nan,1"]
    path = write_text(tmp_path / "runs.csv", "run,epoch,train_loss,val_loss", *lines)
    result = CliRunner().invoke(main, ["judge", str(path), "--fail-on", words])
    assert result.exit_code == code, result.output
    if code == 3:
        assert result.stdout.startswith("a: learning")
        assert (
            result.stderr
            == f"Failed: {'a has the verdict learning' if 'L' in words else 'b has the verdict diverged'}.\n"
        )
    elif code == 2:
        assert "unknown verdict" in result.stderr


def test_judge_with_fail_on_of_an_unreadable_or_missing_file_exits_with_another_code(tmp_path: Path) -> None:
    path = write_text(tmp_path / "x.csv", "a,b", "1,2")
    assert CliRunner().invoke(main, ["judge", str(path), "--fail-on", "diverged"]).exit_code == 1
    assert CliRunner().invoke(main, ["judge", str(path / "x"), "--fail-on", "diverged"]).exit_code == 2


def test_judge_with_fail_on_ignores_parts_of_the_loss(tmp_path: Path) -> None:
    columns = "epoch,train/a_loss,train/b_loss,val/a_loss,val/b_loss"
    lines = (f"{epoch},{10 / epoch},0.1,{10 / epoch},0.3" for epoch in range(1, 13))
    path = write_text(tmp_path / "results.csv", columns, *lines)
    result = CliRunner().invoke(main, ["judge", str(path), "--fail-on", "underfitting"])
    assert "results, b_loss: underfitting" in result.stdout
    assert result.exit_code == 0


def test_judge_imports_only_what_it_needs(curve_file: Path, tmp_path: Path) -> None:
    heavy = {
        "torch",
        "mlflow",
        "pandas",
        "scipy",
        "matplotlib",
        "pydantic",
        "rich",
        "dvc",
        "openpyxl",
        "PIL",
        "requests",
    }
    for path in (curve_file, write_tensorboard(tmp_path / "logs")):
        code = (
            f"import sys; sys.argv = ['pipeline', 'judge', {str(path)!r}]\n"
            "from pipeline.cli import main\n"
            "main(standalone_mode=False)\n"
            f"print(sorted({heavy!r} & set(sys.modules)), file=sys.stderr)"
        )
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert result.stderr == "[]\n"
