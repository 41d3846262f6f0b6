"""Render the learning report: one HTML file, without network, the same bytes from the same inputs."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup

from pipeline import runs
from pipeline.errors import PipelineError
from pipeline.files import write_text
from pipeline.params import Params
from pipeline.project import project_folder
from pipeline.report import wording
from pipeline.report.figures import palette
from pipeline.report.material import Material
from pipeline.report.page import Page, page
from pipeline.report.selection import choose
from pipeline.report.view import Card

PAGE, STYLE, SCRIPTS = "page.html", "page.css", ("sort.js", "panel.js", "curves.js", "compare.js")

# Styles cannot go by hash: matplotlib's SVG carries style attributes, which a hashed policy drops.
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src '{script}'; "
    "base-uri 'none'; form-action 'none'"
)


@dataclass(frozen=True)
class Rendered:
    """A page that was written, and the cards on it that stand where something should have been."""

    path: Path
    faults: tuple[Card, ...]


def render_report(
    params: Params, selection: str | None = None, out: Path | None = None, root: Path = Path(), *, live: bool = False
) -> Rendered:
    """Write the page of a selection of runs.

    Args:
        params: title, author and course are taken from it.
        selection: None for the grid's own page, or what `choose` reads.
        out: where to write; None for the selection's own file below `reports/`.
        root: the project's folder, or a study's.
        live: whether date, durations, versions and hashes stand on it; then equal inputs give other bytes.

    Raises:
        PipelineError: there is no comparison, no such run, or a template is missing or wrong.
    """
    material = Material(root)
    chosen = choose(material.summary, selection)
    rates = len({row.learning_rate for row in material.summary.runs})
    content = page(params, material, chosen, root, live=live)
    target = out if out is not None else root / chosen.out
    write_text(target, _html(content, rates, root))
    return Rendered(target, content.faults)


def _html(content: Page, rates: int, root: Path) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(project_folder(root) / runs.TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["coded"] = wording.coded
    try:
        style, script = _source(environment, STYLE), "\n".join(_source(environment, name) for name in SCRIPTS)
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
        light, dark = palette.variables(rates)
        return environment.get_template(PAGE).render(
            page=content,
            policy=POLICY.format(script=f"sha256-{digest}"),
            style=Markup(style),
            light=Markup(light),
            dark=Markup(dark),
            script=Markup(script),
        )
    except jinja2.TemplateNotFound as error:
        raise PipelineError(
            f"{runs.TEMPLATES / str(error.name)} is missing. It belongs to the project: git checkout {runs.TEMPLATES}"
        ) from None
    except jinja2.TemplateError as error:
        raise PipelineError(f"A template in {runs.TEMPLATES} is wrong: {error}") from None


def _source(environment: jinja2.Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0].strip()
