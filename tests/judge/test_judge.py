"""`pipeline judge` on loss curves of other tools, and on invalid files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline.cli import main
from tests.analysis.test_verdict import KERAS

ROWS = list(enumerate(zip(*KERAS, strict=True), start=1))


def write_lines(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


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
    lines = (f"{epoch},{train},{val}" for epoch, (train, val) in ROWS)
    return write_lines(tmp_path / "plain.csv", "epoch,train_loss,val_loss", *lines)


def write_keras(folder: Path) -> Path:
    lines = (f"{epoch - 1},0.9,{train},0.001,0.8,{val}" for epoch, (train, val) in ROWS)
    return write_lines(folder / "log.csv", "epoch,accuracy,loss,learning_rate,val_accuracy,val_loss", *lines)


def write_lightning(folder: Path) -> Path:
    lines = []
    for epoch, (train, val) in ROWS:
        lines += [f"{epoch - 1},{7 * epoch - 4},,{train * 1.1},", f"{epoch - 1},{7 * epoch - 1},,,{val}"]
        lines += [f"{epoch - 1},{7 * epoch - 1},{train},,"]
    return write_lines(folder / "metrics.csv", "epoch,step,train_loss_epoch,train_loss_step,val_loss", *lines)


def write_mlflow(folder: Path) -> Path:
    rows = [("train_loss", train, epoch) for epoch, (train, _) in ROWS]
    rows += [("val_loss", val, epoch) for epoch, (_, val) in ROWS]
    rows += [("val_iou", 0.5, epoch) for epoch, _ in ROWS]
    lines = (f"5f2c,{key},{value},{epoch},1700000000000" for key, value, epoch in rows)
    return write_lines(folder / "history.csv", "run_id,key,value,step,timestamp", *lines)


def write_dvclive(folder: Path) -> Path:
    for side, column in (("train", 0), ("val", 1)):
        lines = (f"{epoch - 1}\t{losses[column]}" for epoch, losses in ROWS)
        write_lines(folder / "metrics" / side / "loss.tsv", "step\tloss", *lines)
    return folder / "metrics"


@pytest.mark.parametrize("write_log", [write_keras, write_lightning, write_mlflow, write_dvclive])
def test_judge_gives_the_same_result_for_logs_of_any_tool(write_log: object, tmp_path: Path, curve_file: Path) -> None:
    (judgment,) = judge_file(write_log(tmp_path))  # type: ignore[operator]
    (expected,) = judge_file(curve_file)
    assert judgment["verdict"] == "memorizing"
    assert judgment["best_epoch"] == (12 if write_log is write_mlflow else 11)  # the others count from 0
    for name in ("gap", "gap_last", "ratio", "rise", "onset", "epochs_after_best"):
        assert judgment[name] == expected[name]


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
    judgments = judge_file(write_lines(tmp_path / "runs.csv", "run,epoch,train_loss,val_loss", *lines))
    assert [(entry["run"], entry["verdict"]) for entry in judgments] == [("a", "learning"), ("b", "diverged")]
    assert judgments[1]["gap"] is None


def test_judge_is_invariant_to_the_order_of_rows_and_runs(tmp_path: Path) -> None:
    lines = [f"{run},{epoch},{1 / epoch},{1 / epoch + run / 100}" for run in (1, 2) for epoch in range(1, 13)]
    first = judge_file(write_lines(tmp_path / "a.csv", "run,epoch,train_loss,val_loss", *lines))
    second = judge_file(write_lines(tmp_path / "b.csv", "run,epoch,train_loss,val_loss", *reversed(lines)))
    assert sorted(first, key=lambda entry: entry["run"]) == sorted(second, key=lambda entry: entry["run"])


def test_judge_reports_skipped_and_averaged_epochs(tmp_path: Path) -> None:
    lines = ["1,0.9,0.9", "2,0.8,", "3,0.7,0.8", "3,0.5,0.8", "5,0.5,0.7"]
    (judgment,) = judge_file(write_lines(tmp_path / "x.csv", "epoch,train_loss,val_loss", *lines))
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
    assert "is not a UTF-8 table" in get_error(tmp_path / "image.csv")
    (tmp_path / "empty").mkdir()
    assert "has no .tsv file" in get_error(tmp_path / "empty")


def test_judge_with_plot_writes_a_figure(curve_file: Path, tmp_path: Path) -> None:
    judge_file(curve_file, "--plot", str(tmp_path / "curves.png"))
    with Image.open(tmp_path / "curves.png") as figure:
        assert figure.size == (780, 510)
    result = CliRunner().invoke(main, ["judge", str(curve_file), "--plot", str(tmp_path / "curves.doc")])
    assert result.exit_code == 2
    assert "unknown figure format '.doc'" in result.stderr


def test_judge_imports_neither_torch_nor_mlflow_nor_pandas(curve_file: Path) -> None:
    code = (
        "import sys; from pipeline.judge.verdicts import judge_file; from pathlib import Path\n"
        f"judge_file(Path({str(curve_file)!r}), None)\n"
        "sys.exit(bool({'torch', 'mlflow', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
