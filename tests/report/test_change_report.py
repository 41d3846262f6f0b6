"""`pipeline report --against`: what changed between two grids."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.analysis.ranked_metric import get_metric, get_ranked_metric
from pipeline.artifacts.metric_names import RankBy
from pipeline.artifacts.object_scores import ObjectEvaluation, ObjectScores
from pipeline.artifacts.prepared_data import PreparedData
from pipeline.artifacts.project import Project
from pipeline.artifacts.scores import DistanceScale
from pipeline.change_report.changes import compare_grids
from pipeline.change_report.page import write_change_report
from pipeline.change_report.reference import Reference
from pipeline.cli import main
from pipeline.compare.summary_tables import select_best_settings, summarize_settings
from tests.report.conftest import REPOSITORY, ReportProject

SEEDS = (0, 1, 2)


@pytest.fixture
def before(tmp_path: Path, make_project: type[ReportProject]) -> ReportProject:
    return make_project(tmp_path / "before", seeds=SEEDS, diverged="")


@pytest.fixture
def now(tmp_path: Path, make_project: type[ReportProject]) -> ReportProject:
    return make_project(tmp_path / "now", seeds=SEEDS, diverged="")


@pytest.fixture
def run(before: ReportProject, now: ReportProject, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """A function that runs `pipeline report --against` in the current project's folder."""
    shutil.copy(REPOSITORY / "params.yaml", now.root)
    monkeypatch.chdir(now.root)
    return lambda *arguments: CliRunner().invoke(main, ["report", "--against", str(before.root), *arguments])


def shift_losses(project: ReportProject, variant: str, learning_rate: float, *shifts: float) -> None:
    """Add to the validation losses of a setting's runs, one number per seed."""
    added = dict(zip(SEEDS, shifts, strict=True))
    project.rows = [
        replace(row, val_loss=(row.val_loss or 0) + added[row.seed]) if row.setting == (variant, learning_rate) else row
        for row in project.rows
    ]
    settings = [project._summarize_setting(*row.setting) for row in project.summary.settings]
    project.write_summary(replace(project.summary, runs=tuple(project.rows), settings=tuple(settings)))


def test_equal_grids_have_no_changes(before: ReportProject, now: ReportProject) -> None:
    changes = compare_grids(Project(before.root), Project(now.root))
    assert changes.is_same_data
    assert [change.val_loss.mean for change in changes.settings if change.val_loss] == [0] * 4
    assert not any(change.is_supported for change in changes.settings)
    assert (changes.added, changes.removed, changes.parameters, changes.regressions) == ((), (), (), [])


def test_regression_is_a_loss_that_increased_for_every_seed(before: ReportProject, now: ReportProject) -> None:
    shift_losses(now, "unet", 0.001, 0.100, 0.101, 0.099)  # supported by the seeds
    shift_losses(now, "unet", 0.01, 0.3, -0.2, 0.1)  # not supported
    shift_losses(now, "unet_no_skip", 0.01, -0.100, -0.101, -0.099)  # an improvement
    changes = compare_grids(Project(before.root), Project(now.root))
    supported = {one.now.setting: one.is_supported for one in changes.settings}
    assert supported == {
        ("unet", 0.01): False,
        ("unet", 0.001): True,
        ("unet_no_skip", 0.01): True,
        ("unet_no_skip", 0.001): False,
    }
    (regression,) = changes.regressions
    assert regression.startswith("unet at 0.001: the validation loss is higher by 0.100 nats per pixel (95% interval")


def rank_by_image_dice(project: ReportProject, *values: float) -> None:
    """Rank the settings of a project by Dice by image, which has these values for the seeds of every setting."""
    rows = [replace(row, val_metrics={"image_dice": values[row.seed]}) for row in project.summary.runs]
    settings = summarize_settings(rows, get_metric("image_dice", (), ("border",)))
    summary = replace(project.summary, runs=tuple(rows), settings=tuple(settings), rank_by="image_dice")
    project.write_summary(summary)


