"""Tables of external results; the formats of loss curves are tested in `tests/judge`."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.curve_readers.external_results import read_results
from pipeline.curve_readers.formats import read_curves
from pipeline.errors import PipelineError

ROOT = Path(__file__).parents[2]


def write_table(folder: Path, text: str) -> Path:
    path = folder / "class.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_read_results_of_a_curve_has_the_losses_of_its_best_epoch() -> None:
    (result,) = read_results(ROOT / "reports/external_results/keras-pets.csv")
    assert result.name == ""
    assert result.curves is not None
    assert len(result.curves.epochs) == 15
    assert result.numbers == {"train_loss": 0.2126, "val_loss": 0.3861}


def test_read_results_of_several_runs_keeps_their_names(tmp_path: Path) -> None:
    rows = "".join(f"{run},{epoch},{1 / epoch},{2 / epoch}\n" for run in ("a", "b") for epoch in (1, 2))
    results = read_results(write_table(tmp_path, "run,epoch,loss,val_loss\n" + rows))
    assert [(result.name, result.numbers["val_loss"]) for result in results] == [("a", 1.0), ("b", 1.0)]


def test_read_results_with_one_row_per_result_has_the_given_numbers(tmp_path: Path) -> None:
    anna, ben = read_results(write_table(tmp_path, "name;val_loss;mean_iou\nAnna;0.41;0.72\nBen;0.39;\n"))
    assert (anna.name, anna.curves, anna.numbers) == ("Anna", None, {"val_loss": 0.41, "mean_iou": 0.72})
    assert (ben.name, ben.numbers) == ("Ben", {"val_loss": 0.39})


@pytest.mark.parametrize("column", ["name", "Name", "Run ID", "model"])
def test_read_results_with_one_row_per_result_and_both_losses_has_no_curves(column: str, tmp_path: Path) -> None:
    path = write_table(tmp_path, f"{column},train_loss,val_loss,mean_iou\nunet,0.2,0.3,0.8\n3d-unet,0.1,0.5,0.7\n")
    first, second = read_results(path)
    assert (first.name, first.curves, first.numbers["mean_iou"], second.numbers["val_loss"]) == ("unet", None, 0.8, 0.5)
    guess = "The names of the results are those in the column model."
    assert (first.notes, second.notes) == ((guess,) if column == "model" else (), ())
    with pytest.raises(PipelineError, match="expected the columns epoch"):  # for `pipeline judge`
        read_curves(path)


def test_read_results_of_a_curve_without_epochs_counts_rows(tmp_path: Path) -> None:
    (result,) = read_results(write_table(tmp_path, "time,loss,val_loss\n00:10,0.5,0.6\n00:20,0.4,0.5\n"))
    assert result.curves is not None
    assert result.notes == ("The table has no column epoch or step, so its rows were counted.",)


@pytest.mark.parametrize(
    "texts", ["checkpoint,ckpt_0.pt,ckpt_1.pt", "date,Mon Jan 1,Tue Jan 2", "phase,Epoch 1,Epoch 2", "model,unet,unet"]
)
@pytest.mark.parametrize("losses", ["loss,val_loss", "train/box_loss,val/box_loss"])
def test_read_results_of_a_curve_with_a_text_per_epoch_counts_rows(losses: str, texts: str, tmp_path: Path) -> None:
    column, *values = texts.split(",")
    path = write_table(tmp_path, f"{column},{losses}\n{values[0]},0.5,0.6\n{values[1]},0.4,0.5\n")
    (result,) = read_results(path)
    assert result.curves is not None
    assert result.curves.epochs == (1, 2)
    assert result.notes[0] == "The table has no column epoch or step, so its rows were counted."


def test_read_results_keeps_the_notes_about_curves(tmp_path: Path) -> None:
    (result,) = read_results(write_table(tmp_path, "run,epoch,loss,val_loss\na,1,0.5,0.6\na,2,0.4,\nb,1,0.5,\n"))
    assert result.notes[0] == "Epochs with only one of the losses were left out: 2."
    assert result.notes[1].startswith("Runs that were left out: b.")


def test_read_results_of_a_diverged_curve_has_no_numbers(tmp_path: Path) -> None:
    (result,) = read_results(write_table(tmp_path, "epoch,train_loss,val_loss\n1,0.5,0.6\n2,nan,0.7\n"))
    assert result.numbers == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("name,val_loss\n", "has no rows"),
        ("name,colour\nAnna,red\n", "name and any of train_loss, val_loss, mean_iou, foreground_iou"),
        ("val_loss\n0.4\n", "name and any of"),
        ("name,val_loss\nAnna,low\n", "line 2: val_loss must be a number such as 0.25, but is 'low'"),
        ("name,mean_iou\nAnna,85.2\n", "line 2: mean_iou must be between 0 and 1, but is 85.2. Divide percentages"),
        ("name,val_loss\nAnna\n", "line 2: the number of values differs from the 2 column names"),
    ],
)
def test_read_results_of_another_table_reports_the_problem(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PipelineError, match=r"class\.csv") as caught:
        read_results(write_table(tmp_path, text))
    assert message in str(caught.value)
