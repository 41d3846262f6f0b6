"""`pipeline judge` gives the same verdict for the same curves in the formats of all tools."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openpyxl
import pytest

from pipeline.curve_readers.formats import find_format, read_curves
from pipeline.curve_readers.log_file import LogFile
from tests.curve_readers.write_logs import (
    NOISE,
    STEPS,
    TRAIN,
    VAL,
    WRITERS,
    list_epochs,
    write_cellpose,
    write_cellpose_2,
    write_cellpose_arrays,
    write_dvclive,
    write_excel,
    write_fastai,
    write_hugging_face,
    write_json_lines,
    write_json_list,
    write_keras_history,
    write_keras_tensorboard,
    write_nnunet,
    write_nnunet_1,
    write_plain,
    write_skorch,
    write_tensorboard,
    write_text,
    write_wandb_chart,
)
from tests.judge.test_judge import get_error, judge_file


@pytest.mark.parametrize("write_log", WRITERS, ids=lambda write: write.__name__.removeprefix("write_"))
def test_judge_of_every_tool_gives_the_same_result(write_log: Callable[[Path], Path], tmp_path: Path) -> None:
    path = write_log(tmp_path / "log")
    (judgment,) = judge_file(path)
    (expected,) = judge_file(write_plain(tmp_path))
    assert judgment["verdict"] == "memorizing"
    assert (judgment["unit"], judgment["best_epoch"]) == WRITERS[write_log]
    assert judgment["onset"] == expected["onset"]
    (run,) = read_curves(path)
    assert (
        judgment["epochs_after_best"] == run.curves.epochs[-1] - run.curves.epochs[-1 - expected["epochs_after_best"]]
    )
    for name in ("gap", "gap_last", "ratio", "rise"):
        assert judgment[name] == pytest.approx(expected[name], abs=2e-7)


NEED_NAMES = (write_cellpose_arrays, write_dvclive, write_tensorboard, write_keras_tensorboard)  # folders, and a pair
FORMATS = {
    **dict.fromkeys((write_keras_history, write_skorch, write_json_list, write_json_lines, write_hugging_face), "JSON"),
    **dict.fromkeys((write_nnunet, write_nnunet_1), "nnU-Net"),
    **dict.fromkeys((write_cellpose, write_cellpose_2), "cellpose"),
    write_excel: "Excel",
    write_wandb_chart: "Weights & Biases",
}


@pytest.mark.parametrize(
    "write_log",
    [write for write in WRITERS if write not in NEED_NAMES],
    ids=lambda write: write.__name__,
)
def test_read_curves_recognizes_files_by_content(write_log: Callable[[Path], Path], tmp_path: Path) -> None:
    path = write_log(tmp_path / "log")
    renamed = path.rename(tmp_path / "renamed.dat")
    assert find_format(LogFile(renamed)).name == FORMATS.get(write_log, "table")
    (run,) = read_curves(renamed)
    assert run.name == "brisk-sun-4" or run.name in ("renamed", "5f2c")
    assert run.curves.val == pytest.approx(VAL, abs=1e-6)


def test_judge_of_hugging_face_averages_steps_and_ignores_the_summary(tmp_path: Path) -> None:
    (run,) = read_curves(write_hugging_face(tmp_path))
    assert run.curves.train == pytest.approx(TRAIN)
    assert run.notes == ("Training losses were averaged from one validation to the next.",)


def test_judge_of_hugging_face_folder_reads_the_last_checkpoint(tmp_path: Path) -> None:
    for checkpoint in (8, 60, 100):
        write_hugging_face(tmp_path / f"checkpoint-{checkpoint}")
    write_text(tmp_path / "checkpoint-60" / "trainer_state.json", "{}")
    assert len(read_curves(tmp_path)[0].curves.epochs) == len(TRAIN)


def test_judge_of_evaluations_within_epochs_counts_steps(tmp_path: Path) -> None:
    records = []
    for number in range(1, 11):
        records += [{"loss": 1 / number, "epoch": 0.3 * number, "step": 50 * number}]
        records += [{"eval_loss": 1.1 / number, "epoch": 0.3 * number, "step": 50 * number}]
    (run,) = read_curves(write_text(tmp_path / "trainer_state.json", json.dumps({"log_history": records})))
    assert (run.curves.unit, run.curves.epochs[:2]) == ("step", (50, 100))
    (judgment,) = judge_file(tmp_path / "trainer_state.json")
    assert "at step 500, after 10 validations, training is at 0.100" in judgment["evidence"][0]


def test_judge_of_epochs_that_are_almost_whole_rounds_them(tmp_path: Path) -> None:
    records = []
    for number in range(1, 6):
        records += [{"loss": 1 / number, "epoch": 0.99 * number, "step": 50 * number}]
        records += [{"eval_loss": 1.1 / number, "epoch": 0.99 * number, "step": 50 * number}]
    (run,) = read_curves(write_text(tmp_path / "trainer_state.json", json.dumps({"log_history": records})))
    assert (run.curves.unit, run.curves.epochs) == ("epoch", (1, 2, 3, 4, 5))
    assert "Fractional epochs such as 0.99 were rounded." in run.notes


def write_ultralytics(folder: Path, validated: Callable[[int], bool] = lambda _: True) -> Path:
    names = ["epoch", "train/box_loss", "train/seg_loss", "train/cls_loss", "metrics/mAP50(B)"]
    names += ["val/box_loss", "val/seg_loss", "val/cls_loss", "lr/pg0"]
    lines = [",".join(f"{name:>23}" for name in names)]
    for epoch, train, val in list_epochs(1):
        val_parts = (0.25 * val, 0.75 * val, 0) if validated(epoch) else (0, 0, 0)
        numbers = [epoch, 0.25 * train, 0.75 * train, 0, 0.5, *val_parts, 1e-3]
        lines.append(",".join(f"{number:23.7g}" for number in numbers))
    return write_text(folder / "results.csv", *lines)


def test_judge_of_ultralytics_judges_the_sum_and_the_parts(tmp_path: Path) -> None:
    judgments = judge_file(write_ultralytics(tmp_path))
    assert [judgment["part"] for judgment in judgments] == [None, "box_loss", "seg_loss"]
    assert [judgment["run"] for judgment in judgments] == ["results"] * 3
    assert (
        "The log has no whole loss, so its parts were added with equal weights: box_loss, seg_loss, cls_loss."
        in judgments[0]["evidence"]
    )
    (expected,) = judge_file(write_plain(tmp_path))
    assert judgments[0]["gap"] == pytest.approx(expected["gap"], abs=1e-5)
    assert judgments[1]["gap"] == pytest.approx(0.25 * expected["gap"], abs=1e-5)
    assert judge_file(tmp_path) == judgments  # the folder


def test_judge_of_ultralytics_leaves_out_epochs_without_validation(tmp_path: Path) -> None:
    total, *_ = read_curves(write_ultralytics(tmp_path, lambda epoch: epoch % 2 == 0))
    assert total.curves.epochs == (2, 4, 6, 8, 10, 12, 14)
    assert "Validation losses of exactly 0 were not measured and were left out." in total.notes
    assert "because validation was switched off" in get_error(write_ultralytics(tmp_path, lambda _: False))


@pytest.mark.parametrize("num_replaced", [2, 20])  # before the continued run's last epoch, and beyond it
def test_judge_of_nnunet_folder_reads_all_logs_in_order(num_replaced: int, tmp_path: Path) -> None:
    abandoned = [9.0] * num_replaced
    first = write_nnunet(tmp_path / "fold_0", [*TRAIN[:10], *abandoned], [*VAL[:10], *abandoned])
    first.rename(first.with_name("training_log_2025_12_30_9_00_00.txt"))
    path = write_nnunet(tmp_path / "fold_0")
    lines = path.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.endswith("Epoch 10 "))
    write_text(path, *lines[:8], *lines[start:])
    (run,) = read_curves(tmp_path / "fold_0")
    assert run.name == "fold_0"
    assert run.curves.train == pytest.approx(TRAIN)
    assert f"epochs 10 to {9 + num_replaced} are not used" in run.notes[0]


def test_judge_of_negative_losses_uses_differences(tmp_path: Path) -> None:
    epochs = np.arange(40)
    fall = np.exp(-epochs / 5)
    path = write_nnunet(tmp_path, list(fall - 0.95), list(fall - 0.8 + 0.01 * np.maximum(0, epochs - 20)))
    (judgment,) = judge_file(path, "--baseline", "0.9")
    assert judgment["verdict"] == "overfitting"
    assert judgment["ratio"] is judgment["rise"] is None
    assert "0.340 higher" in judgment["evidence"][0]
    assert "% of its fall) after epoch" in judgment["evidence"][1]
    assert [reason.split(":")[0] for reason in judgment["not_checked"]] == ["Underfitting", "Memorizing"]


def test_judge_of_cellpose_arrays_leaves_out_epochs_without_validation(tmp_path: Path) -> None:
    path = write_cellpose_arrays(tmp_path)
    (run,) = read_curves(path)
    assert (run.name, run.curves.epochs[:3]) == ("cells", (0, 10, 20))
    assert run.notes[0] == "Validation losses of exactly 0 were not measured and were left out."
    assert run.notes[1] == "Epoch 5 was left out, so that all epochs are 10 apart."
    (judgment,) = judge_file(path)
    assert judge_file(tmp_path) == [judgment] == judge_file(tmp_path / "cells_test_losses.npy")
    assert "at epoch 140, after 15 validations, training is at" in judgment["evidence"][0]
    assert (judgment["best_epoch"], judgment["epochs_after_best"]) == (110, 30)
    (tmp_path / "cells_test_losses.npy").unlink()
    assert "expected cells_test_losses.npy in the same folder" in get_error(path)


def test_judge_of_cellpose_log_without_test_images_reports_it(tmp_path: Path) -> None:
    lines = [f"{epoch}, train_loss=0.5, test_loss=0.0000, LR=0.1, time 1.0s" for epoch in (0, 5, 10)]
    assert "Train with test images" in get_error(write_text(tmp_path / "run.log", *lines))


def test_judge_of_cellpose_log_separates_runs(tmp_path: Path) -> None:
    lines = [f"{epoch}, train_loss=0.5, test_loss=0.6, LR=0.1, time 1.0s" for epoch in (0, 5, 10, 0, 5)]
    runs = read_curves(write_text(tmp_path / "run.log", *lines))
    assert [(run.name, run.curves.epochs) for run in runs] == [("run", (0, 5, 10)), ("run-2", (0, 5))]


def test_judge_of_fastai_continues_epochs_below_a_second_header(tmp_path: Path) -> None:
    path = write_fastai(tmp_path)
    lines = path.read_text(encoding="utf-8").splitlines()
    write_text(path, *lines, *lines)
    (run,) = read_curves(path)
    assert run.curves.epochs == tuple(range(2 * len(TRAIN)))
    assert "The table has 2 headers" in run.notes[0]


def test_judge_of_fastai_without_validation_reports_the_missing_loss(tmp_path: Path) -> None:
    path = write_text(tmp_path / "history.csv", "epoch,train_loss,valid_loss,time", "0,0.5,None,00:01")
    assert "has a training loss (train_loss) but no validation loss" in get_error(path)


def test_judge_of_wandb_charts_combines_the_files_of_a_folder(tmp_path: Path) -> None:
    for metric, losses in (("train_loss", TRAIN), ("val_loss", VAL)):
        names = [f"{run} - {metric}{bound}" for run in ("a - b", "c") for bound in ("", "__MIN", "__MAX")]
        lines = [f'"{step}"' + f',"{loss}"' * 6 for step, loss in enumerate(losses)]
        write_text(tmp_path / f"wandb_export_{metric}.csv", ",".join(f'"{name}"' for name in ("epoch", *names)), *lines)
    assert [judgment["run"] for judgment in judge_file(tmp_path)] == ["a - b", "c"]
    assert "pass a folder with the exports of both charts" in get_error(tmp_path / "wandb_export_train_loss.csv")


def test_judge_of_wandb_chart_over_time_is_refused(tmp_path: Path) -> None:
    path = write_wandb_chart(tmp_path)
    text = path.read_text(encoding="utf-8").replace('"Step"', '"Relative Time (Process)"')
    assert "Choose Step as the x-axis" in get_error(write_text(path, text))


def test_judge_of_sampled_wandb_history_reports_it(tmp_path: Path) -> None:
    lines = [f"{step},{1 + 1 / (step + 1)},{1 + 1 / (step + 1)}" for step in range(500)]
    (run,) = read_curves(write_text(tmp_path / "history.csv", "_step,train_loss,val_loss", *lines))
    assert "exactly 500 rows" in run.notes[0]


@pytest.mark.parametrize("missing", ["NaN", "nan", ""])
def test_judge_of_records_that_have_only_one_loss_reads_nan_as_missing(missing: str, tmp_path: Path) -> None:
    lines = [f"{epoch},{1 / epoch},{missing}\n{epoch},{missing},{1.1 / epoch}" for epoch in range(1, 5)]
    (run,) = read_curves(write_text(tmp_path / "x.csv", "epoch,train_loss,val_loss", *lines))
    assert run.curves.is_finite
    assert any("NaN was read as" in note for note in run.notes) == bool(missing)


@pytest.mark.parametrize("layout", ["table", "steps", "long"])
def test_judge_of_nan_between_validations_reads_it_as_missing(layout: str, tmp_path: Path) -> None:
    count = 1 if layout == "long" else 4
    records = [
        {"epoch": epoch, "_step": count * epoch + step, "train_loss": train, "val_loss": val if step == 1 else np.nan}
        for epoch, train, val in list_epochs()
        for step in range(count)
    ]
    if layout == "table":
        records = [{**record, "epoch": number} for number, record in enumerate(records)]
    elif layout == "long":
        records = [{**record, "val_loss": VAL[epoch] if epoch % 2 else np.nan} for epoch, record in enumerate(records)]
        records = [
            {"key": key, "value": record[key], "step": record["epoch"]}
            for key in ("train_loss", "val_loss")
            for record in records
        ]
    (run,) = read_curves(write_text(tmp_path / "log.json", json.dumps(records)))
    assert run.curves.is_finite
    assert run.curves.val.tolist() == (VAL[1::2] if layout == "long" else VAL)
    assert "NaN was read as a loss that was not logged in val_loss, because finite losses follow." in run.notes


@pytest.mark.parametrize(
    "rows", ["1,1\n1,nan\n1,nan", "1,nan\n1,1\n1,nan\n1,nan", "1,1\nnan,nan\n1,1", "1,1\n1,inf\n1,1", "nan,1\nnan,1"]
)
def test_judge_of_nan_of_a_diverged_training_keeps_it(rows: str, tmp_path: Path) -> None:
    (run,) = read_curves(write_text(tmp_path / "log.csv", "loss,val_loss", rows))
    assert not run.curves.is_finite


def test_judge_of_a_table_without_epochs_counts_rows(tmp_path: Path) -> None:
    (run,) = read_curves(write_text(tmp_path / "x.csv", "loss,val_loss", "0.5,0.6", "0.4,0.5"))
    assert run.curves.epochs == (1, 2)
    assert "its rows were counted" in run.notes[0]
    runs = write_text(tmp_path / "runs.csv", "run,train_loss,val_loss", "a,0.5,0.6", "b,0.4,0.5")
    assert "has the columns run, train_loss, val_loss" in get_error(runs)


def write_attempts(folder: Path, *attempts: tuple[int, int, int]) -> Path:
    """Write a table of Keras with attempts, each given by its first epoch as logged, and its part of the curves."""
    lines = [
        f"{number},{TRAIN[index]},{VAL[index]}"
        for first, start, end in attempts
        for number, index in enumerate(range(start, end), start=first)
    ]
    return write_text(folder / "log.csv", "epoch,loss,val_loss", *lines)


def test_judge_of_appended_epochs_that_start_again_renumbers_them(tmp_path: Path) -> None:
    (run,) = read_curves(write_attempts(tmp_path, (0, 0, 6), (0, 6, 10), (2, 8, 15)))
    assert run.curves.epochs == tuple(range(len(TRAIN)))
    assert run.curves.val.tolist() == VAL
    assert run.notes == (
        "The epochs start again while the losses continue, so they were renumbered as those of one training.",
        "The run was continued from epoch 8: the earlier losses of epochs 8 to 9 are not used.",
    )


def test_judge_of_a_resumed_training_uses_its_last_losses(tmp_path: Path) -> None:
    lines = [f"{epoch},9,9" for epoch in range(4, 8)]
    path = write_attempts(tmp_path, (0, 0, 4), (4, 4, 15))
    first, *rows = path.read_text(encoding="utf-8").splitlines()
    (run,) = read_curves(write_text(path, first, *rows[:4], *lines, *rows[4:]))
    assert (run.curves.train.tolist(), run.curves.val.tolist()) == (TRAIN, VAL)
    assert run.notes == ("The run was continued from epoch 4: the earlier losses of epochs 4 to 7 are not used.",)


def test_judge_of_a_training_that_was_started_again_uses_its_last_losses(tmp_path: Path) -> None:
    (run,) = read_curves(write_attempts(tmp_path, (0, 0, 15), (0, 0, 5)))
    assert run.curves.train.tolist() == TRAIN[:5]
    assert "the earlier losses of epochs 0 to 14 are not used" in run.notes[0]


def test_judge_of_mlflow_metrics_of_a_resumed_run_uses_the_last_losses(tmp_path: Path) -> None:
    epochs = [*range(8), *range(4, 15)]
    lines = [
        f"a,{key},{losses[epoch] + (4 <= time < 8)},{epoch},{time}"
        for time, epoch in enumerate(epochs)
        for key, losses in (("loss", TRAIN), ("val_loss", VAL))
    ]
    path = write_text(tmp_path / "history.csv", "Run ID,Key,value,step,timestamp", *sorted(lines))
    (run,) = read_curves(path)
    assert run.name == "a"
    assert (run.curves.train.tolist(), run.curves.val.tolist()) == (TRAIN, VAL)


@pytest.mark.parametrize("metric", ["lr", "test_loss"])
@pytest.mark.parametrize("by_metric", [False, True])
def test_judge_of_mlflow_metrics_at_step_0_uses_all_losses(metric: str, by_metric: bool, tmp_path: Path) -> None:
    lines = [
        f"a,{key},{loss},{step},{3 * epoch + number}"
        for epoch, train, val in list_epochs()
        for number, (key, loss, step) in enumerate([("loss", train, epoch), (metric, 0.1, 0), ("val_loss", val, epoch)])
    ]
    lines = sorted(lines) if by_metric else lines
    (run,) = read_curves(write_text(tmp_path / "history.csv", "run_id,key,value,step,timestamp", *lines))
    assert (run.curves.train.tolist(), run.curves.val.tolist(), run.notes) == (TRAIN, VAL, ())


@pytest.mark.parametrize(
    ("last_row", "notes"),
    [
        (f"8,{TRAIN[8]},{VAL[8]},0.5", ("Epochs with several values were averaged: 8.",)),
        (f"8,,{VAL[8]},0.5", ("Epochs with several values were averaged: 8.",)),
        ("8,,,0.5", ()),
    ],
)
def test_judge_of_an_evaluation_in_the_last_row_uses_all_losses(
    last_row: str, notes: tuple[str, ...], tmp_path: Path
) -> None:
    lines = [f"{epoch},{train},{val}," for epoch, train, val in list_epochs()]
    (run,) = read_curves(write_text(tmp_path / "log.csv", "epoch,loss,val_loss,test_loss", *lines, last_row))
    assert (run.curves.train.tolist(), run.curves.val.tolist(), run.notes) == (TRAIN, VAL, notes)


def test_judge_of_swapped_rows_of_two_processes_averages_them(tmp_path: Path) -> None:
    lines = [f"{epoch},{train + shift},{val}" for epoch, train, val in list_epochs() for shift in (-0.01, 0.01)]
    lines[5:7] = reversed(lines[5:7])
    (run,) = read_curves(write_text(tmp_path / "log.csv", "epoch,loss,val_loss", *lines))
    assert run.curves.train == pytest.approx(TRAIN)


def test_judge_of_a_resumed_training_with_several_rows_per_epoch_uses_its_last_losses(tmp_path: Path) -> None:
    epochs = [*range(8), *range(4, 15)]
    lines = [
        f"{epoch},{10 * time + batch},{TRAIN[epoch] + (4 <= time < 8)},{VAL[epoch] if batch == 9 else ''}"
        for time, epoch in enumerate(epochs)
        for batch in range(10)
    ]
    (run,) = read_curves(write_text(tmp_path / "log.csv", "epoch,_step,loss,val_loss", *lines))
    assert run.curves.train == pytest.approx(TRAIN)
    assert "The run was continued from epoch 4: the earlier losses of epochs 4 to 7 are not used." in run.notes


@pytest.mark.parametrize(
    ("column", "values", "num_first"),
    [("learning_rate", (0.001, 0.0001), 6), ("stage", ("warmup", "finetune"), 6), ("lr", (0.001, 0.0001), 1)],
)
def test_judge_of_a_second_fit_with_another_setting_does_not_take_it_for_a_run(
    column: str, values: tuple[object, object], num_first: int, tmp_path: Path
) -> None:
    lines = [
        f"{epoch if epoch < num_first else epoch - num_first},{values[epoch >= num_first]},{train},{val}"
        for epoch, train, val in list_epochs()
    ]
    (run,) = read_curves(write_text(tmp_path / "log.csv", f"epoch,{column},loss,val_loss", *lines))
    if num_first > 1:
        assert (run.curves.train.tolist(), run.curves.val.tolist()) == (TRAIN, VAL)
        assert "were renumbered as those of one training" in run.notes[0]
    else:
        assert run.notes == ("Epochs with several values were averaged: 0.",)


@pytest.mark.parametrize("columns", ["fold", "Name", "model,seed"])
@pytest.mark.parametrize("by_epoch", [False, True])
def test_judge_of_runs_without_a_run_column_names_the_column(columns: str, by_epoch: bool, tmp_path: Path) -> None:
    names = ["a,0", "a,1", "b,0", "b,1"] if "," in columns else ["0", "1", "2"]
    rows = [(name, epoch) for name in names for epoch in range(5 if name == names[-1] else 15)]
    rows = sorted(rows, key=lambda row: row[1]) if by_epoch else rows
    lines = [f"{name},{epoch},{0.9 - 0.01 * epoch},{TRAIN[epoch]},{VAL[epoch]}" for name, epoch in rows]
    path = write_text(tmp_path / "runs.csv", f"{columns},epoch,accuracy,loss,val_loss", *lines)
    assert f"several rows per epoch, which differ in {columns.replace(',', ', ')}. If they" in get_error(path)


def test_judge_of_one_loss_in_rows_of_both_sides_reports_the_missing_loss(tmp_path: Path) -> None:
    lines = [f"{mode},{epoch},0.5" for epoch in range(5) for mode in ("train", "val")]
    path = write_text(tmp_path / "log.csv", "mode,epoch,loss", *lines)
    assert "has a training loss (loss) but no validation loss" in get_error(path)


@pytest.mark.parametrize("column", ["Run", "run id", "Run_Name"])
def test_judge_recognizes_the_run_column_in_any_spelling(column: str, tmp_path: Path) -> None:
    lines = [f"{run},{epoch},{TRAIN[epoch]},{VAL[epoch]}" for run in ("a", "b") for epoch in range(15)]
    runs = read_curves(write_text(tmp_path / "runs.csv", f"{column},epoch,loss,val_loss", *lines))
    assert [(run.name, run.curves.val.tolist()) for run in runs] == [("a", VAL), ("b", VAL)]


def test_judge_of_steps_does_not_take_the_batch_for_a_run(tmp_path: Path) -> None:
    lines = [
        f"{epoch},{batch},{batch % 2},{train},{val if batch == 9 else ''}"
        for epoch, train, val in list_epochs()
        for batch in range(10)
    ]
    (run,) = read_curves(write_text(tmp_path / "log.csv", "epoch,batch,gpu,loss,val_loss", *lines))
    assert run.curves.train == pytest.approx(TRAIN)


def test_judge_of_parts_that_were_logged_twice_adds_the_parts_of_the_same_row(tmp_path: Path) -> None:
    names = "epoch,train/a_loss,train/b_loss,val/a_loss,val/b_loss"
    total, *_ = read_curves(write_text(tmp_path / "results.csv", names, "1,1,2,1,2", "1,3,8,3,8"))
    assert total.curves.train.tolist() == [7]


def test_judge_of_rows_in_random_order_averages_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = [f"{epoch},{TRAIN[epoch]},{VAL[epoch]}" for epoch in rng.integers(0, 15, 2000)]
    (run,) = read_curves(write_text(tmp_path / "log.csv", "epoch,loss,val_loss", *lines))
    assert run.curves.train == pytest.approx(TRAIN)


def test_judge_names_the_loss_that_was_chosen(tmp_path: Path) -> None:
    path = write_text(tmp_path / "x.csv", "epoch,loss,train_loss,val_loss", "1,9,0.5,0.6", "2,9,0.4,0.5")
    (run,) = read_curves(path)
    assert run.notes == ("The training loss is train_loss; loss was not used.",)


def test_judge_prefers_a_total_loss_to_the_sum_of_parts(tmp_path: Path) -> None:
    names = "epoch,train_total_loss,train_dice_loss,val_total_loss,val_dice_loss"
    (run,) = read_curves(write_text(tmp_path / "x.csv", names, "1,0.5,0.2,0.6,0.3"))
    assert (run.curves.train[0], run.curves.val[0]) == (0.5, 0.6)
    names = "epoch,train_dice_loss,train_ce_loss,val_dice_loss"
    (run,) = read_curves(write_text(tmp_path / "x.csv", names, "1,0.5,0.2,0.6"))
    assert run.notes == (
        "The losses are train_dice_loss and val_dice_loss.",
        "Parts of the loss that only one side has were not used: train_ce_loss.",
    )


def test_judge_suggests_a_test_loss_as_validation_loss(tmp_path: Path) -> None:
    path = write_text(tmp_path / "x.csv", "epoch,train_loss,test_loss", "1,0.5,0.6")
    assert "If test_loss was measured on the validation images, rename it to val_loss." in get_error(path)


def test_judge_ignores_an_incomplete_last_line(tmp_path: Path) -> None:
    table, lines = tmp_path / "x.csv", tmp_path / "x.jsonl"
    table.write_text("epoch,train_loss,val_loss\n1,0.5,0.6\n2,0.4", encoding="utf-8")
    lines.write_text('{"epoch": 1, "train_loss": 0.5, "val_loss": 0.6}\n{"epoch": 2, "tra', encoding="utf-8")
    for path in (table, lines):
        (run,) = read_curves(path)
        assert run.curves.epochs == (1,)
        assert run.notes == ("The last line is incomplete and was left out.",)


def test_judge_reads_only_the_first_sheet(tmp_path: Path) -> None:
    workbook = openpyxl.Workbook()
    for row in [("epoch", "train_loss", "val_loss"), (1, 0.5, 0.6), (), (2, "0.4", 0.5)]:
        workbook.active.append(row)
    workbook.create_sheet("Other").append(["x"])
    workbook.save(tmp_path / "log.xlsx")
    (run,) = read_curves(tmp_path / "log.xlsx")
    assert run.curves.epochs == (1, 2)
    assert run.notes == ("Only the first sheet, Sheet, was read.",)


def test_judge_of_a_folder_prefers_its_table(tmp_path: Path) -> None:
    shutil.copy(write_plain(tmp_path), tmp_path / "metrics.csv")
    assert judge_file(tmp_path)[0]["run"] == "metrics"


def test_steps_of_an_epoch_average_to_its_loss() -> None:
    assert sum(NOISE) == pytest.approx(0)
    assert len(NOISE) == STEPS