def test_grids_are_compared_by_the_metric_that_the_current_one_is_ranked_by(
    run: Callable[..., Result], before: ReportProject, now: ReportProject
) -> None:
    rank_by_image_dice(before, 0.800, 0.801, 0.802)
    rank_by_image_dice(now, 0.700, 0.702, 0.701)
    changes = compare_grids(Project(before.root), Project(now.root))
    assert {change.is_supported for change in changes.settings} == {True}
    assert all("the Dice by image is lower by 0.100 (95% interval" in text for text in changes.regressions)
    assert len(changes.regressions) == 5  # four settings, and the best one
    result = run("--fail-on-regression", "--out", "page.html")
    assert result.exit_code == 3
    page = Path("page.html").read_text(encoding="utf-8")
    assert "Dice by image before" in page
    before.write_summary(replace(before.summary, rank_by="val_loss"))
    page = Path(run("--out", "page.html").output.strip()).read_text(encoding="utf-8")
    assert "The other grid was ranked by validation loss" in page
    assert [change.ranks for change in compare_grids(Project(before.root), Project(now.root)).settings] == [
        change.ranks for change in changes.settings
    ]


def test_changed_ranks_verdicts_and_settings_are_listed(before: ReportProject, now: ReportProject) -> None:
    shift_losses(now, "unet", 0.01, 5.0, 5.0, 5.0)
    summary = now.summary
    rows = [
        replace(row, judgment=replace(row.judgment, verdict="overfitting")) if row.judgment and row.seed == 1 else row
        for row in summary.runs
    ]
    now.write_summary(replace(summary, runs=tuple(rows)))
    old = [row for row in before.summary.settings if row.setting != ("unet_no_skip", 0.001)]
    before.write_summary(replace(before.summary, settings=tuple(old)))
    changes = compare_grids(Project(before.root), Project(now.root))
    change = next(one for one in changes.settings if one.now.setting == ("unet", 0.01))
    assert change.ranks[1] == 4
    assert [dict(counts) for counts in change.verdicts] == [{"memorizing": 3}, {"memorizing": 2, "overfitting": 1}]
    assert [row.setting for row in changes.added] == [("unet_no_skip", 0.001)]
    assert changes.removed == ()


@pytest.mark.parametrize(("name", "old", "new"), [("epochs", 8, 77), ("precision", "auto", "float32")])
def test_changed_parameter_is_listed_with_its_variants(
    name: str, old: int | str, new: int | str, before: ReportProject, now: ReportProject
) -> None:
    for seed in SEEDS:
        path = Path("runs") / f"unet-0.01-{seed}" / "run.json"
        cell = json.loads((now.root / path).read_text())["cell"]
        now.edit_json(path, cell={**cell, "train": {**cell["train"], name: new}})
    changes = compare_grids(Project(before.root), Project(now.root))
    assert changes.parameters == (("unet", f"train.{name}", str(old), str(new)),)


def test_losses_on_different_data_are_not_compared(run: Callable[..., Result], now: ReportProject) -> None:
    now.edit_json(Path("data/prepared") / PreparedData.MAIN, fingerprint="0" * 64)
    changes = compare_grids(Project(now.root.parent / "before"), Project(now.root))
    assert not changes.is_same_data
    assert all(change.val_loss is None for change in changes.settings)
    result = run("--out", "page.html", "--fail-on-regression")
    assert result.exit_code == 1
    assert "the prepared data differ" in result.stderr
    assert "The prepared data differ" in Path("page.html").read_text(encoding="utf-8")


def lose_run(project: ReportProject, variant: str, learning_rate: float, **changes: object) -> None:
    """Change the row of the first seed of a setting, and summarize the grid again."""
    rows = [
        replace(row, **changes)  # type: ignore[arg-type]
        if (row.variant, row.learning_rate, row.seed) == (variant, learning_rate, 0)
        else row
        for row in project.summary.runs
    ]
    metric = get_ranked_metric(project.summary)
    settings = summarize_settings(rows, metric)
    selected = select_best_settings(settings, metric, rows)
    best = selected[0] if selected else None
    project.write_summary(replace(project.summary, runs=tuple(rows), settings=tuple(settings), best=best))


