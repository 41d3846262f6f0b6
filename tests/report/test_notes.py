"""The author's words."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from pipeline.report.notes import notes, to_html

NOTES = "reports/notes.md"


@pytest.mark.parametrize(
    ("text", "levels"),
    [("# A\n\n## B", "h3 h4"), ("## A\n\n### B", "h3 h4"), ("###### A", "h3"), ("# A\n\n###### B", "h3 h6")],
)
def test_headings_stand_below_the_sections_own(text: str, levels: str) -> None:
    html = to_html(text)
    assert [f"<{level}>" in html for level in levels.split()] == [True] * len(levels.split())


def test_tags_links_with_scripts_and_images_are_inert() -> None:
    html = to_html("<b>x</b> [a](javascript:alert(1)) ![a dog](https://example.org/dog.png) [b](https://example.org)")
    assert "<b>" not in html and "<img" not in html
    assert 'href="javascript' not in html
    assert "[a dog]" in html and 'href="https://example.org"' in html


def test_missing_empty_and_undecodable_notes_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="is missing"):
        notes(tmp_path, NOTES)
    path = tmp_path / NOTES
    path.parent.mkdir()
    path.write_text(" \n")
    with pytest.raises(PipelineError, match="is empty"):
        notes(tmp_path, NOTES)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(PipelineError, match="not UTF-8"):
        notes(tmp_path, NOTES)


def test_the_shipped_notes_hold_no_number_that_could_go_stale() -> None:
    text = (Path(__file__).parents[2] / NOTES).read_text(encoding="utf-8")
    assert not any(character.isdigit() for character in text)
    assert 300 < len(text.split()) < 500
