"""`pipeline judge` on files as other tools write them, and on what is no such file."""

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


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def judged(path: Path, *options: str) -> list[dict]:
    result = CliRunner().invoke(main, ["judge", str(path), "--json", *options])
    assert result.exit_code == 0, result.output
    return list(json.loads(result.stdout))


def refused(path: Path, *options: str) -> str:
    result = CliRunner().invoke(main, ["judge", str(path), *options])
    assert result.exit_code == 1
    assert result.stdout == ""
    return str(result.stderr)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    lines = (f"{epoch},{train},{val}" for epoch, (train, val) in ROWS)
    return write(tmp_path / "plain.csv", "epoch,train_loss,val_loss", *lines)


def keras(folder: Path) -> Path:
    lines = (f"{epoch - 1},0.9,{train},0.001,0.8,{val}" for epoch, (train, val) in ROWS)
    return write(folder / "log.csv", "epoch,accuracy,loss,learning_rate,val_accuracy,val_loss", *lines)


def lightning(folder: Path) -> Path:
    lines = []
    for epoch, (train, val) in ROWS:
        lines += [f"{epoch - 1},{7 * epoch - 4},,{train * 1.1},", f"{epoch - 1},{7 * epoch - 1},,,{val}"]
        lines += [f"{epoch - 1},{7 * epoch - 1},{train},,"]
    return write(folder / "metrics.csv", "epoch,step,train_loss_epoch,train_loss_step,val_loss", *lines)


def mlflow(folder: Path) -> Path:
    rows = [("train_loss", train, epoch) for epoch, (train, _) in ROWS]
    rows += [("val_loss", val, epoch) for epoch, (_, val) in ROWS]
    rows += [("val_iou", 0.5, epoch) for epoch, _ in ROWS]
    lines = (f"5f2c,{key},{value},{epoch},1700000000000" for key, value, epoch in rows)
    return write(folder / "history.csv", "run_id,key,value,step,timestamp", *lines)


def dvclive(folder: Path) -> Path:
    for side, place in (("train", 0), ("val", 1)):
        lines = (f"{epoch - 1}\t{losses[place]}" for epoch, losses in ROWS)
        write(folder / "metrics" / side / "loss.tsv", "step\tloss", *lines)
    return folder / "metrics"


@pytest.mark.parametrize("tool", [keras, lightning, mlflow, dvclive])
def test_the_published_curve_whatever_wrote_it(tool: object, tmp_path: Path, plain: Path) -> None:
    (found,) = judged(tool(tmp_path))  # type: ignore[operator]
    (expected,) = judged(plain)
    assert found["verdict"] == "memorizing"
    assert found["best_epoch"] == (12 if tool is mlflow else 11)  # the others count from 0
    for name in ("gap", "gap_last", "ratio", "rise", "onset", "epochs_after_best"):
        assert found[name] == expected[name]


def test_what_it_says_to_a_person(plain: Path) -> None:
    result = CliRunner().invoke(main, ["judge", str(plain)])
    assert result.stdout.startswith("plain: memorizing\n")
    assert "2.13 times as high" in result.stdout
    assert "not checked: Underfitting" in result.stdout
    with_baseline = CliRunner().invoke(main, ["judge", str(plain), "--baseline", "0.15"])
    assert "plain: underfitting" in with_baseline.stdout


def test_runs_of_different_length(tmp_path: Path) -> None:
    lines = [f"a,{epoch},{1 / epoch},{1 / epoch + 0.01}" for epoch in range(1, 13)]
    lines += [f"b,{epoch},nan,nan" for epoch in range(1, 4)]
    found = judged(write(tmp_path / "runs.csv", "run,epoch,train_loss,val_loss", *lines))
    assert [(entry["run"], entry["verdict"]) for entry in found] == [("a", "learning"), ("b", "diverged")]
    assert found[1]["gap"] is None


def test_the_order_of_rows_and_runs_changes_nothing(tmp_path: Path) -> None:
    lines = [f"{run},{epoch},{1 / epoch},{1 / epoch + run / 100}" for run in (1, 2) for epoch in range(1, 13)]
    first = judged(write(tmp_path / "a.csv", "run,epoch,train_loss,val_loss", *lines))
    second = judged(write(tmp_path / "b.csv", "run,epoch,train_loss,val_loss", *reversed(lines)))
    assert sorted(first, key=lambda entry: entry["run"]) == sorted(second, key=lambda entry: entry["run"])


def test_what_was_left_out_or_averaged_is_said(tmp_path: Path) -> None:
    lines = ["1,0.9,0.9", "2,0.8,", "3,0.7,0.8", "3,0.5,0.8", "5,0.5,0.7"]
    (found,) = judged(write(tmp_path / "x.csv", "epoch,train_loss,val_loss", *lines))
    said = " ".join(found["evidence"])
    assert "left out: 2" in said
    assert "averaged: in 3" in said


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "is empty"),
        ("epoch,train_loss,val_loss\n", "has no rows"),
        ("epoch,train,accuracy\n1,2,3\n", "has the columns epoch, train, accuracy; expected are"),
        ("epoch,train_loss,val_loss\n1,low,0.3\n", "line 2: train_loss must be a number such as 0.25, but is 'low'"),
        ("epoch,train_loss,val_loss\n1.5,0.2,0.3\n", "line 2: the epoch must be a whole number, but is '1.5'"),
        ("epoch,train_loss,val_loss\n1,0.2\n", "line 2: the number of values differs"),
        ("epoch,train_loss,val_loss\n1,,0.3\n2,0.2,\n", "no epoch has both"),
        ("epoch,val_loss,val_loss\n1,2,3\n", "two columns of one name"),
    ],
)
def test_what_is_no_table_of_curves(content: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(content, encoding="utf-8")
    said = refused(path)
    assert expected in said
    assert "bad.csv" in said


def test_what_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "image.csv").write_bytes(bytes(range(256)))
    assert "is not a table in UTF-8" in refused(tmp_path / "image.csv")
    (tmp_path / "empty").mkdir()
    assert "has no .tsv file" in refused(tmp_path / "empty")


def test_the_picture(plain: Path, tmp_path: Path) -> None:
    judged(plain, "--plot", str(tmp_path / "curves.png"))
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (780, 510)
    wrong = CliRunner().invoke(main, ["judge", str(plain), "--plot", str(tmp_path / "curves.doc")])
    assert wrong.exit_code == 2
    assert "unknown figure format '.doc'" in wrong.stderr


def test_neither_torch_nor_mlflow_nor_pandas_is_imported(plain: Path) -> None:
    code = (
        "import sys; from pipeline.judge.verdicts import judge_file; from pathlib import Path\n"
        f"judge_file(Path({str(plain)!r}), None)\n"
        "sys.exit(bool({'torch', 'mlflow', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