def test_setting_that_is_no_longer_ranked_is_a_regression(run: Callable[..., Result], now: ReportProject) -> None:
    lose_run(now, "unet", 0.001, status="diverged", reason="The loss was NaN.", val_loss=None)
    result = run("--fail-on-regression")
    assert result.exit_code == 3
    sentence = "unet at 0.001 was ranked before, but is now not ranked: 1 diverged"
    assert result.stderr.splitlines() == [f"Failed: {sentence}"]
    assert json.loads(run("--json").stdout)["regressions"] == [sentence]


def test_metric_that_is_no_longer_defined_is_a_regression(
    run: Callable[..., Result], before: ReportProject, now: ReportProject
) -> None:
    for project in (before, now):
        rank_by_image_dice(project, 0.7, 0.8, 0.9)
    lose_run(now, "unet", 0.001, val_metrics={"image_dice": None})
    result = run("--fail-on-regression")
    assert result.exit_code == 3
    assert "is now not ranked: Dice by image is undefined for 1 of 3 runs" in result.stderr


def test_grid_without_ranked_settings_is_a_regression(
    run: Callable[..., Result], before: ReportProject, now: ReportProject
) -> None:
    best = before.summary.best
    assert best is not None
    for row in before.summary.settings:
        lose_run(now, row.variant, row.learning_rate, status="diverged", reason="The loss was NaN.", val_loss=None)
    result = run("--fail-on-regression", "--out", "page.html")
    assert result.exit_code == 3
    sentence = f"o setting is ranked now; the best one before was {best.setting}"
    assert result.stderr.startswith(f"Failed: n{sentence}")
    assert f"N{sentence}" in Path("page.html").read_text(encoding="utf-8")
    equal = compare_grids(Project(now.root), Project(now.root))
    assert (equal.regressions, equal.lost_best) == ([], None)


PIXELS = DistanceScale("px", 2.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("rank_by", "scale", "texts"),
    [
        ("hd95", DistanceScale("µm", 2.0, 2.5, 2.5), ("data.pixel_unit: px before, µm now", "pixel size: 1 px before")),
        ("hd95", replace(PIXELS, smallest_pixel=0.5), ("pixel size: 1 px before, 0.5 to 1 px now",)),
        ("nsd", replace(PIXELS, tolerance=9.0), ("evaluation.surface_tolerance: 2 px before, 9 px now",)),
        ("hd95", replace(PIXELS, tolerance=9.0), ()),
        ("val_loss", DistanceScale("µm", 2.0, 2.5, 2.5), ()),
    ],
)
def test_values_that_were_measured_in_different_ways_are_not_compared(
    run: Callable[..., Result],
    before: ReportProject,
    now: ReportProject,
    rank_by: RankBy,
    scale: DistanceScale,
    texts: tuple[str, ...],
) -> None:
    for project, distances in ((before, PIXELS), (now, scale)):
        metric = get_metric(rank_by, (), (), distances)
        rows = [replace(row, val_metrics={"hd95": 10.0 + row.seed, "nsd": 0.5}) for row in project.summary.runs]
        settings = tuple(summarize_settings(rows, metric))
        summary = replace(project.summary, runs=tuple(rows), settings=settings, rank_by=rank_by, distances=distances)
        project.write_summary(summary)
    changes = compare_grids(Project(before.root), Project(now.root))
    assert all((change.value is None) == bool(texts) for change in changes.settings)
    assert all(change.gap is not None for change in changes.settings)
    assert changes.parameters  # listed even if the metric does not depend on them
    result = run("--fail-on-regression", "--out", "page.html")
    page = Path("page.html").read_text(encoding="utf-8")
    assert result.exit_code == bool(texts), result.output
    assert all(text in result.stderr and text in page for text in texts)
    assert ("was measured in different ways" in page) == bool(texts)
    if scale.unit != "px" and texts:
        assert "px before and" in page


