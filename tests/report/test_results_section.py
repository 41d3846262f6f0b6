"""The table of results: its order, its columns for the ranked metric, and what is folded below it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.analysis.ranked_metric import get_metric
from pipeline.artifacts.comparison import Setting
from pipeline.artifacts.metric_names import RankBy
from pipeline.artifacts.project import Project
from pipeline.compare.findings import list_findings
from pipeline.compare.summary_tables import select_best_settings, summarize_settings
from pipeline.report.figures.cost_plot import CostPoint, draw_cost_plot
from pipeline.report.sections.results import ResultsOverview, build_results
from pipeline.report.write_report import write_report
from tests.report.conftest import REPOSITORY, ReportProject

FAST, SLOW = 40_000_000, 400_000_000  # multiply-accumulates


def rank(project: ReportProject, rank_by: RankBy) -> ReportProject:
    """Give the runs of the project metrics and costs, and rank its settings."""
    rows = [
        replace(
            row,
            val_metrics={"image_dice": 0.5 + place / 100, "hd95": None if row.variant == "unet" else 3.25}
            if row.is_complete
            else {},
            multiply_accumulates=SLOW if row.variant == "unet" else FAST,
            model_bytes=7_800_000,
            training_bytes=95_400_000,
        )
        for place, row in enumerate(project.summary.runs)
    ]
    metric = get_metric(rank_by, project.summary.foreground, project.summary.boundary)
    summarized = summarize_settings(rows, metric)
    selected = select_best_settings(summarized, metric, rows)
    project.write_summary(
        replace(
            project.summary,
            runs=tuple(rows),
            settings=tuple(summarized),
            best_of_variant=tuple(selected),
            best=selected[0],
            rank_by=rank_by,
        )
    )
    return project


def build(project: ReportProject, runs: str | None = None) -> ResultsOverview:
    return build_results(project.create_context(runs))


def list_names(view: ResultsOverview) -> list[str]:
    return [f"{line.setting.setting}" for line in view.rows]


def test_default_has_the_loss_once_and_orders_settings_by_it(project: ReportProject) -> None:
    view = build(rank(project, "val_loss"))
    assert [metric.heading for metric in view.metrics] == ["Validation loss"]
    losses = [line.setting.val_loss_mean for line in view.rows if line.setting.ranked]
    assert losses == sorted(losses, key=lambda loss: loss or 0)
    assert view.rows[0].mark == "lowest loss of the grid"
    assert view.rows[-1].mark == "not ranked: 1 diverged"
    assert view.baseline == ("0.930",)
    assert [line.cost for line in view.rows[:2]] == ["400", "400"]


def test_ranked_metric_has_the_first_column_and_decides_the_order(project: ReportProject) -> None:
    view = build(rank(project, "image_dice"))
    assert [metric.name for metric in view.metrics] == ["image_dice", "val_loss"]
    assert list_names(view)[0] == "unet_no_skip at 0.001"
    assert view.rows[0].mark == "highest Dice by image of the grid"
    assert view.rows[0].values[0].startswith("0.565")
    assert view.baseline == ("–", "0.930")
    html = write_report(project.params, project=Project(project.root)).path.read_text(encoding="utf-8")
    section = html.split('<section id="results">', 1)[1].split("</section>", 1)[0]
    assert re.findall(r'<th scope="row">(\S+ at [\d.]+)', section.split("</table>")[0]) == list_names(view)
    assert "has the highest Dice by image of this grid" in html.partition("<nav")[0]
    assert '<th scope="col" class="n">Dice by image</th>' in html.split('<section id="runs">')[1].split("</thead>")[0]


def test_setting_whose_metric_is_undefined_states_the_reason(project: ReportProject) -> None:
    view = build(rank(project, "hd95"))
    marks = {name: line.mark for name, line in zip(list_names(view), view.rows, strict=True)}
    assert marks["unet at 0.01"] == "not ranked: HD95 is undefined for 2 of 2 runs"
    assert marks["unet_no_skip at 0.001"] == "lowest HD95 of the grid"
    assert view.rows[0].values[0].startswith("3.2")  # px, with one decimal


def test_all_metrics_are_folded_with_sort_keys(project: ReportProject) -> None:
    table = build(rank(project, "val_loss")).all_metrics
    assert {"Validation loss, nats per pixel", "Mean IoU", "IoU of pet", "HD95, px", "Seeds"} <= {*table.headings}
    assert "Object F1" not in table.headings  # no run has it
    for _, figures, values in table.lines:
        assert len(figures) + 1 == len(table.headings) == len(json.loads(values))
    assert "1 of 2" in next(figures for name, figures, _ in table.lines if name == "unet_no_skip at 0.01")
    assert table.lines[0][1][-2:] == ("7.8", "95.4")  # MB


@pytest.mark.parametrize("rank_by", ["val_loss", "image_dice"])
def test_heat_maps_show_the_ranked_metric_the_loss_and_the_gap(project: ReportProject, rank_by: RankBy) -> None:
    maps = build(rank(project, rank_by)).maps
    expected = ["Validation loss", "Gap"] if rank_by == "val_loss" else ["Dice by image", "Validation loss", "Gap"]
    assert list(maps) == expected
    best = [cell for cell in maps[expected[0]]["unet_no_skip"] if cell and cell.is_best]
    assert bool(best) == (rank_by == "image_dice")


def set_findings(project: ReportProject) -> str:
    """Write the findings of the comparison, and return the sentence on the cheapest variant."""
    findings = list_findings(project.summary, {})
    project.project.comparison.write_findings(findings)
    return next((finding.sentence for finding in findings if finding.id == "cheapest"), "")


def test_cost_figure_names_the_variants_and_states_the_finding(project: ReportProject) -> None:
    best = {row.seed: row.val_loss or 0 for row in project.summary.runs if row.run.startswith("unet-0.001")}
    rows = [
        replace(row, val_loss=best[row.seed] + (0.001, 0.05)[row.seed])  # worse, but not significantly
        if row.run.startswith("unet_no_skip-0.001")
        else replace(row, val_loss=row.val_loss + 1)
        if row.val_loss is not None and row.learning_rate == 0.01
        else row
        for row in project.summary.runs
    ]
    project.write_summary(replace(project.summary, runs=tuple(rows)))
    sentence = set_findings(rank(project, "val_loss"))
    assert "is unet_no_skip at 0.001" in sentence
    figure = build(project).cost
    assert figure is not None
    assert figure.caption == sentence
    texts = {" ".join(text.split()) for text in re.findall(r"<text[^>]*>([^<]*)</text>", str(figure.plot))}
    assert {"unet", "unet_no_skip", "validation loss, nats per pixel; lower is better"} <= texts
    setting = project.summary.get_setting(project.summary.best_of_variant[0])
    losses = [row.val_loss or 0 for row in project.summary.list_runs(setting)]
    numbers = ("400", f"{setting.val_loss_mean:.3f}", f"{min(losses):.3f}", f"{max(losses):.3f}")
    assert figure.lines[0] == (f"unet at {setting.learning_rate}", numbers)
    html = write_report(project.params, project=Project(project.root)).path.read_text(encoding="utf-8")
    assert 'aria-label="Validation loss of each variant over the cost of a prediction; the numbers are' in html
    assert 'aria-label="Quality and cost of the variants"' in html


def test_cost_figure_marks_no_variant_without_the_finding(project: ReportProject) -> None:
    rank(project, "image_dice")
    assert set_findings(project) == ""  # the best variant is the cheapest one
    figure = build(project).cost
    assert figure is not None
    assert figure.caption == ""
    (project.root / "comparison/findings.json").unlink()
    assert build(project).cost == figure


def test_cost_figure_requires_different_costs(project: ReportProject) -> None:
    rank(project, "val_loss")
    assert build(project, "unet-*").cost is None  # one variant
    rows = [replace(row, multiply_accumulates=FAST) for row in project.summary.runs]
    project.write_summary(replace(project.summary, runs=tuple(rows)))
    assert build(project).cost is None


@given(
    st.lists(
        st.tuples(st.integers(1, 10**12), st.floats(0, 100), st.floats(0, 5), st.booleans()), min_size=2, max_size=14
    ).filter(lambda rows: len({row[0] for row in rows}) > 1)
)
@settings(max_examples=6)
def test_cost_figure_shows_all_names_for_any_costs_and_values(rows: list[tuple[int, float, float, bool]]) -> None:
    points = [
        CostPoint(Setting(f"variant_{place}", 0.1), cost, mean, mean - spread, mean + spread, place == 0, is_cheapest)
        for place, (cost, mean, spread, is_cheapest) in enumerate(rows)
    ]
    figure = str(draw_cost_plot(points, get_metric("dice", (), ("border",)), Project(REPOSITORY)))
    texts = {text.strip() for text in re.findall(r">([^<]*)</text>", figure)}
    assert {point.setting.variant for point in points} <= texts


def test_selected_runs_show_their_settings_only(project: ReportProject) -> None:
    view = build(rank(project, "val_loss"), "unet-*")
    assert sorted(list_names(view)) == ["unet at 0.001", "unet at 0.01"]
    assert view.maps == {}


def test_grid_without_costs_has_no_column_for_them(project: ReportProject, tmp_path: Path) -> None:
    assert not build(project).has_cost
    page = write_report(project.params, None, tmp_path / "page.html", Project(project.root)).path.read_text("utf-8")
    assert '<th scope="col" class="n">Cost</th>' not in page
