"""The author's own words: Markdown to HTML that can do nothing but be read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markupsafe import Markup

from pipeline.errors import PipelineError
from pipeline.report.figures.maps import MapFigure, map_figures
from pipeline.report.material import Material
from pipeline.report.selection import Chosen
from pipeline.report.values import PICTURE_INLINE, PICTURE_MARK, filled


@dataclass(frozen=True)
class NotesPart:
    """A stretch of the author's words, as safe HTML, and the figure behind it."""

    html: Markup
    figure: MapFigure | None


@dataclass(frozen=True)
class Notes:
    """The author's words."""

    parts: tuple[NotesPart, ...]


DEEPEST = 6  # HTML has no heading below
HIGHEST = 3  # the section's own heading is level 2; the notes' headings stand under it, whatever level they begin at


def notes(root: Path, path: str, material: Material, chosen: Chosen) -> Notes:
    """Render the file that `report.notes` names, with its live values and pictures.

    Raises `PipelineError` where it is missing or empty, or names a value or a picture that there is not.
    """
    try:
        text = (root / path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise PipelineError(f"{path} is missing. Write it in Markdown: what did you expect, and learn?") from None
    except UnicodeDecodeError as error:
        raise PipelineError(f"{path} is not UTF-8 ({error}). Save it with that encoding.") from None
    if not text.strip():
        raise PipelineError(f"{path} is empty. Write into it, in Markdown: what did you expect, and learn?")
    html = to_html(filled(text, material.summary, path))
    figures = map_figures(material, chosen) if PICTURE_MARK.search(html) else {}
    pieces = PICTURE_MARK.split(html)  # words, a name, words, ..., words
    if stray := next((found for words in pieces[::2] if (found := PICTURE_INLINE.search(words))), None):
        asked = f"{{{{ picture('{stray[1]}') }}}}"
        raise PipelineError(f"{path}: {asked} must be a paragraph of its own, with a blank line above and below.")
    parts = [
        NotesPart(Markup(words), figures.get(name))
        for words, name in zip(pieces[::2], [*pieces[1::2], ""], strict=True)
    ]
    return Notes(tuple(parts))


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
