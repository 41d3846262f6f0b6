"""The author's own words: Markdown to HTML that can do nothing but be read."""

from __future__ import annotations

from pathlib import Path

from markdown_it import MarkdownIt
from markupsafe import Markup

from pipeline.comparison import Summary
from pipeline.errors import PipelineError
from pipeline.report import view
from pipeline.report.values import filled

DEEPEST = 6  # HTML has no heading below
HIGHEST = 3  # the section's own heading is level 2; the notes' headings stand under it, whatever level they begin at


def notes(root: Path, path: str, summary: Summary) -> view.Notes:
    """Render the file that `report.notes` names, its live values filled in.

    Raises `PipelineError` where it is missing or empty, or names a value that there is not.
    """
    try:
        text = (root / path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise PipelineError(f"{path} is missing. Write it in Markdown: what did you expect, and learn?") from None
    except UnicodeDecodeError as error:
        raise PipelineError(f"{path} is not UTF-8 ({error}). Save it with that encoding.") from None
    if not text.strip():
        raise PipelineError(f"{path} is empty. Write into it, in Markdown: what did you expect, and learn?")
    return view.Notes(to_html(filled(text, summary, path)))


def to_html(text: str) -> Markup:
    """Markdown to HTML: tags in the text stay text, and images become their description."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    tokens = markdown.parse(text)
    headings = [token for token in tokens if token.type in ("heading_open", "heading_close")]
    shift = HIGHEST - min((int(token.tag[1:]) for token in headings), default=HIGHEST)
    for token in headings:
        token.tag = f"h{min(int(token.tag[1:]) + shift, DEEPEST)}"
    for token in tokens:
        for inner in token.children or ():
            if inner.type == "image":  # the page has no network: the image would be a hole in it
                inner.type, inner.content, inner.children = "text", f"[{inner.content}]", None
    rendered: str = markdown.renderer.render(tokens, markdown.options, {})
    return Markup(rendered)
