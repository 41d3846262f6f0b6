"""The author's notes: Markdown with values and figures, rendered as HTML."""

from __future__ import annotations

from markdown_it import MarkdownIt
from markupsafe import Markup

from pipeline.artifacts.project import Project
from pipeline.errors import PipelineError
from pipeline.report.figures.feature_maps import FeatureMapFigure, create_feature_map_figures
from pipeline.report.notes_values import PICTURE_INLINE, PICTURE_MARK, fill_template
from pipeline.report.page_context import PageContext

NotesPart = tuple[Markup, FeatureMapFigure | None]  # safe HTML, and the figure that follows it

TOP_LEVEL, LOWEST_LEVEL = 3, 6  # levels of headings in the notes; the heading of the section has level 2


def build_notes(project: Project, path: str, context: PageContext) -> tuple[NotesPart, ...]:
    """Render the notes with their values and figures.

    Args:
        project: The project with the notes; the runs may be from MLflow.
        path: `report.notes_file`, relative to the project's folder.
        context: The artifacts and the runs of the page.

    Returns:
        The parts of the notes: HTML, and the figure after it.

    Raises:
        PipelineError: The file is missing or empty, or names an unknown value or figure.
    """
    advice = "Write in Markdown what you expected and what you learned."
    try:
        text = (project.root / path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise PipelineError(f"{path} is missing. {advice}") from None
    except UnicodeDecodeError as error:
        raise PipelineError(f"{path} is not UTF-8 ({error}). Save it as UTF-8.") from None
    if not text.strip():
        raise PipelineError(f"{path} is empty. {advice}")
    html = render_markdown(fill_template(text, context.summary, path))
    figures = create_feature_map_figures(context) if PICTURE_MARK.search(html) else {}
    pieces = PICTURE_MARK.split(html)  # text, name, text, ..., text
    if inline := next((match for text in pieces[::2] if (match := PICTURE_INLINE.search(text))), None):
        expression = f"{{{{ picture('{inline[1]}') }}}}"
        raise PipelineError(f"{path}: {expression} must be a paragraph of its own, with a blank line above and below.")
    return tuple((Markup(text), figures.get(name)) for text, name in zip(pieces[::2], [*pieces[1::2], ""], strict=True))


def render_markdown(text: str) -> Markup:
    """Render Markdown as HTML.

    HTML tags in the text are shown as text, and images are replaced by their alternative text.
    """
    markdown = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    tokens = markdown.parse(text)
    headings = [token for token in tokens if token.type in ("heading_open", "heading_close")]
    shift = TOP_LEVEL - min((int(token.tag[1:]) for token in headings), default=TOP_LEVEL)
    for token in headings:
        token.tag = f"h{min(int(token.tag[1:]) + shift, LOWEST_LEVEL)}"
    for token in tokens:
        for inner in token.children or ():
            if inner.type == "image":  # the page loads nothing from the network
                inner.type, inner.content, inner.children = "text", f"[{inner.content}]", None
    rendered: str = markdown.renderer.render(tokens, markdown.options, {})
    return Markup(rendered)
