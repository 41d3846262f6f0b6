"""`compare` on run folders written by hand: ranking, selection, findings."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.ranked_metric import get_metric
from pipeline.analysis.verdict import VerdictWord
from pipeline.artifacts.comparison import Comparison, Finding, RunSummary
from pipeline.artifacts.evaluation_folder import RunEvaluation
from pipeline.artifacts.prepared_data import SPLITS, PreparedData
from pipeline.artifacts.project import Project
from pipeline.artifacts.scores import Scores
from pipeline.cli import main
from pipeline.compare.compare_runs import compare
from pipeline.compare.findings import list_findings
from pipeline.compare.gap_breakdown import break_down_gap
from pipeline.compare.summary_tables import select_best_settings, summarize_settings
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.params.file import read_params
from pipeline.runtime.stage_status import list_stage_statuses, record_stage
from tests.compare.summaries import make_summary
from tests.compare.write_runs import compute_test_loss, make_scores, write_image_losses, write_run
from tests.conftest import write_params

# Validation loss by run; the training loss is 0.1 lower.
LOSSES = {
    "unet-0.01-0": 0.50, "unet-0.01-1": 0.60, "unet-0.001-0": 0.40, "unet-0.001-1": 0.45,
    "unet_no_skip-0.01-0": 0.70, "unet_no_skip-0.01-1": 0.72, "unet_no_skip-0.001-0": 0.80,
    "unet_no_skip-0.001-1": 0.65,
}  # fmt: skip


@pytest.fixture
def params(project: Path) -> Params:
    return read_params(write_params(project, {}))


@pytest.fixture
def grid(project: Path, params: Params) -> Params:
    for cell in params.cells():
        write_run(project, cell, LOSSES[cell.name])
    return params


def test_compare_selects_the_learning_rate_with_the_lowest_mean_over_seeds(grid: Params) -> None:
    summary = compare(grid)
    assert summary.best is not None
    assert summary.best.setting == ("unet", 0.001)
    assert [item.setting for item in summary.best_of_variant] == [
        ("unet", 0.001), ("unet_no_skip", 0.01),
    ]  # fmt: skip
    setting = next(row for row in summary.settings if row.setting == ("unet", 0.001))
    assert setting.val_loss_mean == pytest.approx(0.425)
    assert setting.val_loss_sd == pytest.approx(0.05 / 2**0.5)
    assert setting.gap_mean == pytest.approx(0.1)


def test_compare_writes_test_scores_of_the_best_setting_only(grid: Params, project: Path) -> None:
    summary = compare(grid)
    assert summary.best is not None
    assert summary.best.run == "unet-0.001-0"
    assert summary.best.test == make_scores(compute_test_loss(0.40))
    seeds = ["unet-0.001-0", "unet-0.001-1"]
    assert [score.loss for score in summary.best.test_by_seed] == [compute_test_loss(LOSSES[name]) for name in seeds]
    assert all(item.test is None and not item.test_by_seed for item in summary.best_of_variant)
    others = {cell.name for cell in grid.cells()} - {*seeds}
    best_losses = {LOSSES[name] for name in seeds}
    written = "".join(path.read_text() for path in (project / "comparison").iterdir())
    assert str(compute_test_loss(0.40)) in written
    assert not [
        name for name in others if LOSSES[name] not in best_losses and str(compute_test_loss(LOSSES[name])) in written
    ]


def test_compare_writes_the_returned_summary(grid: Params, project: Path) -> None:
    summary = compare(grid)
    assert Comparison(project / "comparison").summary == summary
    curves = pd.read_csv(project / "comparison/curves.csv")
    assert list(curves.columns) == list(Comparison.CURVE_COLUMNS)
    assert len(curves) == 8 * 2 * 2


def test_compare_writes_the_best_setting_as_metrics(grid: Params, project: Path) -> None:
    compare(grid)
    losses = [LOSSES[name] for name in ("unet-0.001-0", "unet-0.001-1")]
    tests = [compute_test_loss(loss) for loss in losses]
    assert json.loads((project / "metrics.json").read_text()) == {
        "best": {
            "variant": "unet",
            "learning_rate": 0.001,
            "val_loss": pytest.approx(fmean(losses)),
            "val_loss_sd": pytest.approx(stdev(losses)),
            "gap": pytest.approx(0.1),
            "mean_iou": pytest.approx(fmean(1 - loss / 2 for loss in losses)),
            "test_loss": pytest.approx(fmean(tests)),
            "test_mean_iou": pytest.approx(fmean(1 - loss / 2 for loss in tests)),
        }
    }


def test_compare_writes_one_row_per_run_and_per_setting(grid: Params, project: Path) -> None:
    summary = compare(grid)
    runs = pd.read_csv(project / "comparison/runs.csv")
    assert list(runs["run"]) == [row.run for row in summary.runs]
    assert dict(zip(runs["run"], runs["val_loss"], strict=True)) == pytest.approx(LOSSES)
    assert set(runs["verdict"]) <= {"learning", "undecided", "underfitting", "memorizing"}
    settings = pd.read_csv(project / "comparison/settings.csv")
    assert list(settings["val_loss_mean"]) == pytest.approx([row.val_loss_mean for row in summary.settings])


def test_compare_writes_confusion_and_calibration_of_the_best_run(grid: Params, project: Path) -> None:
    summary = compare(grid)
    assert summary.best is not None
    confusion = pd.read_csv(project / "comparison/confusion.csv")
    assert set(confusion["run"]) == {summary.best.run}
    shares = {(row.actual, row.predicted): row.share for row in confusion.itertuples()}
    names = ("animal", "background", "border")
    assert shares == {
        (names[0], names[0]): 0.6, (names[0], names[1]): 0.3, (names[0], names[2]): 0.1, (names[1], names[1]): 1.0,
    }  # fmt: skip
    calibration = pd.read_csv(project / "comparison/calibration.csv")
    assert list(calibration["pixels"]) == [700, 700]  # without the empty bin


def test_compare_breaks_down_the_gap_by_class_and_image(grid: Params, project: Path) -> None:
    compare(grid)
    parts = pd.read_csv(project / "comparison/gap_breakdown.csv").query("run == 'unet-0.001-0'")
    assert list(parts.columns) == list(Comparison.GAP_PART_COLUMNS)
    classes = parts[parts["part"] == "class"].set_index("name")
    assert classes["gap"].to_dict() == pytest.approx({"animal": 0.1, "background": 0.1, "border": 0.5})
    assert classes.loc["animal", ["train_iou", "val_iou"]].tolist() == [0.8, 0.8]
    assert classes["train_iou"].isna().to_dict() == {"animal": False, "background": False, "border": True}
    images = parts[parts["part"] == "image"]
    assert set(images["name"]) == set(
        pd.read_csv(project / "data/prepared/samples.csv").query("split == 'validation'")["id"]
    )
    assert images["gap"].tolist() == pytest.approx([0.1] * len(images))


def test_compare_with_scores_of_other_images_names_the_file(grid: Params, project: Path) -> None:
    path = project / "evaluation/unet-0.01-0/per_image.csv"
    pd.read_csv(path).iloc[:3].to_csv(path, index=False)
    with pytest.raises(PipelineError, match=r"per_image.csv do not match .*pipeline evaluate unet-0\.01-0"):
        compare(grid)
    pd.read_csv(path).drop(columns="loss_border").to_csv(path, index=False)
    with pytest.raises(PipelineError, match=r"unet-0.01-0.per_image.csv cannot be read .*no column loss_border"):
        compare(grid)


def test_compare_excludes_a_learning_rate_with_a_diverged_seed(grid: Params, project: Path) -> None:
    for folder in ("runs", "evaluation"):
        for path in (project / folder / "unet-0.001-0").iterdir():
            path.unlink()
        (project / folder / "unet-0.001-0").rmdir()
    write_run(project, grid.cell("unet", 0.001, 0), 0.4, status="diverged")
    summary = compare(grid)
    assert summary.best is not None
    assert summary.best.run == "unet-0.01-0"
    row = next(row for row in summary.runs if row.run == "unet-0.001-0")
    assert (row.status, "epoch 3" in row.reason) == ("diverged", True)
    assert any(
        finding.id == "diverged" and "unet-0.001-0" in finding.sentence for finding in list_findings(summary, {})
    )


def test_compare_lists_a_missing_run_with_its_reason(grid: Params, project: Path) -> None:
    (project / "evaluation/unet-0.01-0/metrics.json").unlink()
    row = next(row for row in compare(grid).runs if row.run == "unet-0.01-0")
    assert row.status == "missing"
    assert "metrics.json is missing" in row.reason
    assert "unet-0.01-0" not in set(pd.read_csv(project / "comparison/curves.csv")["run"])


def test_run_that_stopped_early_is_ranked_and_judged_like_a_finished_one(grid: Params, project: Path) -> None:
    expected = compare(grid)
    write_run(project, grid.cell("unet", 0.001, 0), LOSSES["unet-0.001-0"], "stopped_early")
    summary = compare(grid)
    assert summary.settings == expected.settings
    (row,) = (row for row in summary.runs if row.status == "stopped_early")
    assert (row.run, row.judgment is None, row.val_loss) == ("unet-0.001-0", False, LOSSES["unet-0.001-0"])


FULL_DISK = "runs/unet-0.01-0/model.safetensors: the disk is full. Free some space, then run the same command again."


def test_compare_lists_failed_and_killed_runs_with_their_reasons(grid: Params, project: Path) -> None:
    """The failure has precedence over an old run folder of other parameters."""
    path = project / "runs/unet-0.01-0/run.json"
    path.write_text(path.read_text().replace('"epochs": 2', '"epochs": 99'))
    with pytest.raises(OSError), record_stage("train", "unet-0.01-0", project):
        raise OSError(28, "No space left on device", "runs/unet-0.01-0/model.safetensors")
    with pytest.raises(KeyboardInterrupt), record_stage("evaluate", "unet-0.01-1", project):
        raise KeyboardInterrupt
    (project / "evaluation/unet-0.01-1/metrics.json").unlink()
    summary = compare(grid, lost=list_stage_statuses(project))
    states = {row.run: (row.status, row.reason) for row in summary.runs if row.status != "finished"}
    assert states == {
        "unet-0.01-0": ("failed", FULL_DISK),
        "unet-0.01-1": ("killed", "It was stopped before its first message."),
    }
    sentences = {finding.id: finding.sentence for finding in list_findings(summary, {})}
    assert sentences["failed"] == "1 run failed: unet-0.01-0 (runs/unet-0.01-0/model.safetensors: the disk is full)."
    assert sentences["killed"] == "1 run was killed: unet-0.01-1 (It was stopped before its first message)."


def test_compare_does_not_depend_on_stage_statuses(grid: Params, project: Path) -> None:
    """DVC does not track stage statuses: equal runs must give equal files."""
    compare(grid)
    before = {path.name: path.read_bytes() for path in (project / "comparison").iterdir()}
    with pytest.raises(KeyboardInterrupt), record_stage("train", "unet-0.01-0", project):
        raise KeyboardInterrupt
    with record_stage("evaluate", "unet-0.01-1", project):
        compare(grid)
        compare(grid, lost=[status for status in list_stage_statuses(project) if status.state == "running"])
    assert {path.name: path.read_bytes() for path in (project / "comparison").iterdir()} == before


def test_compare_with_a_corrupt_history_names_the_file(grid: Params, project: Path) -> None:
    (project / "runs/unet-0.01-0/history.csv").write_text("nothing\n1\n")
    with pytest.raises(PipelineError, match=r"unet-0.01-0/history.csv cannot be read \(.*no column epoch"):
        compare(grid)


def test_list_findings_with_a_low_baseline_reports_small_gaps_in_three_digits(grid: Params) -> None:
    summary = compare(grid)
    low = replace(
        summary,
        baseline=replace(summary.baseline, loss=0.043),
        settings=tuple(
            replace(row, val_loss_mean=0.0048 + place / 1e4, val_loss_sd=None, gap_mean=0.0011, gap_sd=None)
            for place, row in enumerate(summary.settings)
        ),
    )
    sentences = {finding.id: finding.sentence for finding in list_findings(low, {})}
    assert "0.0011 nats per pixel" in sentences["widest_gap"]
    assert re.search(r"0\.00\d\d nats per pixel over 2 seeds, \d\d% below .* of 0\.0430\.", sentences["best"])
    high = replace(low, baseline=replace(summary.baseline, loss=0.43))
    sentence = next(finding.sentence for finding in list_findings(high, {}) if finding.id == "widest_gap")
    assert "less than 0.0043 nats per pixel above the training loss, 1% of the class-prior baseline" in sentence


@pytest.mark.parametrize(
    ("beats_baseline", "end"),
    [
        (0.0, ": nothing was learned."),
        (1.0, ", although its masks are better than predicting one class everywhere."),
    ],
)
def test_list_findings_with_a_loss_above_the_baseline_also_judges_the_masks(
    grid: Params, beats_baseline: float, end: str
) -> None:
    summary = compare(grid)
    settings = tuple(replace(row, beats_baseline=beats_baseline) for row in summary.settings)
    summary = replace(summary, settings=settings, baseline=replace(summary.baseline, loss=0.2))
    sentence = next(finding.sentence for finding in list_findings(summary, {}) if finding.id == "best")
    assert sentence.endswith(f"no better than the class-prior baseline of 0.200{end}")


def test_list_findings_reports_onsets_that_most_seeds_have(grid: Params, project: Path) -> None:
    summary = compare(grid)
    judgments = {row.run: row.judgment for row in summary.runs}
    assert all(judgment and judgment.not_checked for judgment in judgments.values())  # two epochs show no onset
    assert "onsets" not in {finding.id for finding in list_findings(summary, {})}

    def find_onsets(onsets: dict[str, tuple[int, int]], verdict: VerdictWord = "learning") -> Finding:
        rows = tuple(
            replace(row, judgment=replace(row.judgment, verdict=verdict, not_checked=(), onset=onsets.get(row.run)))
            for row in summary.runs
            if row.judgment
        )
        return next(finding for finding in list_findings(replace(summary, runs=rows), {}) if finding.id == "onsets")

    assert (find_onsets({}).id, find_onsets({}).runs) == ("onsets", ())
    assert find_onsets({"unet-0.01-0": (4, 6)}).runs == ()  # half of the seeds are not most
    both = find_onsets({"unet-0.01-0": (4, 6), "unet-0.01-1": (5, 9)})
    assert "with unet at 0.01 between epochs 4 and 9 (2 of 2 seeds)." in both.sentence
    assert both.runs == ("unet-0.01-0", "unet-0.01-1")
    steady = find_onsets({}, "overfitting")  # the rise has no onset
    assert {"unet-0.01-0", "unet-0.01-1"} <= set(steady.runs)
    assert "with unet at 0.01 (2 of 2 seeds)" in steady.sentence
    onset = {"not_checked": (), "onset": (4, 6)}
    rows = [replace(row, judgment=replace(row.judgment, **onset)) for row in summary.runs if row.judgment]
    diverged = tuple(replace(row, status="diverged") for row in rows)
    assert "onsets" not in {finding.id for finding in list_findings(replace(summary, runs=diverged), {})}
    is_shown = {row.run: row.setting == ("unet", 0.01) for row in rows}
    alone = tuple(row if is_shown[row.run] else replace(row, status="diverged") for row in rows)
    (finding,) = (one for one in list_findings(replace(summary, runs=alone), {}) if one.id == "onsets")
    assert "other learning rates" not in finding.sentence  # nothing is known about them


def test_folds_with_complete_runs_are_counted() -> None:
    summary = make_summary({("unet", 0.1): [0.5, 0.4]})
    runs = tuple(replace(row, fold=fold) for fold, row in enumerate(summary.runs))
    assert replace(summary, runs=runs, folds=2).describe_folds(runs[0]) == "all folds"
    assert replace(summary, runs=runs, folds=5).describe_folds(runs[0]) == "2 of 5 folds"
    broken = (runs[0], replace(runs[1], status="failed"))
    assert replace(summary, runs=broken, folds=2).describe_folds(runs[0]) == "1 of 2 folds"


def test_compare_lists_a_run_of_other_parameters_as_missing(grid: Params, project: Path) -> None:
    """A cell that fails after its parameters changed keeps its old run folder."""
    path = project / "runs/unet-0.01-0/run.json"
    record = json.loads(path.read_text())
    record["cell"]["train"]["epochs"] = 99
    path.write_text(json.dumps(record))
    row = next(row for row in compare(grid).runs if row.run == "unet-0.01-0")
    assert (row.status, "different parameters" in row.reason) == ("missing", True)


def test_compare_lists_an_evaluation_of_an_earlier_training_as_missing(grid: Params, project: Path) -> None:
    path = project / "evaluation/unet-0.01-0/metrics.json"
    path.write_text(path.read_text().replace("0" * 64, "1" * 64))
    row = next(row for row in compare(grid).runs if row.run == "unet-0.01-0")
    assert (row.status, "earlier training" in row.reason) == ("missing", True)


def test_compare_weights_the_baseline_by_pixels(params: Params, project: Path) -> None:
    """Each split has a large image of background, a small one of animal, and one without evaluated pixels."""
    columns = [*PreparedData.SAMPLE_COLUMNS, "share_animal", "share_background", "share_border"]
    rows = [
        [f"{split}-{index}", split, "", "", 1, 1, 1, 1, "", pixels, *shares]
        for split in SPLITS
        for index, (pixels, shares) in enumerate([(90, (0, 1, 0)), (10, (1, 0, 0)), (0, (0, 0, 0))])
    ]
    pd.DataFrame(rows, columns=columns).to_csv(project / "data/prepared/samples.csv", index=False)
    expected = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1))
    assert compare(params).baseline.loss == pytest.approx(expected)


def test_list_findings_without_finished_runs_reports_that_none_is_ranked(params: Params) -> None:
    summary = compare(params)
    assert summary.best is None
    assert [finding.id for finding in list_findings(summary, {})] == ["none_ranked", "missing"]


@pytest.mark.usefixtures("grid")
def test_compare_moves_the_folders_of_a_removed_learning_rate(project: Path) -> None:
    write_params(project, {"grid": {"learning_rate": [0.01]}})
    removed = sorted(name for name in LOSSES if "-0.001-" in name)
    result = CliRunner().invoke(main, ["compare"])
    assert result.exit_code == 0
    moved = f"Runs that are no longer in the grid were moved to .cache/outside_grid/: {', '.join(removed)}"
    assert moved in result.stderr
    assert {row.learning_rate for row in Project().comparison.summary.runs} == {0.01}
    for folder in ("runs", "evaluation"):
        kept = sorted(LOSSES.keys() - set(removed))
        assert sorted(path.name for path in (project / folder).iterdir()) == kept


def test_findings_contain_their_numbers(grid: Params, project: Path) -> None:
    compare(grid)
    written = json.loads((project / "comparison/findings.json").read_text())["findings"]
    sentences = {finding["id"]: finding["sentence"] for finding in written}
    assert "unet at a learning rate of 0.001" in sentences["best"]
    assert "0.425\u00a0±\u00a00.035" in sentences["best"]
    # Differences 0.10 and 0.15: mean 0.125, standard error 0.025, t(0.975; 1) = 12.71.
    assert "0.125 nats per pixel (95% interval -0.193 to 0.443), in 2 of 2 seeds" in sentences["best_rate"]
    assert "not significant (p = 0.13)" in sentences["best_rate"]
    assert "the gap goes from +0.100 to +0.100" in sentences["tenth_unet_no_skip"]
    assert "tenth_unet" not in sentences  # 0.0001 is not in the grid
    assert "unet is lower by 0.285 nats per pixel" in sentences["variant_unet_no_skip"]
    assert "unet at 0.001 has the widest gap on border: the loss of that class is 0.500" in sentences["widest_class"]
    assert "overconfident: its mean confidence is 95.0%, and 90.0% of the pixels are" in sentences["certainty"]
    assert "the expected calibration error is 0.050 on validation and 0.020 on training" in sentences["certainty"]
    assert sentences["verdicts"].startswith(
        "Based on the loss curves, the verdict on the runs with the lowest validation loss is "
    )
    assert "is learning (2); on the other runs it is" in sentences["verdicts"]


def make_rows(losses: dict[tuple[str, float, int], float]) -> list[RunSummary]:
    return [
        RunSummary(
            run=f"{variant}-{rate}-{seed}", variant=variant, learning_rate=rate, seed=seed,
            status="finished", reason="", epochs=1, best_epoch=1, train_loss=loss, val_loss=loss, gap=0.0, gap_last=0.0,
            val_accuracy=1.0, val_mean_iou=1.0, val_foreground_iou=1.0,
            val_object_iou=None, missed_classes=(), showcase_mean_iou=1.0,
            train_calibration_error=0.0, val_calibration_error=0.0, val_confidence=1.0, showcase_iou=1.0,
            trainable_parameters=1, judgment=None,
        )
        for (variant, rate, seed), loss in losses.items()
    ]  # fmt: skip


LOSSES_BY_CELL = st.dictionaries(
    st.tuples(st.sampled_from(["a", "b"]), st.sampled_from([0.1, 0.01]), st.integers(0, 3)),
    st.floats(0.01, 5, allow_nan=False),
    min_size=1,
)


LOSS = get_metric("val_loss", ("animal",), ("border",))


@given(LOSSES_BY_CELL, st.randoms(use_true_random=False))
def test_select_best_settings_is_invariant_to_the_order_of_runs(
    losses: dict[tuple[str, float, int], float], random: object
) -> None:
    keys = list(losses)
    random.shuffle(keys)  # type: ignore[attr-defined]
    by_order = [make_rows({key: losses[key] for key in order}) for order in (losses, keys)]
    settings, reordered = (summarize_settings(rows, LOSS) for rows in by_order)
    ordered, shuffled = (
        select_best_settings(found, LOSS, rows) for found, rows in zip((settings, reordered), by_order, strict=True)
    )
    means = {row.setting: row.val_loss_mean for row in settings}
    for first, second in zip(ordered, shuffled, strict=True):
        assert means[first.setting] == pytest.approx(means[second.setting])


def set_scores_of_background(project: Path, *names: str) -> None:
    """Set the IoU of runs to that of predicting background everywhere, without changing their losses."""
    samples = pd.read_csv(project / "data/prepared/samples.csv")
    for name in names:
        path = project / "evaluation" / name / "metrics.json"
        content = json.loads(path.read_text())
        for side in ("train", "validation"):
            background = samples.loc[samples["split"] == side, "share_background"].mean()
            iou = {"animal": 0.0, "background": background, "border": 0.0}
            content[side] |= {"mean_iou": background / 3, "foreground_iou": 0.0, "iou": iou}
        path.write_text(json.dumps(content))


def read_setting_column(project: Path, column: str) -> dict[tuple[str, float], float]:
    """Read a column of `settings.csv` by variant and learning rate."""
    table = pd.read_csv(project / "comparison/settings.csv")
    keys = zip(table["variant"], table["learning_rate"], strict=True)
    return dict(zip(keys, table[column], strict=True))


def read_findings(project: Path) -> dict[str, dict[str, object]]:
    findings = json.loads((project / "comparison/findings.json").read_text())["findings"]
    return {item["id"]: item for item in findings}


def test_compare_of_learning_runs_beats_the_one_class_baseline(grid: Params, project: Path) -> None:
    summary = compare(grid)
    assert all(row.judgment and row.judgment.beats_baseline for row in summary.runs)
    assert not {"one_class", "one_class_others"} & set(read_findings(project))
    assert read_setting_column(project, "beats_baseline")["unet", 0.001] == 1


def test_findings_start_with_a_best_setting_that_predicts_one_class(grid: Params, project: Path) -> None:
    before = {row.run: row for row in compare(grid).runs}
    assert before["unet-0.001-0"].judgment is not None
    assert before["unet-0.001-0"].judgment.verdict == "learning"
    set_scores_of_background(project, "unet-0.001-0", "unet-0.001-1")
    summary = compare(grid)
    assert summary.best is not None
    assert summary.best.run == "unet-0.001-0"  # runs are still ranked by loss
    judgments = {row.run: row.judgment for row in summary.runs}
    best = judgments["unet-0.001-0"]
    assert best is not None
    assert (best.verdict, best.beats_baseline) == ("underfitting", False)
    # The comparison follows the losses. The class mix may add a phrase after it.
    assert "no better than predicting one class everywhere (background" in best.evidence[1]
    findings = read_findings(project)
    assert list(findings)[:2] == ["missed_classes", "one_class"]
    assert findings["one_class"]["runs"] == ["unet-0.001-0", "unet-0.001-1"]
    assert "2 of 2 runs of unet at 0.001" in str(findings["one_class"]["sentence"])
    sentence = str(findings["one_class"]["sentence"])
    assert "IoU of animal is 0.000, compared with 0.000 for one class everywhere" in sentence
    assert str(findings["one_class_others"]["sentence"]).startswith("The 6 other runs do better")
    shares = read_setting_column(project, "beats_baseline")
    assert (shares["unet", 0.001], shares["unet", 0.01]) == (0, 1)


def set_class_scores(project: Path, name: str, iou: float, predicted: float, *run_names: str) -> None:
    """Set the validation scores of a class in the evaluations of these runs."""
    for run in run_names:
        path = project / "evaluation" / run / "metrics.json"
        content = json.loads(path.read_text())
        content["validation"]["iou"][name] = iou
        content["validation"]["predicted"][name] = predicted
        path.write_text(json.dumps(content))


def test_findings_start_with_classes_that_the_best_setting_misses(grid: Params, project: Path) -> None:
    set_class_scores(project, "animal", 0.0, 0.0, "unet-0.001-0", "unet-0.001-1")
    set_class_scores(project, "background", 0.049, 0.2, "unet-0.001-1")
    set_class_scores(project, "background", 0.05, 0.2, "unet-0.01-0")  # at the threshold: not missed
    summary = compare(grid)
    findings = read_findings(project)
    assert next(iter(findings)) == "missed_classes"
    assert findings["missed_classes"]["runs"] == ["unet-0.001-0", "unet-0.001-1"]
    sentence = str(findings["missed_classes"]["sentence"])
    assert "unet at 0.001, the setting with the lowest validation loss, misses 2 of the 3 classes" in sentence
    assert "in at least one of 2 seeds: animal (never predicted); background (IoU 0.049, 1 of 2 runs)." in sentence
    assert sentence.endswith("unet at 0.01 misses the fewest: 0 on average, compared with 1.5 here.")
    missed = {
        row.run: [str(missed_class) for missed_class in row.missed_classes]
        for row in summary.runs
        if row.missed_classes
    }
    assert missed == {
        "unet-0.001-0": ["animal (never predicted)"],
        "unet-0.001-1": ["animal (never predicted)", "background (IoU 0.049)"],
    }
    missed_classes = read_setting_column(project, "missed_classes")
    assert (missed_classes["unet", 0.001], missed_classes["unet", 0.01]) == (1.5, 0)


def test_findings_without_missed_classes_omit_them(grid: Params, project: Path) -> None:
    compare(grid)
    assert "missed_classes" not in read_findings(project)


def test_findings_count_other_runs_that_predict_one_class(grid: Params, project: Path) -> None:
    set_scores_of_background(project, "unet-0.01-0")
    summary = compare(grid)
    findings = read_findings(project)
    assert "one_class" not in findings
    assert findings["one_class_others"]["runs"] == ["unet-0.01-0"]
    assert str(findings["one_class_others"]["sentence"]).startswith("1 of the 6 other runs does no better")
    setting = next(row for row in summary.settings if row.setting == ("unet", 0.01))
    assert (setting.beats_baseline, setting.is_no_better) == (0.5, True)


def test_compare_of_a_run_that_beats_one_class_in_training_only_is_memorizing(grid: Params, project: Path) -> None:
    path = project / "evaluation/unet-0.001-0/metrics.json"
    training = json.loads(path.read_text())["train"]
    set_scores_of_background(project, "unet-0.001-0")
    path.write_text(json.dumps({**json.loads(path.read_text()), "train": training}))
    judgment = next(row.judgment for row in compare(grid).runs if row.run == "unet-0.001-0")
    assert judgment is not None
    assert (judgment.verdict, judgment.beats_baseline) == ("memorizing", False)


def test_break_down_gap_of_150_classes_skips_classes_missing_from_one_side(tmp_path: Path) -> None:
    names = [f"class {number}" for number in range(150)]
    rows = [(f"{split}-{index}", split, "", 1500) for split in ("train", "validation") for index in range(6)]
    samples = pd.DataFrame(rows, columns=["id", "split", "groups", "pixels"])
    shares = np.full((12, 150), 1 / 149)
    shares[:6, 3] = shares[6:, 7] = 0
    samples = samples.join(pd.DataFrame(shares, columns=[f"share_{name}" for name in names]))
    project = Project(tmp_path)
    with project.run("many").replace() as run:
        write_image_losses(run, 0.4)
    sides = [
        Scores(
            0.4,
            0.9,
            0.8,
            0.8,
            None,
            {name: None if number == missing else 0.8 for number, name in enumerate(names)},
            {},
        )
        for missing in (3, 7)
    ]
    losses = np.where(shares > 0, 0.4, np.nan).tolist()
    with project.evaluation("many").replace() as evaluation:
        evaluation.write_json(evaluation.METRICS, RunEvaluation("many", "k", 0.0, 0.0, *sides, None, (), None, None))
        evaluation.write_per_image(
            names,
            [
                [*row[:2], 0.4, 0.9, 0.5, 0.5, *[0.5] * 150, *("" if np.isnan(value) else value for value in own)]
                for row, own in zip(rows, losses, strict=True)
            ],
        )
    parts = break_down_gap(project.run("many"), project.evaluation("many"), samples)
    classes = [part for part in parts if part.part == "class"]
    assert [part.name for part in classes] == [name for number, name in enumerate(names) if number not in (3, 7)]
    assert all(part.gap == pytest.approx(0) for part in classes)
