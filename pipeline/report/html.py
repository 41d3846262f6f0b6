"""Templates to HTML: one file that fetches nothing and runs nothing but the page's own script."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import jinja2
from markupsafe import Markup

from pipeline import runs
from pipeline.errors import PipelineError
from pipeline.project import project_folder
from pipeline.report import wording
from pipeline.report.figures import palette

STYLE, SCRIPTS = "page.css", ("sort.js", "panel.js", "curves.js", "compare.js", "enlarge.js")

# Styles cannot go by hash: matplotlib's SVG carries style attributes, which a hashed policy drops.
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src '{script}'; "
    "base-uri 'none'; form-action 'none'"
)


def render(template: str, page: object, root: Path, rates: int = 1) -> str:
    """A page as HTML.

    Args:
        template: its file's name.
        page: what the template shows.
        root: the project's folder, or a study's.
        rates: how many learning rates have a colour on it.

    Raises:
        PipelineError: A template is missing or wrong.
    """
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
        return environment.get_template(template).render(
            page=page,
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