def test_scores_of_other_objects_are_not_compared(before: ReportProject, now: ReportProject) -> None:
    scores = ObjectScores(4, 0, *[6] * 7, *[0.5] * 7, ())
    for project, min_area in ((before, 0), (now, 30)):
        for row in project.summary.runs:
            evaluation = Project(project.root).evaluation(row.run)
            objects = ObjectEvaluation(("pet",), min_area, False, scores, scores, scores)
            evaluation.write_json(evaluation.METRICS, replace(evaluation.metrics, objects=objects))
        rows = [replace(row, val_metrics={"object_f1": 0.5 + row.seed / 10}) for row in project.summary.runs]
        settings = tuple(summarize_settings(rows, get_metric("object_f1", (), ())))
        project.write_summary(replace(project.summary, runs=tuple(rows), settings=settings, rank_by="object_f1"))
    changes = compare_grids(Project(before.root), Project(now.root))
    assert changes.obstacle == (
        "the object F1 was measured in different ways (evaluation.min_object_area: 0 px before, 30 px now)"
    )
    assert all(change.value is None for change in changes.settings)


def test_page_shows_the_masks_that_changed_most(
    run: Callable[..., Result], before: ReportProject, now: ReportProject
) -> None:
    best = now.summary.best
    assert best is not None
    for sample in now.ids("validation")[:2]:  # the masks before were empty
        evaluation = Project(before.root).evaluation(best.run)
        evaluation.write_examples({sample: now.masks["validation", 0] * 0 + 1})
    table = evaluation.read_per_image()
    table.loc[table["id"].isin(now.ids("validation")[:2]), "foreground_iou"] = 0.0
    table.to_csv(evaluation.path / evaluation.PER_IMAGE, index=False)
    result = run()
    assert result.exit_code == 0, result.output
    html = Path(result.output.strip()).read_text(encoding="utf-8")
    assert len(html) < 2_000_000
    assert [sample for sample in now.ids("validation") if f'alt="Image {sample}"' in html] == now.ids("validation")[:2]
    assert "Of 4 validation images, the IoU of 2 is higher by at least 0.005, and that of 0 is lower." in html


def test_regression_exits_with_code_3_and_equal_grids_with_0(run: Callable[..., Result], now: ReportProject) -> None:
    assert run("--fail-on-regression").exit_code == 0
    shift_losses(now, "unet", 0.001, 0.100, 0.101, 0.099)
    assert run().exit_code == 0
    result = run("--fail-on-regression")
    assert result.exit_code == 3
    assert "unet at 0.001: the validation loss is higher" in result.stderr
    content = json.loads(run("--json").stdout)
    assert content["regressions"][0] in result.stderr


def test_skipped_runs_of_the_other_grid_are_named(before: ReportProject, now: ReportProject) -> None:
    skipped = "1 run was skipped, because newer runs differ."
    reference = Reference(Project(before.root), "mlflow:latest", (skipped,))
    page = write_change_report(reference, now.params, Project(now.root))
    assert page.notices == (skipped,)
    assert skipped in page.path.read_text(encoding="utf-8")


def test_two_renderings_have_the_same_bytes(run: Callable[..., Result]) -> None:
    run("--out", "first.html")
    run("--out", "second.html")
    assert Path("first.html").read_bytes() == Path("second.html").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--against", "no-such-revision"], 1, "is neither a git revision"),
        (["--against", "runs"], 1, "runs has no comparison/"),
        (["--against", ".", "--runs", "best"], 2, "--against excludes --runs"),
        (["--fail-on-regression"], 2, "--fail-on-regression requires --against"),
    ],
)
def test_invalid_arguments_are_explained(
    run: Callable[..., Result], arguments: list[str], code: int, message: str
) -> None:
    result = CliRunner().invoke(main, ["report", *arguments])
    assert (result.exit_code, message in result.stderr) == (code, True)
