"""`compare.rank_by`: settings are ranked by the chosen metric wherever a ranking is stored or shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.best_setting import NAMES, describe_best
from pipeline.analysis.ranked_metric import RankedMetric, get_metric, list_metrics, rank_settings
from pipeline.artifacts.comparison import Comparison, RunSummary, Summary
from pipeline.artifacts.metric_names import FOREGROUND_METRICS, OBJECT_METRICS, RankBy
from pipeline.artifacts.object_scores import ObjectEvaluation, ObjectScores
from pipeline.artifacts.prepared_data import SPLITS
from pipeline.artifacts.project import Project
from pipeline.artifacts.scores import Scores
from pipeline.compare.compare_runs import compare
from pipeline.compare.findings import list_findings
from pipeline.compare.summary_tables import select_best_settings, summarize_settings
from pipeline.params import Params
from pipeline.params.file import read_params
from tests.compare.write_runs import write_run
from tests.conftest import write_params

METRICS: tuple[RankBy, ...] = get_args(RankBy)
VARIANTS, RATES, SEEDS = ("a", "b", "c", "d"), (0.1, 0.03, 0.01, 0.003), (0, 1, 2)
SETTINGS = [(variant, rate) for variant in VARIANTS for rate in RATES]
WINNERS = dict(zip(METRICS, SETTINGS, strict=True))  # each metric has its own best setting
BASELINE = Scores(0.7, 0.6, 0.2, 0.0, None, {"cell": 0.1, "void": 0.3}, {"cell": 0.0, "void": 1.0})


def create_run(variant: str, rate: float, seed: int, **values: float | None) -> RunSummary:
    """Create the row of a finished run; all metrics that are not among `values` are 0.5."""
    metrics: dict[str, float | None] = {**dict.fromkeys([*METRICS, *FOREGROUND_METRICS], 0.5), **values}
    return RunSummary(
        run=f"{variant}-{rate}-{seed}", variant=variant, learning_rate=rate, seed=seed, status="finished", reason="",
        epochs=3, best_epoch=2, train_loss=0.4, val_loss=metrics["val_loss"], gap=0.1, gap_last=0.1,
        val_accuracy=metrics["accuracy"], val_mean_iou=metrics["mean_iou"],
        val_foreground_iou=metrics["foreground_iou"], val_object_iou=metrics["object_iou"], missed_classes=(),
        train_calibration_error=None, val_calibration_error=None, val_confidence=None, showcase_iou=None,
        showcase_mean_iou=None, trainable_parameters=1, judgment=None,
        val_metrics={name: metrics[name] for name in (*FOREGROUND_METRICS, *OBJECT_METRICS)},
        multiply_accumulates=(VARIANTS.index(variant) + 1) * 1_000_000 if variant in VARIANTS else None,
    )  # fmt: skip


def create_rows() -> list[RunSummary]:
    """Create the runs of a grid in which every metric would choose another setting."""
    lower = {metric.name for metric in list_metrics((), ("edge",)) if metric.is_lower_better}
    return [
        create_run(
            variant,
            rate,
            seed,
            **{
                metric: 0.5 + seed / 100 + (0.2 if metric not in lower else -0.2) * (winner == (variant, rate))
                for metric, winner in WINNERS.items()
            },
        )
        for variant, rate in SETTINGS
        for seed in SEEDS
    ]


def summarize(rows: list[RunSummary], rank_by: RankBy) -> Summary:
    metric = get_metric(rank_by, ("cell",), ("edge",))
    settings = summarize_settings(rows, metric)
    selected = select_best_settings(settings, metric, rows)
    return Summary(
        BASELINE, tuple(rows), tuple(settings), tuple(selected), selected[0] if selected else None, ("cell",),
        ("edge",), rank_by,
    )  # fmt: skip


@pytest.mark.parametrize("rank_by", METRICS)
def test_every_metric_chooses_its_own_best_setting(rank_by: RankBy) -> None:
    summary = summarize(create_rows(), rank_by)
    metric = get_metric(rank_by, ("cell",), ("edge",))
    best = summary.best
    assert best is not None
    assert best.setting == WINNERS[rank_by]
    assert best.run.endswith("-1")  # the seed with the median value
    found = {finding.id: finding.sentence for finding in list_findings(summary, {})}
    mean = 0.31 if metric.is_lower_better else 0.71
    text = (
        f"{best.variant} at a learning rate of {best.learning_rate} has {metric.best_value}: {mean:.{metric.digits}f}"
    )
    assert found["best"].startswith(text)
    assert "0.200" in found["best_rate"] or metric.digits == 1
    assert f"{metric.better} by {0.2:.{metric.digits}f}" in found[f"variant_{summary.best_of_variant[1].variant}"]
    values = describe_best(summary)
    assert (values["variant"], values[rank_by]) == (best.variant, pytest.approx(mean))
    assert values[f"{rank_by}_sd"] == pytest.approx(0.01)
    assert tuple(values) == NAMES


@pytest.mark.parametrize("rank_by", ["val_loss", "dice", "hd95"])
def test_other_metrics_are_compared_with_the_ranked_one(rank_by: RankBy) -> None:
    found = {finding.id: finding.sentence for finding in list_findings(summarize(create_rows(), rank_by), {})}
    for metric in list_metrics(("cell",), ("edge",)):
        if metric.name in ("val_loss", "mean_iou", "dice", "image_dice", "nsd", "hd95", "object_f1"):
            is_listed = f"By {metric.title}, " in found["other_metrics"]
            assert is_listed == (metric.name != rank_by), metric.name


@pytest.mark.parametrize("rank_by", ["hd95", "object_f1", "foreground_iou"])
def test_setting_with_an_undefined_metric_is_not_ranked_and_states_the_reason(rank_by: RankBy) -> None:
    rows = create_rows()
    (variant, rate), column = WINNERS[rank_by], f"val_{rank_by}"
    for place, row in enumerate(rows):
        if row.run == f"{variant}-{rate}-2":
            rows[place] = (
                replace(row, val_metrics={**row.val_metrics, rank_by: None})
                if rank_by in row.val_metrics
                else replace(row, **{column: None})
            )
    summary = summarize(rows, rank_by)
    setting = next(one for one in summary.settings if one.setting == WINNERS[rank_by])
    assert (setting.ranked, setting.run, setting.finished) == (False, None, 3)
    assert summary.best is not None
    assert summary.best.setting != WINNERS[rank_by]
    (finding,) = (one for one in list_findings(summary, {}) if one.id == "undefined_metric")
    assert f"{variant} at {rate}" in finding.sentence
    assert "undefined for 1 of 3 runs" in finding.sentence
    assert set(finding.runs) == {f"{variant}-{rate}-{seed}" for seed in SEEDS}


def test_metric_that_no_run_has_ranks_nothing_and_names_the_parameter() -> None:
    rows = [replace(row, val_metrics={**row.val_metrics, "object_f1": None}) for row in create_rows()]
    summary = summarize(rows, "object_f1")
    assert summary.best is None
    assert not any(setting.ranked for setting in summary.settings)
    first = list_findings(summary, {})[0]
    assert first.id == "none_ranked"
    assert "undefined for 48 of the 48 complete runs" in first.sentence
    assert "compare.rank_by" in first.sentence
    assert set(describe_best(summary).values()) == {None}


def test_images_that_a_mean_distance_leaves_out_are_reported() -> None:
    rows = [replace(row, num_undefined_distances=4 if row.variant == "a" else 0) for row in create_rows()]

    def find(rank_by: RankBy) -> list[str]:
        findings = list_findings(summarize(rows, rank_by), {})
        return [finding.sentence for finding in findings if finding.id == "undefined_distances"]

    (sentence,) = find("hd95")
    assert "the other ranked settings have 0 to 4" in sentence
    assert find("nsd") == []


VALUES = st.lists(st.floats(0, 1), min_size=len(VARIANTS) * len(SEEDS), max_size=len(VARIANTS) * len(SEEDS))


@given(VALUES, st.permutations(VARIANTS), st.sampled_from(METRICS))
def test_renaming_and_permuting_variants_does_not_change_the_selection(
    values: list[float], names: list[str], rank_by: RankBy
) -> None:
    """Equal values are possible; the losses, which break ties, are different."""
    cells = [(variant, seed) for variant in VARIANTS for seed in SEEDS]

    def create(variant: str, seed: int, place: int, value: float) -> RunSummary:
        return create_run(variant, 0.1, seed, **{"val_loss": 1 + place / 7, rank_by: value})

    original = [create(*cell, place, value) for place, (cell, value) in enumerate(zip(cells, values, strict=True))]
    new_names = dict(zip(VARIANTS, names, strict=True))
    renamed = [
        replace(row, variant=new_names[row.variant], run=f"{new_names[row.variant]}-0.1-{row.seed}") for row in original
    ]
    first = summarize(original, rank_by)
    for rows in (renamed, sorted(renamed, key=lambda row: (row.variant, row.seed))):
        second = summarize(rows, rank_by)
        assert [new_names[best.variant] for best in first.best_of_variant] == [
            best.variant for best in second.best_of_variant
        ]
        runs = [best.run.partition("-")[2] for best in first.best_of_variant]
        assert runs == [best.run.partition("-")[2] for best in second.best_of_variant]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.sampled_from(list_metrics((), ("edge",))))
def test_ranking_is_that_of_the_means_in_the_direction_of_the_metric(values: list[float], metric: RankedMetric) -> None:
    rows = [create_run("a", 1.0 + place, 0, **{metric.name: value}) for place, value in enumerate(values)]
    ranked = rank_settings(summarize_settings(rows, metric), metric)
    means = [setting.get_spread(metric.name)[0] for setting in ranked]
    assert means == sorted(values, reverse=not metric.is_lower_better)


def score_objects(f1: float) -> ObjectScores:
    values: dict[str, Any] = {field.name: f1 for field in fields(ObjectScores)}
    counts = ("images", "images_without_objects", "objects", "predicted", "matched", "merges", "splits", "missed")
    return ObjectScores(**{**values, **dict.fromkeys((*counts, "false_objects"), 6), "by_threshold": ()})


def write_metrics(
    project: Project, run: str, *, correct: int = 0, nsd: float = 0.5, hd95: float = 5.0, f1: float = 0.5
) -> None:
    """Write the files that the metrics of a run are computed from: pixels, outlines, and scores of objects."""
    evaluation, samples = project.evaluation(run), project.prepared.samples
    classes = [item.name for item in project.prepared.dataset.classes]
    counts = samples["split"].value_counts()
    matrix = np.array([[50 + correct, 50 - correct, 0], [0, 800, 0], [0, 0, 0]])
    evaluation.write_class_pixels({split: np.stack([matrix] * counts[split]) for split in SPLITS})
    shown = samples[samples["split"].isin(["validation", "test"])]
    rows = [(row.id, row.split, classes[0], 0.5, nsd, hd95, hd95 / 2) for row in shown.itertuples()]
    evaluation.write_table(evaluation.SURFACES, evaluation.SURFACE_COLUMNS, rows)
    objects = score_objects(f1)
    found = ObjectEvaluation((classes[0],), 0, False, objects, objects, objects)
    evaluation.write_json(evaluation.METRICS, replace(evaluation.metrics, objects=found))


@pytest.fixture
def grid(project: Path) -> Callable[..., Params]:
    """A function that writes a grid in which metrics disagree, and reads its parameters with the given ones."""
    params = read_params(write_params(project, {}))
    losses = {("unet", 0.01): 0.5, ("unet", 0.001): 0.4, ("unet_no_skip", 0.01): 0.7, ("unet_no_skip", 0.001): 0.8}
    metrics: dict[tuple[str, float], dict[str, float]] = {
        ("unet", 0.01): {"correct": 40},
        ("unet_no_skip", 0.01): {"nsd": 0.9, "f1": 0.8},
        ("unet_no_skip", 0.001): {"hd95": 1.0},
    }
    for cell in params.cells():
        key = (cell.variant, cell.learning_rate)
        write_run(project, cell, losses[key] + cell.seed / 100)
        shift = {name: value - cell.seed / 100 for name, value in metrics.get(key, {}).items() if name != "correct"}
        write_metrics(Project(project), cell.name, **{**metrics.get(key, {}), **shift})  # type: ignore[arg-type]

    def read(rank_by: str) -> Params:
        changes = {"compare": {"rank_by": rank_by}, "evaluation": {"objects": ["animal"]}}
        return read_params(write_params(project, changes))

    return read


@pytest.mark.parametrize(
    ("rank_by", "variant", "rate", "value"),
    [
        ("val_loss", "unet", 0.001, 0.405),
        ("dice", "unet", 0.01, 180 / 190),
        ("nsd", "unet_no_skip", 0.01, 0.895),
        ("hd95", "unet_no_skip", 0.001, 0.995),
        ("object_f1", "unet_no_skip", 0.01, 0.795),
    ],
)
def test_compare_stores_the_ranking_in_all_files(
    grid: Callable[..., Params], project: Path, rank_by: str, variant: str, rate: float, value: float
) -> None:
    summary = compare(grid(rank_by))
    assert summary.best is not None
    assert summary.best.setting == (variant, rate)
    assert Comparison(project / "comparison").summary == summary
    assert json.loads((project / "comparison/summary.json").read_text())["rank_by"] == rank_by
    best = json.loads((project / "metrics.json").read_text())["best"]
    assert list(best)[:4] == ["variant", "learning_rate", rank_by, f"{rank_by}_sd"]
    assert best[rank_by] == pytest.approx(value)
    settings = pd.read_csv(project / "comparison/settings.csv").set_index(["variant", "learning_rate"])
    column = rank_by if rank_by == "val_loss" else f"val_{rank_by}"
    assert settings.loc[(variant, rate), f"{column}_mean"] == pytest.approx(value)
    runs = pd.read_csv(project / "comparison/runs.csv").set_index("run")
    assert runs.loc[summary.best.run, column] == pytest.approx(value, abs=0.011)
    tested = {"val_loss": "test_loss"}.get(rank_by, f"test_{rank_by}")
    assert tested in best


def test_default_ranks_by_the_loss_and_writes_the_same_files(grid: Callable[..., Params], project: Path) -> None:
    def read_files() -> dict[str, bytes]:
        paths = [*(project / "comparison").iterdir(), project / "metrics.json"]
        return {path.name: path.read_bytes() for path in paths}

    compare(grid("val_loss"))
    explicit = read_files()
    default = grid("val_loss").model_copy(update={"compare": type(grid("val_loss").compare)()})
    assert default.compare.rank_by == "val_loss"
    compare(default)
    assert read_files() == explicit
    header = explicit["settings.csv"].decode().partition("\n")[0]
    assert header.split(",") == list(Comparison.SETTING_COLUMNS)


def test_class_that_a_run_never_predicts_makes_its_mean_distance_undefined(
    grid: Callable[..., Params], project: Path
) -> None:
    """Otherwise, the distances of the other classes alone would make the run look better."""
    params = grid("hd95")
    evaluation = Project(project).evaluation("unet_no_skip-0.001-0")
    table = evaluation.read_surfaces()
    table.loc[:, ["hd95", "asd"]] = np.nan
    table.to_csv(evaluation.path / evaluation.SURFACES, index=False)
    summary = compare(params)
    row = summary.get_run("unet_no_skip-0.001-0")
    assert (row.val_metrics["hd95"], row.val_metrics["nsd"]) == (None, 0.5)
    assert row.num_undefined_distances == 6
    assert [row.run for row in summary.settings if not row.ranked] == [None]
