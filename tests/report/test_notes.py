"""The author's notes: Markdown, template values and pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.artifacts.project import EVALUATION, Project
from pipeline.errors import PipelineError
from pipeline.report.notes_values import fill_template
from pipeline.report.sections.notes import NotesPart, build_notes, render_markdown

if TYPE_CHECKING:
    from tests.report.conftest import ReportProject

NOTES = "reports/notes.md"


@pytest.mark.parametrize(
    ("text", "levels"),
    [("# A\n\n## B", "h3 h4"), ("## A\n\n### B", "h3 h4"), ("###### A", "h3"), ("# A\n\n###### B", "h3 h6")],
)
def test_headings_are_below_the_section_heading(text: str, levels: str) -> None:
    html = render_markdown(text)
    assert [f"<{level}>" in html for level in levels.split()] == [True] * len(levels.split())


def test_tags_script_links_and_images_are_inert() -> None:
    html = render_markdown(
        "<b>x</b> [a](javascript:alert(1)) ![a dog](https://example.org/dog.png) [b](https://example.org)"
    )
    assert "<b>" not in html and "<img" not in html
    assert 'href="javascript' not in html
    assert "[a dog]" in html and 'href="https://example.org"' in html


def test_template_values_are_filled_in(project: ReportProject) -> None:
    best = project.summary.best
    assert best is not None
    assert best.test is not None
    row = next(row for row in project.summary.runs if row.run == best.run)
    text = (
        "{{ best.run }} {{ best.val_loss }} {{ best.val_loss | round(1) }} {{ best.best_epoch }} {{ best.verdict }} "
        "{{ best.test_loss }} {{ baseline.loss }} {{ run('unet-0.001-1').gap }} {{ best.onset }} "
        "{{ rate('unet', 0.01).val_loss_mean }} {{ best.learning_rate }} {{ best.val_accuracy | percent }}"
    )
    learning_rate = str(best.learning_rate)
    setting = next(setting for setting in project.summary.settings if setting.setting == ("unet", 0.01))
    other = next(row for row in project.summary.runs if row.run == "unet-0.001-1")
    assert fill_template(text.replace(" {{ best.onset }}", ""), project.summary, NOTES).split(" ") == [
        best.run, f"{row.val_loss:.3f}", f"{row.val_loss:.1f}", str(row.best_epoch), "memorizing",
        f"{best.test.loss:.3f}", "0.930", f"{other.gap:.3f}", f"{setting.val_loss_mean:.3f}",
        learning_rate, "90.0%",
    ]  # fmt: skip


def test_values_without_a_best_run_are_dashes(project: ReportProject) -> None:
    text = "{{ best.run }} {{ best.val_loss }} {{ best.test_loss }} {{ best.verdict }} {{ best.gap | percent }}"
    unranked = replace(project.summary, best=None)
    assert fill_template(text, unranked, NOTES) == "– – – – –"
    assert fill_template("{{ best.ratio }}", unranked, NOTES) == "–"


def test_other_braces_are_kept(project: ReportProject) -> None:
    text = "{% for %} {# #} {a} { { b } } ${x}$ {{ '{{' }}\n"
    assert fill_template(text, project.summary, NOTES) == "{% for %} {# #} {a} { { b } } ${x}$ {{\n"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("best.vall_loss", "line 3: unknown attribute 'vall_loss'; did you mean val_loss?"),
        ("bets.val_loss", "line 3: unknown value 'bets'; did you mean best?"),
        ("run('unet-0.01-7').gap", "line 3: unknown run 'unet-0.01-7'; did you mean unet-0.01-"),
        ("rate('unet', 0.1).gap_mean", "line 3: the grid has no rate('unet', 0.1); did you mean rate('unet', 0.01)?"),
        ("rate('unet')", "line 3: "),
        ("best.run.length", "line 3: unknown attribute 'length'"),
        ("best.", "line 3: invalid expression"),
        ("best", "line 3: the expression is a group of values; add a dot and one of these names: beats_baseline, "),
        ("run", "line 3: the function needs arguments"),
        ("run.__globals__", "line 3: access to attribute '__globals__'"),
        ("best.__class__.__mro__", "line 3: access to attribute '__class__'"),
        ("cycler.__init__.__globals__.os", "line 3: access to attribute '__init__'"),
        ("best.val_loss | attr('__class__')", "line 3: "),
    ],
)
def test_invalid_value_is_reported_with_its_line(project: ReportProject, value: str, message: str) -> None:
    with pytest.raises(PipelineError, match=r"reports/notes\.md") as error:
        fill_template(f"One\n\ntwo {{{{ {value} }}}}\n", project.summary, NOTES)
    assert message in str(error.value)


def build(project: ReportProject, selection: str | None = None) -> tuple[NotesPart, ...]:
    return build_notes(Project(project.root), NOTES, project.create_context(selection))


def test_values_are_escaped(project: ReportProject) -> None:
    path = project.root / NOTES
    path.write_text("**{{ best.run }}** {{ '<script>alert(1)</script>' }} {{ '<b>' | safe }}")
    ((html, _),) = build(project)
    assert "<strong>unet-" in html
    assert "<script" not in html
    assert "<b>" not in html


def test_pictures_are_placed_in_the_notes(project: ReportProject) -> None:
    """The project's runs are U-Nets with skip connections; their feature maps are random."""
    best = project.summary.best
    assert best is not None
    rng = np.random.default_rng(0)
    shapes = {"skip": (4, 32, 32), "below": (4, 32, 32), "before": (2, 2), "after": (4, 4)}
    maps = {name: rng.integers(0, 256, shape, dtype=np.uint8) for name, shape in shapes.items()}
    path = project.root / NOTES
    path.write_text('One.\n\n{{ picture("skip") }}\n\nTwo.\n\n{{ picture("upsampling") }}\n')
    assert [figure for _, figure in build(project)] == [None] * 3
    np.savez(project.root / EVALUATION / best.run / EvaluationFolder.FEATURE_MAPS, **maps)
    (first, skip), (second, upsampling), (end, _) = build(project)
    assert ("One." in first, "Two." in second, end.strip()) == (True, True, "")
    assert skip is not None
    assert upsampling is not None
    assert best.run in skip.caption
    assert len(skip.images) == 1 + 4
    assert [image.caption for image in upsampling.images] == ["Image", "2 × 2 pixels", "4 × 4 pixels"]
    assert skip.images[1].is_mask
    others = [row.run for row in project.rows if row.variant != best.variant and row.status == "finished"]
    # The maps are of a run that is not shown.
    assert {figure for _, figure in build(project, ",".join(others))} == {None}
    np.savez(project.root / EVALUATION / others[0] / EvaluationFolder.FEATURE_MAPS, **maps)
    figure = build(project, others[0])[0][1]
    assert figure is not None
    assert others[0] in figure.caption


def test_unknown_picture_is_reported(project: ReportProject) -> None:
    (project.root / NOTES).write_text('A.\n\n{{ picture("skips") }}')
    with pytest.raises(PipelineError, match=r"line 3: unknown picture 'skips'; did you mean skip\?"):
        build(project)


def test_picture_inside_a_paragraph_is_refused(project: ReportProject) -> None:
    (project.root / NOTES).write_text('See {{ picture("skip") }} here.')
    with pytest.raises(PipelineError, match=r"picture\('skip'\) }} must be a paragraph of its own"):
        build(project)


def test_missing_empty_and_invalid_notes_are_reported(project: ReportProject) -> None:
    path = project.root / NOTES
    path.unlink()
    with pytest.raises(PipelineError, match="is missing"):
        build(project)
    path.write_text(" \n")
    with pytest.raises(PipelineError, match="is empty"):
        build(project)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(PipelineError, match="not UTF-8"):
        build(project)


def test_shipped_notes_contain_no_numbers() -> None:
    text = (Path(__file__).parents[2] / NOTES).read_text(encoding="utf-8")
    assert not any(character.isdigit() for character in text)
    assert 300 < len(text.split()) < 500
